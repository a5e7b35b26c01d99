"""Clients that are slow, hostile or gone, at a real socket: others are answered, and nothing stays."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fake_engine
import httpx
import pytest
from fake_engine import FakeEngine
from served import SAYS, answer_on, sent, served, wav

from toolkit.serving import server

HEAD = (
    b"POST /transcribe HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    b"Content-Length: %d\r\n\r\n"
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def address(tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """A service with little patience; in the end it must be well, and nothing may lie in its folder."""
    monkeypatch.setattr(server, "HEAD_S", 0.3)
    monkeypatch.setattr(server, "LINGER_S", 0.3)
    with served(tmp_path, engine, upload_pause_s=0.3, upload_bytes=1_000_000) as address:
        yield address
        answer = httpx.post(url(address), files={"file": ("a.wav", wav())})
        assert answer.json()["text"] == SAYS
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert list(tmp_path.iterdir()) == []


def url(address: tuple[str, int], path: str = "/transcribe") -> str:
    return f"http://{address[0]}:{address[1]}{path}"


def until(true, seconds: float = 5.0) -> bool:
    """Whether something comes true."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


def error_in(answer: bytes) -> dict[str, str | None]:
    return json.loads(answer.partition(b"\r\n\r\n")[2])["error"]


def test_an_upload_that_stands_still_is_ended(address: tuple[str, int]):
    with sent(address, HEAD % 5000 + b"RIFF") as connection:
        answer = answer_on(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert "stood still for 0.3 s" in error_in(answer)["message"]


def test_an_upload_that_drips_is_ended(address: tuple[str, int]):
    with sent(address, HEAD % 5000) as connection:
        connection.settimeout(0.02)
        answer, start = b"", time.monotonic()
        while time.monotonic() < start + 5 and not answer:
            with contextlib.suppress(TimeoutError):
                connection.sendall(b"x")
                answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert time.monotonic() - start < 4


@pytest.mark.parametrize("head", [b"", b"POST /transcribe HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_client_that_does_not_ask_is_hung_up_on(address: tuple[str, int], head: bytes):
    with sent(address, head) as connection:
        start = time.monotonic()
        assert answer_on(connection) == b""
    assert 0.2 < time.monotonic() - start < 10


def test_a_second_request_has_no_longer_than_the_first(address: tuple[str, int]):
    with sent(address, b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n") as connection:
        assert connection.recv(65536).endswith(b'{"status":"ok"}')
        connection.sendall(b"GET /health")
        assert answer_on(connection) == b""


@pytest.mark.parametrize("header", [b"X-Huge: " + b"x" * 5_000_000, b"X-Many: x\r\n" * 200_000])
def test_endless_headers_are_refused(address: tuple[str, int], header: bytes):
    with sent(address, b"GET /health/live HTTP/1.1\r\nHost: x\r\n") as connection:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # hung up on while it sends
            connection.sendall(header)
        answer = answer_on(connection)
    assert answer == b"" or error_in(answer)["type"] == "invalid_request_error"


def test_what_is_not_http_is_an_error_of_the_same_shape(address: tuple[str, int]):
    with sent(address, b"SSH-2.0-OpenSSH_9.6\r\n") as connection:
        answer = answer_on(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert error_in(answer)["message"]
    assert b"\r\nX-Request-ID: " in answer
    counted = httpx.get(url(address, "/metrics")).text
    assert 'asr_requests_total{method="OTHER",route="unknown",status="400"} 1.0' in counted


def test_a_socket_without_its_key_is_an_error_of_the_same_shape(address: tuple[str, int]):
    with sent(
        address, b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    ) as one:
        answer = answer_on(one)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert "Sec-WebSocket-Key" in error_in(answer)["message"]


@pytest.mark.parametrize(
    "path", [b"/nothing", b"/transcribe/", b"/%00%ff", b"/../../etc/passwd", b"/static/..%2f..%2fapp.py"]
)
def test_a_host_or_a_path_that_cannot_be_is_not_found(address: tuple[str, int], path: bytes):
    with sent(address, b"GET " + path + b" HTTP/1.1\r\nHost: [::\r\nConnection: close\r\n\r\n") as connection:
        answer = answer_on(connection)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert error_in(answer)["type"] in ("invalid_request_error", "not_found_error")


def test_a_size_beyond_the_limit_is_refused_at_once(address: tuple[str, int]):
    with sent(address, HEAD % (4 << 30)) as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
        assert answer_on(connection) == b""  # hung up on, for the rest of its body never comes


MUCH = 40_000_000  # more than fits between two sockets


@pytest.fixture
def talkative(
    address: tuple[str, int],  # noqa: ARG001 - is left after this
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[FakeEngine]:
    """The engine of the service, which hears very long words."""
    with monkeypatch.context() as words:
        words.setattr(fake_engine, "WORDS", ["A" * MUCH])
        yield engine


def long_answer(address: tuple[str, int], path: bytes) -> socket.socket:
    """A connection that was sent what takes long to be answered."""
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    return sent(address, head % (path, len(wav(1))) + wav(1))


@pytest.mark.parametrize("stream", [b"true", b"false"])
def test_who_does_not_read_the_answer_is_left(
    address: tuple[str, int], talkative: FakeEngine, tmp_path: Path, stream: bytes
):
    with long_answer(address, b"/v1/audio/transcriptions?stream=" + stream):
        assert until(lambda: talkative.jobs)
        assert until(lambda: not [path for path in tmp_path.rglob("*") if path.is_file()])


def test_who_reads_slowly_gets_the_whole_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fake_engine, "WORDS", ["A" * MUCH])
    patience_s, received = 1.0, 0
    with (
        served(tmp_path, upload_pause_s=patience_s) as address,
        long_answer(address, b"/v1/audio/transcriptions?stream=true") as connection,
    ):
        slow_until = time.monotonic() + 2 * patience_s
        while piece := connection.recv(1_000_000):
            received += len(piece)
            if time.monotonic() < slow_until:
                time.sleep(0.05)
    assert received > 2 * MUCH  # as it came, and once more in the end


def test_who_sends_too_much_can_read_why(address: tuple[str, int]):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "LINGER_S", 5.0)
        answer = httpx.post(
            url(address), content=(bytes(65536) for _ in range(100)), headers={"Content-Type": "audio/x"}
        )
    assert answer.status_code == 413


def test_a_client_that_goes_in_mid_upload_leaves_nothing(address: tuple[str, int], engine: FakeEngine, tmp_path: Path):
    with sent(address, HEAD % 500_000 + bytes(100_000)):
        assert until(lambda: any(path.is_file() for path in tmp_path.rglob("*")))
    assert until(lambda: not any(path.is_file() for path in tmp_path.rglob("*")))
    assert engine.jobs == []


def test_a_client_that_goes_while_it_is_heard_frees_the_engine(
    address: tuple[str, int], engine: FakeEngine, tmp_path: Path
):
    engine.part_seconds = 30.0
    body = wav()
    head = HEAD % (len(HEAD.partition(b"\r\n\r\n")[2]) + len(body) + len(b"\r\n--b--\r\n"))
    with sent(address, head + body + b"\r\n--b--\r\n"):
        assert until(lambda: engine.jobs)
    assert until(lambda: engine.cancelled == engine.jobs)
    assert until(lambda: not any(path.is_file() for path in tmp_path.rglob("*")))
    engine.part_seconds = 0.0


def test_others_are_answered_meanwhile(address: tuple[str, int]):
    with contextlib.ExitStack() as slow:
        for _ in range(20):
            slow.enter_context(sent(address, HEAD % 5000))
        assert httpx.get(url(address, "/health/live")).status_code == 200
        assert httpx.post(url(address), files={"file": wav()}).status_code == 200


def test_what_was_accepted_is_finished_when_the_service_stops(tmp_path: Path):
    engine = FakeEngine(part_seconds=0.3)
    with ThreadPoolExecutor() as pool, served(tmp_path, engine) as address:
        answers = [pool.submit(httpx.post, url(address), files={"file": wav()}) for _ in range(3)]
        assert until(lambda: len(engine.jobs) == 3)
    assert [answer.result().json()["text"] for answer in answers] == [SAYS] * 3
    assert not engine.ready  # it was stopped, too


def test_the_grace_has_an_end(tmp_path: Path):
    engine = FakeEngine(part_seconds=60.0)
    with ThreadPoolExecutor() as pool, served(tmp_path, engine, grace_s=0.5) as address:
        answer = pool.submit(httpx.post, url(address), files={"file": wav()}, timeout=30)
        assert until(lambda: engine.jobs)
        start = time.monotonic()
    assert time.monotonic() - start < 30
    assert answer.result().status_code == 503
    assert "is being stopped" in answer.result().json()["error"]["message"]
    assert engine.cancelled == engine.jobs
    assert list(tmp_path.iterdir()) == []
