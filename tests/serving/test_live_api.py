"""Live recognition over WebSocket: every word of the audio that is sent, and an answer to whatever else is."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
import soxr
from fake_engine import WORDS, FakeEngine, FakeLive
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from toolkit.dataio.audio import load_audio
from toolkit.inference.transcript import Heard, Transcript
from toolkit.metrics.error_rate import word_errors
from toolkit.serving.app import create_app
from toolkit.serving.engine import ServiceEngine
from toolkit.serving.jobs import Engine, Limits
from toolkit.serving.live_api import MESSAGE_BYTES
from toolkit.serving.security import hash_of
from toolkit.serving.server import Server, bind
from toolkit.serving.service_errors import UnavailableError
from toolkit.serving.settings import Settings

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
REAL = Path(os.environ.get("ASR_DATA", ROOT.parent / "shared/data")) / "an4/wav/an4test_clstk/fcaw"
NOISE = REAL.parents[3] / "rirs_noises/noises/exercise_bike.wav"

LINES = ["THE QUICK BROWN FOX JUMPS", "OVER THE LAZY DOG THE", "QUICK BROWN"]  # of twelve seconds


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@contextlib.asynccontextmanager
async def serving(engine: Engine, tmp_path: Path, **options: object) -> AsyncIterator[str]:
    """The service with this engine; where its live sessions are."""
    settings = Settings(models={"tiny": "tiny"}, port=0, temporary_folder=tmp_path, limits=engine.limits, **options)
    ready, address = asyncio.Event(), bind(settings)
    server = Server(create_app(engine, settings), ready.set)
    running = asyncio.create_task(server.serve([address]))
    await ready.wait()
    try:
        yield f"ws://127.0.0.1:{address.getsockname()[1]}/v1/stream"
    finally:
        server.should_exit = True
        await running
    assert decoders() == []


def decoders() -> list[str]:
    """Processes of this one that decode Opus."""
    children = [child for path in Path("/proc/self/task").glob("*/children") for child in path.read_text().split()]
    return [child for child in children if "opus_decoder" in Path(f"/proc/{child}/cmdline").read_text()]


def silence(seconds: float, rate: int = 16000) -> bytes:
    return bytes(2 * round(seconds * rate))


def tone(seconds: float, form: str, channels: int = 1) -> bytes:
    return opus(0.3 * np.sin(2 * np.pi * 440 * np.arange(round(48000 * seconds)) / 48000), form, channels)


def opus(sound: np.ndarray, form: str, channels: int = 1) -> bytes:
    """A file of sound (S,) at 48 kHz, as a browser writes it."""
    file, layout = io.BytesIO(), {1: "mono", 2: "stereo"}[channels]
    with av.open(file, "w", format=form, options={"live": "1"} if form == "webm" else {}) as container:
        stream = container.add_stream("libopus", rate=48000, layout=layout)
        for start in range(0, len(sound), 960):
            samples = np.tile(sound[start : start + 960].astype(np.float32), (channels, 1))
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
            frame.sample_rate = 48000
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def in_pieces(data: bytes, seed: int, most: int = 50_000) -> list[bytes]:
    draw, pieces, start = random.Random(seed), [], 0
    while start < len(data):
        pieces.append(data[start : start + draw.randint(1, most)])
        start += len(pieces[-1])
    return pieces


async def answers(client: ClientConnection) -> tuple[list[dict], int]:
    """All messages until the server closes, and how it does."""
    found = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            found.append(json.loads(await client.recv()))
    return found, client.close_code


async def said_to(url: str, *messages: bytes | str | dict, **options: object) -> tuple[list[dict], int]:
    """What the server answers to some messages."""
    async with connect(url, **options) as client:
        with contextlib.suppress(ConnectionClosed):
            for message in messages:
                await client.send(json.dumps(message) if isinstance(message, dict) else message)
        return await answers(client)


def texts(messages: list[dict], kind: str = "final") -> list[str]:
    return [message["text"] for message in messages if message["type"] == kind]


END = {"type": "end"}


async def test_a_session(tmp_path: Path) -> None:
    async with serving(FakeEngine(), tmp_path) as url:
        found, code = await said_to(url, *in_pieces(silence(12), 1), END)
    assert found[0] == {"type": "ready", "model": "tiny", "format": "pcm_s16le", "sample_rate": 16000}
    assert found[1] == {"type": "partial", "text": "THE", "stable": 0, "start": 0.0, "duration": 1.0}
    assert texts(found) == LINES
    words = [{"text": "QUICK", "start": 10, "end": 11, "confidence": 0.9}]
    words += [{"text": "BROWN", "start": 11, "end": 12, "confidence": 0.9}]
    times = {"start": 10, "end": 12, "duration": 12.0}
    assert found[-2] == {"type": "final", "text": "QUICK BROWN", "words": words, **times, "speech_ended": False}
    assert [message["speech_ended"] for message in found if message["type"] == "final"] == [True, True, False]
    assert (found[-1], code) == ({"type": "done", "duration": 12.0}, 1000)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("rate", [8000, 44100, 48000])
async def test_bytes_may_be_cut_anywhere(tmp_path: Path, rate: int, seed: int) -> None:
    async with serving(FakeEngine(), tmp_path) as url:
        pieces = in_pieces(silence(7, rate), seed, most=9999)
        found, _ = await said_to(f"{url}?sample_rate={rate}&model=other&language=en", *pieces, END)
    assert found[0] == {"type": "ready", "model": "other", "format": "pcm_s16le", "sample_rate": rate}
    assert (texts(found), found[-1]["duration"]) == (["THE QUICK BROWN FOX JUMPS", "OVER THE"], 7)


async def test_options_in_the_first_message_go_before_those_of_the_query(tmp_path: Path) -> None:
    engine, start = FakeEngine(), {"type": "start", "sample_rate": 8000, "model": "other"}
    async with serving(engine, tmp_path, api_key_hashes=[hash_of("secret")]) as url:
        found, code = await said_to(f"{url}?sample_rate=9000", start | {"api_key": "secret"}, silence(2, 8000), END)
    assert (found[0]["sample_rate"], found[0]["model"], texts(found), code) == (8000, "other", ["THE QUICK"], 1000)


async def test_nothing_at_all(tmp_path: Path) -> None:
    async with serving(FakeEngine(), tmp_path) as url:
        for messages in ([{"type": "start"}, END], [b"", END], [b"x", END]):
            found, code = await said_to(url, *messages)
            assert [message["type"] for message in found] == ["ready", "done"]
            assert (found[-1]["duration"], code) == (0, 1000)


@pytest.mark.parametrize(("form", "name"), [("webm", "webm"), ("ogg", "ogg"), ("webm", "opus"), ("ogg", "opus")])
async def test_opus(tmp_path: Path, form: str, name: str) -> None:
    engine = FakeEngine()
    async with serving(engine, tmp_path) as url:
        found, code = await said_to(f"{url}?format={name}", *in_pieces(tone(7.2, form, channels=2), 3, 4000), END)
    assert (texts(found), code) == (["THE QUICK BROWN FOX JUMPS", "OVER THE"], 1000)
    assert found[-1]["duration"] == pytest.approx(7.2, abs=0.05)
    assert found[0]["sample_rate"] == 16000


@pytest.mark.parametrize("form", ["webm", "ogg"])
async def test_opus_is_heard_while_it_comes(tmp_path: Path, form: str) -> None:
    """Only so much is sent as is needed: the words of the beginning come before there is an end."""
    file = tone(6.2, form)
    async with serving(FakeEngine(), tmp_path) as url, connect(f"{url}?format={form}") as client:
        await client.send(file[: len(file) * 5 // 6])
        found = [json.loads(await client.recv()) for _ in range(4)]
        assert texts(found, "partial") == ["THE", "THE QUICK", "THE QUICK BROWN"]
        await client.send(file[len(file) * 5 // 6 :])
        await client.send(json.dumps(END))
        found, code = await answers(client)
    assert (texts(found), code) == (["THE QUICK BROWN FOX JUMPS", "OVER"], 1000)


async def test_what_was_heard_before_damage_is_told(tmp_path: Path) -> None:
    file = tone(8, "webm")
    damaged = file[: len(file) // 2] + random.Random(1).randbytes(len(file) // 2)
    async with serving(FakeEngine(), tmp_path) as url:
        found, code = await said_to(f"{url}?format=webm", *in_pieces(damaged, 1, 2000), END)
        assert texts(found)[0].startswith("THE QUICK BROWN")
        assert (found[-1]["type"], code) in [("done", 1000), ("error", 1003)]


@pytest.mark.parametrize("begin", [b"", b"\x1aE\xdf\xa3", b"OggS", b"RIFF", b"ftypM4A "])
async def test_what_is_no_opus_is_refused(tmp_path: Path, begin: bytes) -> None:
    async with serving(FakeEngine(), tmp_path) as url:
        found, code = await said_to(f"{url}?format=webm", begin + random.Random(2).randbytes(99_999), END)
        assert (found[-1]["error"]["type"], found[-1]["error"]["param"]) == ("unsupported_media_error", "format")
        assert "Opus" in found[-1]["error"]["message"]
        assert code == 1003
        assert texts((await said_to(url, silence(1), END))[0]) == ["THE"]  # as if nothing had been


@pytest.mark.slow
@pytest.mark.parametrize("form", ["webm", "ogg"])
async def test_hostile_opus_ends_its_own_session_only(tmp_path: Path, form: str) -> None:
    file = tone(4, form)
    async with serving(FakeEngine(), tmp_path) as url:
        for seed in range(12):
            draw, mutated = random.Random(seed), bytearray(file)
            for _ in range(draw.choice([1, 10, 100])):
                mutated[draw.randrange(draw.choice([200, len(file)]))] = draw.randrange(256)
            found, code = await asyncio.wait_for(said_to(f"{url}?format={form}", bytes(mutated), END), 20)
            assert (found[-1]["type"], code) in [("done", 1000), ("error", 1003)]
        assert texts((await said_to(url, silence(1), END))[0]) == ["THE"]


WAV = b"RIFF\x24\x80\x00\x00WAVEfmt "


@pytest.mark.parametrize(
    ("messages", "kind", "says", "code"),
    [
        (["hello"], "invalid_request_error", '"start"', 1008),
        (["[]"], "invalid_request_error", '"start"', 1008),
        (["[" * 100_000], "invalid_request_error", '"start"', 1008),
        ([END], "invalid_request_error", '"start"', 1008),
        ([{"type": "start", "sample_rate": 7999}], "invalid_input_error", "sample_rate", 1008),
        ([{"type": "start", "sample_rate": "fast"}], "invalid_input_error", "sample_rate", 1008),
        ([{"type": "start", "format": "mp3"}], "invalid_input_error", "'pcm_s16le', 'webm'", 1008),
        ([{"type": "start", "rate": 8000}], "invalid_input_error", "sample_rate", 1008),
        ([{"type": "start", "model": "huge"}], "not_found_error", "tiny", 1008),
        ([silence(1), {"type": "stop"}], "invalid_request_error", '"end"', 1008),
        ([WAV + bytes(99)], "unsupported_media_error", "WAV", 1003),
        ([b"RI", b"FF", bytes(99)], "unsupported_media_error", "WAV", 1003),
        ([tone(0.1, "webm")], "unsupported_media_error", "WebM", 1003),
    ],
)
async def test_what_cannot_be_is_told_in_words(tmp_path: Path, messages: list, kind: str, says: str, code: int) -> None:
    async with serving(FakeEngine(), tmp_path) as url:
        found, closed = await said_to(url, *messages)
    assert (found[-1]["type"], found[-1]["error"]["type"], closed) == ("error", kind, code)
    assert says in found[-1]["error"]["message"]


async def test_an_option_of_the_query_that_cannot_be(tmp_path: Path) -> None:
    async with serving(FakeEngine(), tmp_path) as url:
        found, code = await said_to(f"{url}?sample_rate=192000")
    assert (found[0]["error"]["param"], code) == ("sample_rate", 1008)


async def test_a_message_that_is_too_large(tmp_path: Path) -> None:
    async with serving(FakeEngine(), tmp_path) as url:
        assert (await said_to(url, bytes(MESSAGE_BYTES), END))[1] == 1000
        assert (await said_to(url, bytes(MESSAGE_BYTES + 1), END))[1] == 1009


async def test_keys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="toolkit")
    speech, end = silence(1), END
    async with serving(FakeEngine(), tmp_path, api_key_hashes=[hash_of("s3cret")]) as url:
        options = f"{url}?sample_rate=16000"
        for entered in (
            said_to(url, {"type": "start", "api_key": "s3cret"}, speech, end),
            said_to(options, {"type": "start", "api_key": "s3cret"}, speech, end),
            said_to(options, speech, end, additional_headers={"Authorization": "Bearer s3cret"}),
            said_to(options, speech, end, subprotocols=["asr", "asr.key.s3cret"]),
            said_to(url, speech, end, subprotocols=["asr", "asr.key.s3cret"]),
        ):
            found, code = await entered
            assert (texts(found), code) == (["THE"], 1000)
        for refused in (
            said_to(url, speech, end),
            said_to(options, speech, end),
            said_to(options, {"type": "start"}),
            said_to(url, {"type": "start", "api_key": "guess3d"}),
            said_to(options, additional_headers={"Authorization": "Bearer guess3d"}),
            said_to(options, speech, end, subprotocols=["asr", "asr.key.guess3d"]),
        ):
            found, code = await refused
            assert ([message["error"]["type"] for message in found], code) == (["authentication_error"], 1008)
            assert "guess3d" not in str(found)
    assert "cret" not in caplog.text
    assert "guess3d" not in caplog.text


@contextlib.asynccontextmanager
async def stopping(engine: Engine, tmp_path: Path, query: str, **options: object) -> AsyncIterator[ClientConnection]:
    """A session that has begun; from the end of the block on, the service stops."""
    async with serving(engine, tmp_path, **options) as url:
        client = await connect(f"{url}?{query}")
        await client.recv()
        yield client


@pytest.mark.parametrize("form", ["pcm_s16le", "webm", "ogg"])
async def test_a_service_that_stops_tells_what_it_has_heard(tmp_path: Path, form: str) -> None:
    sound = silence(7.5) if form == "pcm_s16le" else tone(7.5, form)[:-100]  # in the middle of a page
    async with stopping(FakeEngine(), tmp_path, f"format={form}") as client:
        await client.send(sound)
        await client.recv()
        hearing = asyncio.create_task(answers(client))
    found, code = await hearing
    seconds = found[-1]["duration"]
    assert (found[-1]["type"], code) == ("done", 1012)
    assert 6.4 < seconds <= 7.6  # a page of Ogg is a second
    assert " ".join(texts(found)) == " ".join(WORDS[: int(seconds)])


async def test_a_session_that_has_not_begun_is_ended_when_the_service_stops(tmp_path: Path) -> None:
    async with serving(FakeEngine(), tmp_path) as url:
        client = await connect(url)
        hearing = asyncio.create_task(answers(client))
        await asyncio.sleep(0.05)
    found, code = await hearing
    assert ([message["error"]["type"] for message in found], code) == (["unavailable_error"], 1013)


async def test_a_session_that_does_not_end_is_cut_when_there_is_no_more_time(tmp_path: Path) -> None:
    class Stuck(FakeLive):
        async def finish(self) -> None:
            await asyncio.Event().wait()

    engine = FakeEngine()
    engine.live = Stuck
    async with stopping(engine, tmp_path, "sample_rate=8000", grace_s=0.5) as client:
        hearing = asyncio.create_task(answers(client))
    assert await hearing == ([], 1012)
    assert engine.lives[0].closed.is_set()


async def test_a_client_that_closes_as_if_it_were_the_service_is_gone(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with serving(engine, tmp_path) as url:
        async with connect(f"{url}?sample_rate=8000") as client:
            await client.recv()
            await client.close(1012)
        await asyncio.wait_for(engine.lives[0].closed.wait(), 5)
    assert engine.lives[0].samples == 0


async def test_whoever_asks_without_a_websocket_is_told_how(tmp_path: Path) -> None:
    async with serving(FakeEngine(), tmp_path) as url, httpx.AsyncClient() as client:
        answer = await client.get(url.replace("ws:", "http:"))
    assert (answer.status_code, answer.headers["Upgrade"]) == (426, "websocket")
    assert "wss://" in answer.json()["error"]["message"]


async def test_no_more_sessions_than_there_may_be(tmp_path: Path) -> None:
    engine = FakeEngine(Limits(live_sessions=2))
    async with serving(engine, tmp_path) as url, connect(f"{url}?sample_rate=16000") as one:
        async with connect(f"{url}?sample_rate=16000") as two:
            await asyncio.gather(one.recv(), two.recv())
            found, code = await said_to(url, silence(1))
            assert (found[0]["error"]["type"], code) == ("rate_limit_error", 1013)
        await engine.lives[1].closed.wait()
        assert texts((await said_to(url, silence(1), END))[0]) == ["THE"]


@pytest.mark.parametrize("form", ["pcm_s16le", "webm"])
async def test_a_client_that_goes_away(tmp_path: Path, form: str) -> None:
    engine = FakeEngine()
    async with serving(engine, tmp_path) as url:
        async with connect(f"{url}?format={form}") as client:
            await client.send(silence(3) if form == "pcm_s16le" else tone(3, form))
            for _ in range(3):
                await client.recv()
            client.transport.abort()
        await asyncio.wait_for(engine.lives[0].closed.wait(), 5)
        assert texts((await said_to(url, silence(1), END))[0]) == ["THE"]


async def test_a_client_that_says_nothing_more(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with serving(engine, tmp_path, upload_pause_s=0.1) as url:
        found, code = await said_to(url, silence(2))
        assert texts(found) == ["THE QUICK"]
        assert (found[-1]["error"]["type"], code) == ("invalid_request_error", 1008)
        assert (await said_to(url))[1] == 1008  # nor anything at all
    assert engine.lives[0].closed.is_set()


@pytest.mark.parametrize("form", ["pcm_s16le", "ogg"])
async def test_a_session_that_is_too_long(tmp_path: Path, form: str) -> None:
    speech = in_pieces(silence(30), 4, 9000) if form == "pcm_s16le" else in_pieces(tone(30, form), 4, 1000)
    async with serving(FakeEngine(Limits(audio_s=7.5)), tmp_path) as url:
        found, code = await said_to(f"{url}?format={form}", *speech, END)
    assert texts(found) == ["THE QUICK BROWN FOX JUMPS", "OVER THE"]
    assert (found[-1]["error"]["type"], code) == ("too_large_error", 1009)


async def test_audio_that_comes_faster_than_it_is_heard_waits_at_the_client(tmp_path: Path) -> None:
    may_hear = asyncio.Event()

    class Slow(FakeLive):
        async def feed(self, samples: bytes) -> None:
            await may_hear.wait()
            await super().feed(samples)

    engine, minutes = FakeEngine(), 60
    engine.live = Slow
    async with serving(engine, tmp_path) as url, connect(f"{url}?sample_rate=8000", ping_interval=None) as client:
        sending = asyncio.create_task(send_all(client, [silence(30, 8000)] * 2 * minutes))
        hearing = asyncio.create_task(answers(client))
        done, _ = await asyncio.wait({sending}, timeout=0.5)
        assert not done  # 57 MB are in no memory of the server
        may_hear.set()
        await sending
        found, code = await hearing
    assert code == 1000
    assert " ".join(texts(found)).split() == [WORDS[second % len(WORDS)] for second in range(60 * minutes)]


async def send_all(client: ClientConnection, pieces: list[bytes]) -> None:
    for piece in pieces:
        await client.send(piece)
    await client.send(json.dumps(END))


async def test_a_client_that_does_not_read_is_not_read_from_and_then_left(tmp_path: Path) -> None:
    class Talkative(FakeLive):
        def _line(self, seconds: int, **options: bool) -> Heard:
            heard = super()._line(seconds, **options)
            return replace(heard, transcript=Transcript("A" * 1_000_000))

    engine = FakeEngine()
    engine.live = Talkative
    async with serving(engine, tmp_path, upload_pause_s=0.2) as url:
        async with connect(f"{url}?sample_rate=8000", max_queue=1, ping_interval=None) as client:
            sending = asyncio.create_task(send_all(client, [silence(1, 8000)] * 1000))
            json.loads(await client.recv())
            await asyncio.wait_for(engine.lives[0].closed.wait(), 5)
            client.transport.abort()
            with contextlib.suppress(ConnectionClosed):
                await sending
        assert engine.lives[0].samples < 100 * 8000


@pytest.mark.parametrize(
    ("failure", "kind", "code"),
    [(UnavailableError("the model left"), "unavailable_error", 1013), (KeyError("/etc/secret"), "server_error", 1011)],
)
async def test_an_engine_that_fails(tmp_path: Path, failure: Exception, kind: str, code: int) -> None:
    class Failing(FakeLive):
        async def heard(self) -> AsyncIterator[Heard]:
            yield await self.results.get()
            raise failure

    engine = FakeEngine()
    engine.live = Failing
    async with serving(engine, tmp_path) as url:
        found, closed = await said_to(url, silence(3))
        assert ([message["type"] for message in found], closed) == (["ready", "partial", "error"], code)
        assert found[-1]["error"]["type"] == kind
        assert "/etc" not in found[-1]["error"]["message"]
    assert engine.lives[0].closed.is_set()


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="needs the recordings of AN4")
@pytest.mark.parametrize("vad", ["energy", "auto"])
async def test_real_speech_with_a_real_engine(tmp_path: Path, vad: str) -> None:
    wavs = [load_audio(REAL / f"{name}.flac").numpy() for name in ("an406-fcaw-b", "an407-fcaw-b", "an410-fcaw-b")]
    quiet = 1e-3 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    speech = np.concatenate([part for wav in wavs for part in (quiet, wav)] + [quiet])
    models = {"an4": ROOT / "pretrained/an4-small"}
    engine = ServiceEngine(models, Limits(devices=("cpu",), threads=1, vad=vad), tmp_path)
    async with serving(engine, tmp_path) as url:
        raw = (speech * 32767).astype("<i2").tobytes()
        of_raw, _ = await said_to(f"{url}?sample_rate=16000", *in_pieces(raw, 1), END)
        of_opus, _ = await said_to(f"{url}?format=webm", opus(soxr.resample(speech, 16000, 48000), "webm"), END)
    for found in (of_raw, of_opus):
        lines = [message for message in found if message["type"] == "final"]
        assert [line["speech_ended"] for line in lines] == [True] * 3
        assert (
            word_errors(
                "RUBOUT G M E F THREE NINE ERASE C Q Q F SEVEN RUBOUT N I N N ONE", " ".join(texts(found))
            ).errors
            <= 5
        )
        assert [line["start"] for line in lines] == pytest.approx([1.3, 6.3, 11.5], abs=1.0)


@pytest.mark.slow
@pytest.mark.skipif(not NOISE.is_file() or not REAL.is_dir(), reason="needs recordings of noise, and of AN4")
async def test_nothing_is_heard_in_noise_and_all_that_was_said_when_the_service_stops(tmp_path: Path) -> None:
    pytest.importorskip("silero_vad")
    models = {"an4": ROOT / "pretrained/an4-small"}
    engine = ServiceEngine(models, Limits(devices=("cpu",), threads=1), tmp_path)
    noise, speech = load_audio(NOISE).numpy()[: 16000 * 20], load_audio(REAL / "an406-fcaw-b.flac").numpy()
    async with stopping(engine, tmp_path, "sample_rate=16000") as client:
        await client.send((noise * 32767).astype("<i2").tobytes())
        await client.send((speech * 32767).astype("<i2").tobytes())
        first = json.loads(await client.recv())  # so that all has come
        hearing = asyncio.create_task(answers(client))
    found, code = await hearing
    lines = [line for line in [first, *found] if line["type"] == "final" and line["text"]]
    assert [line for line in lines if line["end"] < 20] == []
    assert word_errors("RUBOUT G M E F THREE NINE", " ".join(texts(lines))).errors <= 2
    assert (found[-1]["type"], code) == ("done", 1012)
