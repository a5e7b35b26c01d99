"""An engine without models, for tests of the doors: every second of audio says the next word of a sentence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import soundfile

from toolkit.inference.transcript import Alternative, Transcript, Word
from toolkit.serving.jobs import Heard, Job, Limits, ModelCard, Status
from toolkit.serving.service_errors import BusyError, NotFoundError, UnsupportedMediaError

WORDS = ["THE", "QUICK", "BROWN", "FOX", "JUMPS", "OVER", "THE", "LAZY", "DOG"]
PART_S = 5  # a part of a long file


class FakeEngine:
    def __init__(self, limits: Limits | None = None, *, part_seconds: float = 0.0) -> None:
        self.limits = limits or Limits()
        self.ready = False
        self.full = False
        self.part_seconds = part_seconds  # how long a part takes
        self.jobs: list[Job] = []
        self.cancelled: list[Job] = []
        self.live, self.lives = FakeLive, list[FakeLive]()  # how sessions are made, and those that were
        self.models: Sequence[ModelCard] = (
            ModelCard("tiny", 1_700_000_000, True, False, 16000, {"licence": "CC0", "metrics": {"WER": 7.2}}),
            ModelCard("other", 1_700_000_001, False, True, 16000),
        )

    async def start(self) -> None:
        self.ready = True

    async def stop(self, grace_s: float) -> None:  # noqa: ARG002
        self.ready = False

    def check_room(self) -> None:
        if self.full:
            raise BusyError("256 requests wait", retry_after=3)

    def check_disk(self, more_bytes: int = 0) -> None:
        pass

    def status(self) -> Status:
        return Status(batches=len(self.jobs), batched_windows=len(self.jobs), batch_sizes=[1] * len(self.jobs))

    async def transcribe(self, job: Job) -> AsyncIterator[Transcript]:
        self.check_room()
        self._check_model(job.model)
        self.jobs.append(job)
        try:
            seconds = soundfile.info(job.audio).duration
        except soundfile.LibsndfileError:
            raise UnsupportedMediaError(f"{job.name}: is not audio", param="file") from None
        try:
            words = [
                Word(WORDS[second % len(WORDS)], second + 0.25, second + 0.75, 0.9) for second in range(int(seconds))
            ]
            for start in range(0, max(1, len(words)), PART_S):
                await asyncio.sleep(self.part_seconds)
                said = words[start : start + PART_S]
                text = " ".join(word.text for word in said)
                end = min(float(start + PART_S), seconds)
                yield Transcript(text, tuple(said), tuple(text), -1.0, (Alternative(text, -1.0),), end, file=job.name)
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.append(job)
            raise

    async def open_live(self, model: str, sample_rate: int) -> FakeLive:
        self._check_model(model)
        if sum(not live.closed.is_set() for live in self.lives) >= self.limits.live_sessions:
            raise BusyError(f"{self.limits.live_sessions} live sessions are open", retry_after=3)
        self.lives.append(self.live(sample_rate))
        return self.lives[-1]

    def _check_model(self, model: str) -> None:
        if model and model not in [card.name for card in self.models]:
            raise NotFoundError(f"model {model!r}: there are tiny, other", param="model")


class FakeLive:
    """Says a word a second; a line ends after five."""

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate, self.samples = sample_rate, 0
        self.results: asyncio.Queue[Heard | None] = asyncio.Queue()
        self.closed = asyncio.Event()

    async def feed(self, samples: bytes) -> None:
        before, self.samples = self.samples // self.sample_rate, self.samples + len(samples) // 2
        for second in range(before, self.samples // self.sample_rate):
            ended = (second + 1) % PART_S == 0
            await self.results.put(self._line(second + 1, final=ended, ended=ended))

    async def finish(self) -> None:
        second = self.samples // self.sample_rate
        if second % PART_S:
            await self.results.put(self._line(second, final=True))
        await self.results.put(None)

    async def heard(self) -> AsyncIterator[Heard]:
        while (result := await self.results.get()) is not None:
            yield result

    async def close(self) -> None:
        self.closed.set()

    def _line(self, seconds: int, *, final: bool, ended: bool = False) -> Heard:
        start = (seconds - 1) // PART_S * PART_S
        said = tuple(Word(WORDS[second % len(WORDS)], second, second + 1.0, 0.9) for second in range(start, seconds))
        text = " ".join(word.text for word in said)
        transcript = Transcript(text, said if final else (), duration=float(seconds - start))
        return Heard(transcript, final, 0, float(seconds), ended)
