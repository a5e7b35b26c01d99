"""The loop of a model process, in this process: every job is answered as a Transcriber would, whatever others do."""

from __future__ import annotations

import copy
import gc
import queue
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from running_engine import RATE, noise

from toolkit.inference.speech import Levels
from toolkit.inference.streaming import as_streaming
from toolkit.inference.transcriber import Transcriber
from toolkit.inference.transcript import Transcript
from toolkit.serving.jobs import joined
from toolkit.serving.messages import Cancel, Failed, Feed, Models, OpenLive, Taken, Told, Transcribe
from toolkit.serving.model_process import Inference
from toolkit.serving.model_shelf import Loaded, ModelShelf
from toolkit.serving.work import blocks_of


class IdleError(Exception):
    """There is nothing to do any more."""


class Inbox(queue.SimpleQueue):
    """One that nobody will put anything into while the loop waits for it."""

    def get(self, timeout: float | None = None) -> object:
        if timeout is None and self.empty():
            raise IdleError
        return super().get(timeout=timeout)


class Shelf:
    """Models that are always there."""

    def __init__(self, transcribers: dict[str, Transcriber]) -> None:
        self._loaded = {name: Loaded(transcriber, transcriber) for name, transcriber in transcribers.items()}
        self.names = tuple(transcribers)

    def get(self, name: str, in_use: set[str]) -> Loaded:  # noqa: ARG002
        return self._loaded[name]


class Loop:
    """An `Inference`, what is asked of it and what it answers; ``hook`` sees each message."""

    def __init__(self, shelf: Shelf | ModelShelf, folder: Path) -> None:
        self.inbox, self.told, self.folder = Inbox(), [], folder
        self.hook: Callable[[object], None] = lambda _: None
        setup = SimpleNamespace(batch_s=60.0, batch_wait_s=0.0)
        self.inference = Inference(SimpleNamespace(send=self._take), shelf, self.inbox, setup)

    def _take(self, messages: list) -> None:
        for message in messages:
            self.told.append(message)
            self.hook(message)

    def ask(self, number: int, wav: np.ndarray, model: str = "ctc") -> None:
        file = self.folder / f"{number}.f32"
        wav.astype(np.float32).tofile(file)
        self.inbox.put(Transcribe(number, file, f"file {number}", model, (), None, 600.0, alone=False))

    def run(self) -> None:
        with pytest.raises(IdleError):
            self.inference.run()
        assert not self.inference._work
        assert not len(self.inference._queue)

    def live(self, number: int, seconds: float, wav: np.ndarray) -> None:
        """A session in which lumps of so many seconds are fed as fast as they are taken."""
        lumps = iter(
            np.split((wav * 2**15).astype("<i2"), range(round(seconds * RATE), len(wav), round(seconds * RATE)))
        )
        self.inbox.put(OpenLive(number, "ctc", RATE))

        def feed(message: object) -> None:
            if message is None or (isinstance(message, Taken) and message.number == number):
                lump = next(lumps, None)
                self.inbox.put(Feed(number, b"" if lump is None else lump.tobytes()))

        feed(None)
        self.hook = feed

    def answer(self, number: int) -> Transcript:
        found = [one for one in self.told if isinstance(one, Told) and one.number == number]
        assert [one.over for one in found] == [False] * (len(found) - 1) + [True]
        return joined([one.said for one in found])

    def errors(self) -> dict[int, str]:
        return {one.number: str(one.error) for one in self.told if isinstance(one, Failed)}

    def place(self, number: int) -> int:
        """Of the last word on a job."""
        return max(place for place, one in enumerate(self.told) if isinstance(one, Told) and one.number == number)


@pytest.fixture(scope="module")
def alone(run_folder: Path) -> Transcriber:
    """What is to be heard."""
    return Transcriber.from_hparams(run_folder, device="cpu")


@pytest.fixture
def asr(run_folder: Path) -> Transcriber:
    """With CTC output that is merged."""
    return as_streaming(Transcriber.from_hparams(run_folder, device="cpu"))


@pytest.fixture
def loop(asr: Transcriber, tmp_path: Path) -> Loop:
    return Loop(Shelf({"ctc": asr}), tmp_path)


def without_pauses(seconds: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    loudness = np.repeat(np.abs(random.normal(size=round(seconds * RATE) // 800)) + 0.3, 800)
    return (0.1 * random.normal(size=len(loudness)) * loudness).clip(-0.9, 0.9).astype(np.float32)


def same(found: Transcript, asr: Transcriber, wav: np.ndarray) -> None:
    expected = asr.transcribe(torch.from_numpy(wav))
    assert (found.text, found.tokens, found.duration) == (expected.text, expected.tokens, expected.duration)
    assert found.text


# Errors


def test_an_error_in_what_a_job_does_with_its_output_is_its_own(
    loop: Loop, asr: Transcriber, alone: Transcriber
) -> None:
    wavs = {1: without_pauses(60, 1), 2: without_pauses(60, 2)}
    for number, wav in wavs.items():
        loop.ask(number, wav)
    compute = asr.compute

    def computed(batch: list, padding_s: float) -> list:
        for recording in {recording for recording, _ in batch if recording is not loop.inference._work[1].recording}:
            recording._search = lambda: 1 / 0
        return compute(batch, padding_s)

    asr.compute = computed
    loop.run()
    same(loop.answer(1), alone, wavs[1])
    assert loop.errors() == {2: "the model failed on this audio"}


def test_windows_that_fail_together_are_computed_one_by_one_with_the_error_gone(
    loop: Loop, asr: Transcriber, alone: Transcriber
) -> None:
    wavs = {number: noise(50 + number, number) for number in (1, 2)}
    for number, wav in wavs.items():
        loop.ask(number, wav)
    compute, retried = asr.compute, []

    def computed(batch: list, padding_s: float) -> list:
        if len(batch) > 1:
            raise torch.OutOfMemoryError("as if")
        retried.append(sys.exc_info()[0])  # its traceback would hold what the device has of the batch
        return compute(batch, padding_s)

    asr.compute = computed
    loop.run()
    for number, wav in wavs.items():
        same(loop.answer(number), alone, wav)
    assert set(retried) == {None}


def broken_blocks(file: Path, samples: int) -> Iterator[torch.Tensor]:
    for place, block in enumerate(blocks_of(file, samples)):
        if place == 8 and file.stem == "1":
            raise OSError("cannot be read")
        yield block


@pytest.mark.parametrize(
    ("where", "broken"),
    [
        ("toolkit.serving.work.blocks_of", broken_blocks),
        ("toolkit.inference.recordings.MergedRecording.end", lambda _: 1 / 0),
    ],
)
def test_an_error_in_cutting_windows_or_at_the_end_is_of_one_file(
    loop: Loop, alone: Transcriber, monkeypatch: pytest.MonkeyPatch, where: str, broken: Callable
) -> None:
    wav = noise(9, 2)
    same(alone.transcribe(torch.from_numpy(wav)), alone, wav)
    monkeypatch.setattr(where, broken)
    loop.ask(1, noise(100, 1))
    loop.ask(2, wav)
    loop.run()
    same(loop.answer(2), alone, wav)
    assert loop.errors() == {1: "the model failed on this audio"}


@pytest.mark.parametrize("where", ["wanted", "understood", "feed"])
def test_an_error_in_live_speech_is_of_one_session(
    loop: Loop, alone: Transcriber, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(f"toolkit.inference.live.LiveUtterances.{where}", lambda *_: 1 / 0)
    loop.live(1, 5.0, noise(9, 1))
    loop.ask(2, noise(9, 2))
    loop.run()
    same(loop.answer(2), alone, noise(9, 2))
    assert loop.errors() == {1: "the model failed on this audio"}


def test_a_file_that_is_gone_with_its_client_is_no_error(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    loop.ask(1, noise(3))
    loop.inbox.put(Cancel(1))
    (loop.folder / "1.f32").unlink()
    loop.run()
    assert loop.told == []
    assert not caplog.records


# Turns


def test_speech_that_is_fed_faster_than_spoken_holds_up_no_file(loop: Loop) -> None:
    wav = noise(200, 1)
    wav[np.arange(len(wav)) % (6 * RATE) > 5 * RATE] = 0.0  # a line has always ended
    loop.live(1, 10.0, wav)
    loop.ask(2, noise(30, 2))  # unlike a line, which it would be computed with
    loop.run()
    before = [one for one in loop.told[: loop.place(2)] if isinstance(one, Told)]
    assert len(before) < 5
    lines = [one for one in loop.told if isinstance(one, Told) and one.number == 1 and one.said and one.said.final]
    assert len(lines) > 10


def test_speech_as_it_is_spoken_is_before_files(loop: Loop) -> None:
    loop.live(1, 4.0, noise(4, 1))
    for number in range(2, 40):
        loop.ask(number, noise(20, number))
    loop.run()
    assert loop.place(1) < min(loop.place(number) for number in range(2, 40))


class Counted(Levels):
    """Counts the blocks that are listened to."""

    blocks = 0

    def feed(self, block: torch.Tensor) -> np.ndarray:
        Counted.blocks += 1
        return super().feed(block)


def test_silence_holds_up_no_file(loop: Loop, asr: Transcriber, alone: Transcriber) -> None:
    asr.long_audio = replace(asr.long_audio, speech=Counted)
    listened = {}

    def note(message: object) -> None:
        if isinstance(message, Told) and message.over:
            listened[message.number] = Counted.blocks

    loop.hook = note
    wav = np.concatenate([noise(50, 1), np.zeros(400 * RATE, np.float32), noise(50, 3)])
    loop.ask(1, np.zeros(600 * RATE, np.float32))
    loop.ask(2, wav)
    loop.ask(3, noise(3, 2))
    loop.run()
    assert listened[3] < 30
    assert listened[1] > 60
    signs = [message for message in loop.told if isinstance(message, Models)]
    assert len(signs) >= 10  # of life, one a minute of silence: who tells nothing for long is ended
    same(loop.answer(2), alone, wav)
    assert (loop.answer(1).text, loop.answer(1).duration) == ("", 600.0)


def test_a_batch_takes_about_a_second_on_any_model(
    asr: Transcriber, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One computes 8 seconds of audio in a second, the other 300, by a clock that stands still otherwise."""
    now, speeds, took = [0.0], {"slow": 8.0, "fast": 300.0}, {"slow": [], "fast": []}
    monkeypatch.setattr("toolkit.serving.model_process.time", SimpleNamespace(monotonic=lambda: now[0]))

    def of_speed(name: str) -> Transcriber:
        made = copy.copy(asr)
        compute = made.compute

        def computed(batch: list, padding_s: float) -> list:
            took[name].append(len(batch) * max(len(window.wav) for _, window in batch) / RATE / speeds[name])
            now[0] += took[name][-1]
            return compute(batch, padding_s)

        made.compute = computed
        return made

    loop = Loop(Shelf({name: of_speed(name) for name in speeds}), tmp_path)
    for number in range(1, 121):
        loop.ask(number, np.resize(noise(2, 1), 2 * RATE), ("slow", "fast")[number % 2])
    loop.run()
    assert not loop.errors()
    assert max(took["slow"][1:]) < 1.3
    assert len(took["fast"]) <= 3


# Memory


def test_a_model_that_is_put_away_is_in_memory_no_more(run_folder: Path, tmp_path: Path, monkeypatch) -> None:
    shelf = ModelShelf({"a": str(run_folder), "b": str(run_folder)}, "cpu", 1)
    before, load = [], Transcriber.from_hparams.__func__

    def loaded(cls: type, *arguments: object, **options: object) -> Transcriber:
        before.append(shelf.names)
        made = load(cls, *arguments, **options)
        models.append(weakref.ref(made.model))
        return made

    models: list[weakref.ref] = []
    monkeypatch.setattr(Transcriber, "from_hparams", classmethod(loaded))
    loop = Loop(shelf, tmp_path)
    for number, name in enumerate("abab", 1):
        loop.ask(number, noise(60, number), name)
        loop.run()
        gc.collect()
        assert len([model for model in models if model()]) == 1
        assert loop.answer(number).duration == 60.0
    assert before == [()] * 4


def test_a_model_that_is_in_use_is_not_put_away(run_folder: Path, tmp_path: Path) -> None:
    loop = Loop(ModelShelf({"a": str(run_folder), "b": str(run_folder)}, "cpu", 1), tmp_path)
    for number, name in enumerate("aba", 1):
        loop.ask(number, noise(60, number), name)
    loop.run()
    assert loop.errors() == {2: "there is no memory for model 'b' beside those in use; try again later"}
    assert [loop.answer(number).duration for number in (1, 3)] == [60.0, 60.0]
    loop.ask(4, noise(1), "b")
    loop.run()
    assert loop.answer(4).duration == 1.0
