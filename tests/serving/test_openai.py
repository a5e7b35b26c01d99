"""OpenAI's API, as their own client and others ask: every format, streaming, models, and what is refused."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
import soundfile
import uvicorn
from fake_engine import FakeEngine
from openai.types import Model
from openai.types.audio import Transcription, TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent
from openai.types.audio import TranscriptionVerbose as Verbose

from toolkit.inference.transcript import Transcript
from toolkit.serving.app import create_app
from toolkit.serving.jobs import Job, Limits
from toolkit.serving.security import hash_of
from toolkit.serving.service_errors import TooLargeError, UnavailableError
from toolkit.serving.settings import Settings

SAID = "THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG THE QUICK BROWN"  # in 12 s
SRT = (
    "1\n00:00:00,250 --> 00:00:06,750\nTHE QUICK BROWN FOX\nJUMPS OVER THE\n\n"
    "2\n00:00:07,250 --> 00:00:11,750\nLAZY DOG THE\nQUICK BROWN\n"
)
KEY = "asr-a-key-of-the-test"


class HeldEngine(FakeEngine):
    """Says the first part, and goes on when it is let go, or fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        super().__init__()
        self.go, self.left, self.failure = threading.Event(), threading.Event(), failure

    async def transcribe(self, job: Job) -> AsyncIterator[Transcript]:
        try:
            async for part in super().transcribe(job):
                yield part
                if self.failure:
                    raise self.failure
                while not self.go.is_set():
                    await asyncio.sleep(0.001)
        finally:
            self.left.set()


@contextmanager
def running(engine: FakeEngine, folder: Path, **settings: object) -> Iterator[str]:
    """The address of a real server; at the end no upload is left in its folder."""
    app = create_app(engine, Settings(models={"tiny": "tiny"}, temporary_folder=folder, **settings))
    started = threading.Event()
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, callback_notify=None))
    startup = server.startup

    async def announced(*args: object, **options: object) -> None:
        await startup(*args, **options)
        started.set()

    server.startup = announced
    thread = threading.Thread(target=server.run)
    thread.start()
    assert started.wait(20)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()
    assert [path for path in folder.rglob("*") if path.is_file()] == []


@contextmanager
def client_of(engine: FakeEngine, folder: Path, **settings: object) -> Iterator[openai.OpenAI]:
    with running(engine, folder, **settings) as url, openai.OpenAI(api_key="any", base_url=f"{url}/v1", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture(scope="module")
def url(engine: FakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(engine, tmp_path_factory.mktemp("uploads")) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="any", base_url=f"{url}/v1", max_retries=0) as client:
        yield client


def speech(seconds: float = 12) -> tuple[str, bytes]:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(int(seconds * 8000), np.int16), 8000, format="WAV")
    return ("speech.wav", buffer.getvalue())


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
    answer = client.audio.transcriptions.create(file=speech(), model="tiny", response_format="verbose_json", language="en")
    strict = Verbose.model_validate(answer.model_dump(exclude_unset=True), strict=True)
    assert (strict.text, strict.language, strict.duration, strict.usage.seconds) == (SAID, "en", 12.0, 12.0)
    assert answer.task == "transcribe"
    assert strict.words is None
    assert [(one.id, one.seek, one.start, one.end) for one in strict.segments] == [(0, 25, 0.25, 6.75), (1, 725, 7.25, 11.75)]
    assert "".join(one.text for one in strict.segments).strip() == SAID
    first = strict.segments[0]
    assert first.avg_logprob == pytest.approx(np.log(0.9), abs=1e-4)  # every word is as sure as that
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
        assert not engine.go.is_set()
        engine.go.set()
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


async def test_async(url: str):
    ...


def test_models(client: openai.OpenAI):
    found = client.models.list()
    assert [model.id for model in found] == ["tiny", "other"]
    for model in found:
        Model.model_validate(model.model_dump(exclude_unset=True), strict=True)
    tiny = client.models.retrieve("tiny")
    assert (tiny.created, tiny.object) == (1_700_000_000, "model")
    assert tiny.provenance == {"licence": "CC0", "metrics": {"WER": 7.2}}
    assert not hasattr(client.models.retrieve("other"), "provenance")
