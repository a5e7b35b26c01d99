"""What the table of services measures: its clients ask as they say they do, and a wrong answer is no figure."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from toolkit.inference.transcript import Transcript, Word

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
Module = Callable[[str], ModuleType]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Module:
    """From a name to a module of the benchmarks."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


class Service:
    """Answers with the bytes of a file as its text; in a moment, or a long file when ten others are answered."""

    def __init__(self) -> None:
        self.together = self.most_together = self.answered = self.broken_off = 0
        self.ten = asyncio.Event()

    async def transcribe(self, request: Request) -> Response:
        try:
            async with request.form() as form:
                text = (await form["file"].read()).decode()
        except ClientDisconnect:
            self.broken_off += 1
            raise
        if text == "no audio":
            return JSONResponse({"error": {}}, 415)
        if text == "long":
            await self.ten.wait()
            return JSONResponse({"text": text})
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        await asyncio.sleep(0.01)
        self.together -= 1
        self.answered += 1
        if self.answered == 10:
            self.ten.set()
        return JSONResponse({"text": text})

    @property
    def app(self) -> Starlette:
        async def live(_: Request) -> Response:
            return JSONResponse({})

        return Starlette(routes=[Route("/transcribe", self.transcribe, methods=["POST"]), Route("/health/live", live)])


@contextlib.contextmanager
def serving(app: Starlette) -> Iterator[int]:
    """The port of an app."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1))
    with socket.create_server(("127.0.0.1", 0)) as address:
        thread = threading.Thread(target=server.run, args=([address],))
        thread.start()
        try:
            yield address.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for name in ("one", "two", "no audio", "long"):
        (tmp_path / name).write_text(name)
    return [str(tmp_path / name) for name in ("one", "two", "no audio")]


def test_clients_ask_at_the_same_time_and_tell_all_that_was_answered(module: Module, files: list[str]):
    clients, service = module("serving_clients"), Service()
    with serving(service.app) as port:
        found = clients.load(clients.Plan(port, files, clients=4, seconds=0.5, breaking_off=True))
    by_file = [[answer for answer in found.answers if answer.file == file] for file in range(3)]
    assert [{(answer.status, answer.text) for answer in some} for some in by_file] == [
        {(200, "one")},
        {(200, "two")},
        {(415, None)},
    ]
    assert len(by_file[0]) + len(by_file[1]) == service.answered
    assert 1 < service.most_together <= 4
    assert service.broken_off == 1
    assert 0.5 <= found.wall < 5
    assert 0 < found.cpu < found.wall
    assert found.health
    assert 0.01 <= found.latency(50) <= found.latency(99) <= found.wall


def test_clients_ask_until_a_long_file_is_answered(module: Module, files: list[str]):
    clients, service = module("serving_clients"), Service()
    with serving(service.app) as port:
        long = str(Path(files[0]).with_name("long"))
        found = clients.load(clients.Plan(port, files[:2], clients=2, long=long))
    assert (found.long.status, found.long.text) == (200, "long")
    assert 10 <= len(found.answers) <= 13
    assert found.long.seconds == pytest.approx(found.wall, abs=0.2)


def test_no_answer_is_an_answer_without_a_text(module: Module, files: list[str]):
    clients = module("serving_clients")
    with socket.create_server(("127.0.0.1", 0)) as address:
        port = address.getsockname()[1]
    found = clients.load(clients.Plan(port, files[:1], seconds=0.01))
    assert {(answer.status, answer.text) for answer in found.answers} == {(0, None)}
    assert set(found.health) == {float("inf")}


def test_a_latency_is_that_of_so_many_of_a_hundred(module: Module):
    clients = module("serving_clients")
    answers = [clients.Answer(0, seconds / 1000, 200, "") for seconds in range(1, 101)]
    found = clients.Load(1.0, 0.1, answers[::-1], [], None)
    assert [found.latency(percent) for percent in (50, 95, 99)] == [0.051, 0.096, 0.1]


def test_another_text_than_the_models_is_no_figure(module: Module):
    corpus, answer = module("serving_corpus").Corpus(["a.wav"], [1.0], ["A"], ""), module("serving_clients").Answer
    corpus.check([answer(0, 0.1, 200, "A"), answer(0, 0.1, 429, None)])
    with pytest.raises(ValueError, match=r"a\.wav: 'B' was answered, and 'A' is heard"):
        corpus.check([answer(0, 0.1, 200, "B")])


def test_the_peer_transcribes_what_is_sent_and_keeps_no_file(module: Module):
    heard = []

    def transcribe_files(paths: list[str]) -> list[Transcript]:
        heard.extend((path, Path(path).read_bytes()) for path in paths)
        return [Transcript("A", (Word("A", 0.0, 0.5, 0.9),), duration=1.0)]

    client = TestClient(module("serving_peer").peer_app(SimpleNamespace(transcribe_files=transcribe_files)))
    answer = client.post("/transcribe", files={"file": ("a.flac", b"audio")}).json()
    assert answer == {
        "text": "A",
        "words": [{"text": "A", "start": 0.0, "end": 0.5, "confidence": 0.9}],
        "duration": 1.0,
    }
    ((path, content),) = heard
    assert (Path(path).suffix, content) == (".flac", b"audio")
    assert not Path(path).exists()


def test_a_service_is_all_of_its_processes(module: Module, tmp_path: Path):
    service = module("serving_processes").Service(os.getpid(), 0, tmp_path)
    alone = service.megabytes
    assert alone > 10
    script = "import time; held = b'x' * 2**26; print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        assert 64 < service.megabytes - alone < 120
        child.kill()
    (tmp_path / "left").touch()
    assert service.files == [str(tmp_path / "left")]


def test_memory_is_that_of_a_tenth_of_the_time(module: Module):
    memory = module("serving_soak").Memory(SimpleNamespace(megabytes=1.0))
    memory.samples = [float(second) for second in range(100)]
    assert (memory.at(0.2), memory.at(1.0)) == (24.5, 94.5)


def test_a_command_that_does_not_serve_says_why(module: Module):
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    with pytest.raises(RuntimeError, match="no such model"), module("serving_processes").running(command):
        pass
