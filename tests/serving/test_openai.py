"""OpenAI's API, as their own client and others ask: every format, streaming, models, and what is refused."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from fake_engine import FakeEngine
from openai.types import Model
from openai.types.audio import Transcription, TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent
from openai.types.audio import TranscriptionVerbose as Verbose
from served import served, wav

from toolkit.inference.transcript import Transcript, Word
from toolkit.serving.jobs import Job
from toolkit.serving.security import hash_of
from toolkit.serving.service_errors import BusyError, TooLargeError, UnavailableError

SAID = "THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG THE QUICK BROWN"  # in 12 s
SRT = (
    "1\n00:00:00,250 --> 00:00:06,750\nTHE QUICK BROWN FOX JUMPS OVER THE\n\n"
    "2\n00:00:07,250 --> 00:00:11,750\nLAZY DOG THE QUICK BROWN\n"
)
KEY = "asr-a-key-of-the-test"


class HeldEngine(FakeEngine):
    """Says the first part, and then fails, or goes on when it is let go."""

    def __init__(self, failure: Exception | None = None) -> None:
        super().__init__()
        self.failure, self.left = failure, threading.Event()

    async def start(self) -> None:
        await super().start()
        self._loop, self._go = asyncio.get_running_loop(), asyncio.Event()

    def go_on(self) -> None:
        self._loop.call_soon_threadsafe(self._go.set)

    async def transcribe(self, job: Job) -> AsyncIterator[Transcript]:
        try:
            async for part in super().transcribe(job):
                yield part
                if self.failure:
                    raise self.failure
                await self._go.wait()
        finally:
            self.left.set()


@contextmanager
def running(engine: FakeEngine, folder: Path, **settings: Any) -> Iterator[str]:
    """The address of a real server; at the end no upload is left in its folder."""
    with served(folder, engine, **settings) as (host, port):
        yield f"http://{host}:{port}"
    assert list(folder.iterdir()) == []


@contextmanager
def client_of(engine: FakeEngine, folder: Path, **settings: Any) -> Iterator[openai.OpenAI]:
    with running(engine, folder, **settings) as url, client_at(url) as client:
        yield client


def client_at(url: str, key: str = "any") -> openai.OpenAI:
    return openai.OpenAI(api_key=key, base_url=f"{url}/v1", max_retries=0)


@pytest.fixture(scope="module")
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture(scope="module")
def url(engine: FakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(engine, tmp_path_factory.mktemp("uploads")) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with client_at(url) as client:
        yield client


def speech(seconds: float = 12) -> tuple[str, bytes]:
    return ("speech.wav", wav(seconds))


def test_json(client: openai.OpenAI):
    answer = client.audio.transcriptions.create(file=speech(), model="tiny")
    assert answer.text == SAID
    Transcription.model_validate(answer.model_dump(exclude_unset=True), strict=True)
    assert answer.usage.model_dump() == {"type": "duration", "seconds": 12.0}


@pytest.mark.parametrize(("form", "expected"), [("text", SAID + "\n"), ("srt", SRT)])
def test_texts(client: openai.OpenAI, form: str, expected: str):
    assert client.audio.transcriptions.create(file=speech(), model="tiny", response_format=form) == expected


def test_vtt_has_the_cues_of_srt(client: openai.OpenAI):
    text = client.audio.transcriptions.create(file=speech(), model="tiny", response_format="vtt")
    assert text.startswith("WEBVTT\n\n00:00:00.250 --> 00:00:06.750\nTHE QUICK")


def test_verbose_json(client: openai.OpenAI):
    answer = client.audio.transcriptions.create(
        file=speech(), model="tiny", response_format="verbose_json", language="en"
    )
    strict = Verbose.model_validate(answer.model_dump(exclude_unset=True), strict=True)
    assert (strict.text, strict.language, strict.duration, strict.usage.seconds) == (SAID, "en", 12.0, 12.0)
    assert answer.task == "transcribe"
    assert strict.words is None
    assert [(one.id, one.seek, one.start, one.end) for one in strict.segments] == [
        (0, 25, 0.25, 6.75),
        (1, 725, 7.25, 11.75),
    ]
    assert "".join(one.text for one in strict.segments).strip() == SAID
    first = strict.segments[0]
    assert first.avg_logprob == pytest.approx(math.log(0.9), abs=1e-4)  # every word is as sure as that
    assert 0.5 < first.compression_ratio < 1.5
    assert (first.temperature, first.no_speech_prob, first.tokens) == (0.0, 0.0, [])
    assert set(first.model_dump()) == set(type(first).model_fields)


@pytest.mark.parametrize(
    ("asked", "has_segments", "has_words"),
    [(["segment"], True, False), (["word"], False, True), (["word", "segment"], True, True)],
)
def test_what_has_times(client: openai.OpenAI, asked: list[str], has_segments: bool, has_words: bool):
    answer = client.audio.transcriptions.create(
        file=speech(3), model="tiny", response_format="verbose_json", timestamp_granularities=asked
    )
    Verbose.model_validate(answer.model_dump(exclude_unset=True), strict=True)
    assert (answer.segments is not None, answer.words is not None) == (has_segments, has_words)
    if has_words:
        assert [(word.word, word.start, word.end) for word in answer.words] == [
            ("THE", 0.25, 0.75), ("QUICK", 1.25, 1.75), ("BROWN", 2.25, 2.75)
        ]  # fmt: skip


def test_nothing_was_said(client: openai.OpenAI):
    answer = client.audio.transcriptions.create(file=speech(0.5), model="tiny", response_format="verbose_json")
    assert (answer.text, answer.segments) == ("", [])
    assert client.audio.transcriptions.create(file=speech(0.5), model="tiny", response_format="text") == "\n"
    events = list(client.audio.transcriptions.create(file=speech(0.5), model="tiny", stream=True))
    assert [(event.type, event.text) for event in events] == [("transcript.text.done", "")]


def test_events_come_while_the_file_is_understood(tmp_path: Path):
    engine = HeldEngine()
    with client_of(engine, tmp_path) as client:
        events = client.audio.transcriptions.create(file=speech(), model="tiny", stream=True)
        first = next(iter(events))
        engine.go_on()
        *deltas, done = [first, *events]
    assert first.delta == "THE QUICK BROWN FOX JUMPS"
    assert "".join(event.delta for event in deltas) == done.text == SAID
    for event in deltas:
        TranscriptionTextDeltaEvent.model_validate(event.model_dump(exclude_unset=True), strict=True)
    TranscriptionTextDoneEvent.model_validate(done.model_dump(exclude_unset=True), strict=True)


def test_an_error_in_mid_stream_is_an_event(tmp_path: Path):
    failure = UnavailableError("the model's process ended twice")
    with client_of(HeldEngine(failure), tmp_path) as client:
        events = client.audio.transcriptions.create(file=speech(), model="tiny", stream=True)
        assert next(iter(events)).delta == "THE QUICK BROWN FOX JUMPS"
        with pytest.raises(openai.APIError, match="the model's process ended twice") as caught:
            list(events)
    assert caught.value.type == "unavailable_error"


def test_a_stream_that_nobody_reads_is_given_up(tmp_path: Path):
    engine = HeldEngine()
    with client_of(engine, tmp_path) as client:
        with client.audio.transcriptions.create(file=speech(), model="tiny", stream=True) as events:
            next(iter(events))
        assert engine.left.wait(10)
    assert len(engine.cancelled) == 1


def test_many_at_once_with_the_asynchronous_client(url: str):
    async def ask() -> list[Any]:
        async with openai.AsyncOpenAI(api_key="any", base_url=f"{url}/v1", max_retries=0) as client:
            create = client.audio.transcriptions.create
            events = await create(file=speech(7), model="tiny", stream=True)
            answers = await asyncio.gather(*(create(file=speech(seconds), model="other") for seconds in range(1, 9)))
            return [*answers, *[event async for event in events]]

    *answers, first, second, done = asyncio.run(ask())
    words = SAID.split()
    assert [answer.text for answer in answers] == [" ".join(words[:seconds]) for seconds in range(1, 9)]
    assert first.delta + second.delta == done.text == " ".join(words[:7])


def test_models(client: openai.OpenAI):
    found = client.models.list()
    assert [model.id for model in found] == ["tiny", "other"]
    for model in found:
        Model.model_validate(model.model_dump(exclude_unset=True), strict=True)
    tiny = client.models.retrieve("tiny")
    assert (tiny.created, tiny.object) == (1_700_000_000, "model")
    assert tiny.provenance == {"licence": "CC0", "metrics": {"WER": 7.2}}
    assert not hasattr(client.models.retrieve("other"), "provenance")


@pytest.mark.parametrize(
    ("options", "error", "param", "said"),
    [
        ({"model": "whisper-1"}, openai.NotFoundError, "model", "there are tiny, other"),
        ({"prompt": "x" * 5000}, openai.BadRequestError, "prompt", "5000 letters; expected at most 4000"),
        (
            {"language": "english"},
            openai.BadRequestError,
            "language",
            "expected a code of ISO 639-1",
        ),
        ({"temperature": 1.5}, openai.BadRequestError, "temperature", "a number between 0 and 1"),
        ({"response_format": "diarized_json"}, openai.BadRequestError, "response_format", "verbose_json or vtt"),
        ({"response_format": "srt", "stream": True}, openai.BadRequestError, "response_format", "leave stream out"),
        ({"timestamp_granularities": ["word"]}, openai.BadRequestError, "timestamp_granularities", "verbose_json"),
        ({"include": ["logprobs"]}, openai.BadRequestError, "include", "no log-probabilities of tokens"),
        ({"chunking_strategy": {"type": "server_vad"}}, openai.BadRequestError, "chunking_strategy", "cut at pauses"),
        ({"file": ("a.wav", b"RIFF not audio")}, openai.APIStatusError, "file", "a.wav: is not audio"),
        ({"file": ("nothing.wav", b"")}, openai.UnprocessableEntityError, "file", "file: is empty"),
    ],
)
def test_refused(
    client: openai.OpenAI, options: dict[str, Any], error: type[openai.APIStatusError], param: str, said: str
):
    with pytest.raises(error, match=said) as caught:
        client.audio.transcriptions.create(**{"file": speech(1), "model": "tiny"} | options)
    assert caught.value.param == param
    assert caught.value.type.endswith("_error")


def test_a_wrong_key(tmp_path: Path):
    with running(FakeEngine(), tmp_path, api_key_hashes=(hash_of(KEY),)) as url:
        with client_at(url, "asr-another") as client:
            for ask in (client.models.list, lambda: client.audio.transcriptions.create(file=speech(), model="tiny")):
                with pytest.raises(openai.AuthenticationError) as caught:
                    ask()
                assert caught.value.code == "invalid_api_key"
        with client_at(url, KEY) as client:
            assert client.audio.transcriptions.create(file=speech(1), model="tiny").text == "THE"


class BusyOnce(FakeEngine):
    def check_room(self) -> None:
        full, self.full = self.full, False
        if full:
            raise BusyError("256 requests wait", retry_after=1)


def test_busy(tmp_path: Path):
    engine = BusyOnce()
    with client_of(engine, tmp_path) as client:
        engine.full = True
        with pytest.raises(openai.RateLimitError, match="256 requests wait") as caught:
            client.audio.transcriptions.create(file=speech(1), model="tiny")
        assert caught.value.code == "rate_limit_exceeded"
        assert caught.value.response.headers["retry-after"] == "1"
        engine.full = True
        patient = client.with_options(max_retries=1)
        assert patient.audio.transcriptions.create(file=speech(1), model="tiny").text == "THE"


@pytest.mark.parametrize("stream", [False, True])
def test_too_large(tmp_path: Path, stream: bool):
    with client_of(RefusingEngine(), tmp_path, upload_bytes=50_000) as client:
        for seconds, said in ((10, "50000 bytes"), (1, "1 s is too long")):
            with pytest.raises(openai.APIStatusError, match=said) as caught:
                client.audio.transcriptions.create(file=speech(seconds), model="tiny", stream=stream)
            assert caught.value.status_code == 413


class RefusingEngine(FakeEngine):
    async def transcribe(self, job: Job) -> AsyncIterator[Transcript]:
        raise TooLargeError(f"{job.name}: 1 s is too long", param="file")
        yield


class Talkative(FakeEngine):
    async def transcribe(self, job: Job) -> AsyncIterator[Transcript]:
        words = [Word(f"WORD{number}", number * 0.4, number * 0.4 + 0.3, 0.9) for number in range(20_000)]
        yield Transcript(" ".join(word.text for word in words), tuple(words), duration=8000.0, file=job.name)


def test_others_are_answered_while_hours_of_subtitles_are_written(tmp_path: Path):
    async def ask(url: str) -> tuple[float, float]:
        async with httpx.AsyncClient(timeout=60) as client:
            form = {"response_format": "verbose_json"}
            sent = client.post(f"{url}/v1/audio/transcriptions", files={"file": speech(1)}, data=form)
            begun, slowest, writing = time.perf_counter(), 0.0, asyncio.ensure_future(sent)
            while not writing.done():
                asked = time.perf_counter()
                await client.get(f"{url}/health/live")
                slowest = max(slowest, time.perf_counter() - asked)
            assert len((await writing).raise_for_status().json()["segments"]) > 1000
            return slowest, time.perf_counter() - begun

    with running(Talkative(), tmp_path) as url:
        slowest, all_of_it = asyncio.run(ask(url))
    assert slowest < all_of_it / 2


FORMS = {
    "brackets": [("timestamp_granularities[]", "word"), ("timestamp_granularities[]", "segment")],
    "numbers": [("timestamp_granularities[0]", "word"), ("timestamp_granularities[1]", "segment")],
    "bare": [("timestamp_granularities", "word"), ("timestamp_granularities", "segment")],
    "json": [("timestamp_granularities", '["word", "segment"]')],
    "commas": [("timestamp_granularities[]", "word, segment")],
}


@pytest.mark.parametrize("form", FORMS)
def test_lists_as_other_clients_write_them(url: str, form: str):
    fields = [("response_format", "verbose_json"), *FORMS[form]]
    answer = post(url, fields).raise_for_status().json()
    assert set(answer) == {"text", "usage", "task", "language", "duration", "segments", "words"}
    assert answer["language"] == "und"


def test_what_says_nothing_is_as_if_it_were_absent(url: str, engine: FakeEngine):
    """Clients with a form of their own (n8n, Open WebUI) send all of its fields, empty ones too."""
    fields = [(name, "") for name in ("model", "language", "prompt", "response_format", "temperature", "stream")]
    assert post(url, [*fields, ("vad_filter", "true"), ("stream", "False")]).json()["text"] == "THE QUICK BROWN"
    assert engine.jobs[-1].hotwords == ()


def test_hotwords_are_the_phrases_of_the_prompt_and_the_keywords(client: openai.OpenAI, engine: FakeEngine):
    client.audio.transcriptions.create(
        file=speech(1), model="other", prompt="Rachel Lynde, Avonlea\nGreen Gables,", keywords=["Marilla", "Mr Barry"]
    )
    job = engine.jobs[-1]
    assert (job.model, job.name) == ("other", "speech.wav")
    assert job.hotwords == ("Rachel Lynde", "Avonlea", "Green Gables", "Marilla", "Mr Barry")


def test_what_is_sent_over_the_wire(url: str):
    """As curl sees it: types of content, and events that any reader of server-sent events understands."""
    kinds = {form: post(url, [("response_format", form)]).headers["content-type"] for form in ("json", "text", "vtt")}
    assert kinds == {"json": "application/json", "text": "text/plain; charset=utf-8", "vtt": "text/vtt; charset=utf-8"}
    answer = post(url, [("stream", "true"), ("model", "tiny")])
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = answer.text.split("\n\n")
    assert blocks.pop() == ""
    assert [json.loads(block.removeprefix("data: ")) for block in blocks] == [
        {"type": "transcript.text.delta", "delta": "THE QUICK BROWN"},
        {"type": "transcript.text.done", "text": "THE QUICK BROWN"},
    ]


def post(url: str, fields: list[tuple[str, str]]) -> httpx.Response:
    files = [(name, (None, value)) for name, value in fields]
    return httpx.post(f"{url}/v1/audio/transcriptions", files=[*files, ("file", speech(3))])
