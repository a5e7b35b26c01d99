"""Files sent to a service over a real socket: each is answered once, whatever breaks on the way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import uvicorn
from fake_engine import FakeEngine
from served import served, wav
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from toolkit.cli.main import main
from toolkit.serving import client as client_module
from toolkit.serving.security import hash_of
from toolkit.serving.service_errors import BusyError

RATE = 8000


class Service:
    """One that tells how long each file is, unless it is told what to answer to which."""

    def __init__(self) -> None:
        self.instead: dict[str, list[Response]] = {}  # by names of files, for the first times that they are sent
        self.received: list[str] = []
        self.forms: list[dict[str, str]] = []
        self.together, self.most_together = 0, 0
        self.arrived, self.held = threading.Event(), ""  # a file that is never answered
        self.made = 1_700_000_000
        self.answer_models: Callable[[Request], Response] = self.models

    def models(self, request: Request) -> Response:
        if request.headers.get("authorization") == "Bearer wrong":
            return refusal(401, "the API key is not known")
        cards = [{"id": name, "object": "model", "created": self.made} for name in ("tiny", "other")]
        return JSONResponse({"object": "list", "data": cards})

    async def list_models(self, request: Request) -> Response:
        return self.answer_models(request)

    async def transcribe(self, request: Request) -> Response:
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        try:
            return await self._transcribe(request)
        finally:
            self.together -= 1

    async def _transcribe(self, request: Request) -> Response:
        async with request.form() as form:
            upload = form["file"]
            self.received.append(upload.filename)
            self.forms.append({name: value for name, value in form.items() if name != "file"})
            if upload.filename == self.held:
                self.arrived.set()
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
                return refusal(503, "the service is being stopped")
            await asyncio.sleep(0.01)  # others may come meanwhile
            if left := self.instead.get(upload.filename):
                return left.pop(0)
            wav, rate = soundfile.read(upload.file)
        words = [
            {"text": "TICK", "start": float(s), "end": s + 0.5, "confidence": 0.9} for s in range(len(wav) // rate)
        ]
        text = " ".join(word["text"] for word in words)
        return JSONResponse({"text": text, "words": words, "duration": len(wav) / rate, "model": "tiny"})

    @property
    def app(self) -> Starlette:
        async def live(_: Request) -> Response:
            return JSONResponse({})

        return Starlette(
            routes=[
                Route("/asr/transcribe", self.transcribe, methods=["POST"]),
                Route("/asr/v1/models", self.list_models),
                Route("/asr/health/live", live),
            ]
        )


def refusal(status: int, message: str, retry_after: int | None = None) -> Response:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return JSONResponse({"error": {"message": message, "type": "x", "param": None, "code": None}}, status, headers)


@contextlib.contextmanager
def serving(app: Starlette) -> Iterator[tuple[str, Callable[[], None]]]:
    """The URL of an app on a socket of its own, and what ends it."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=0))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))

        def stop() -> None:
            server.should_exit = True
            thread.join()

        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/asr", stop
        finally:
            stop()


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def url(service: Service) -> Iterator[str]:
    with serving(service.app) as (url, _):
        yield url


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FIRST_WAIT_S", 0.01)
    monkeypatch.delenv("ASR_API_KEY", raising=False)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Twelve files of 0 to 3 seconds, one in three deeper than the others."""
    for number in range(12):
        file = tmp_path / "recordings" / ("deeper" if number % 3 == 2 else "") / f"{number:02}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, np.zeros(RATE * (number % 4) + 100), RATE)
    return tmp_path / "recordings"


def names_in(output: Path) -> list[str]:
    return [json.loads(line)["file"] for line in output.read_text().splitlines()]


def in_order(recordings: Path) -> list[str]:
    return [str(path) for path in sorted(recordings.rglob("*.wav"))]


def test_prints_what_was_said_in_the_order_of_the_files(
    url: str, service: Service, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.instead["00.wav"] = [refusal(503, "the model is being loaded")]  # so that it is answered late
    assert main(["client", str(recordings), "--url", url, "--concurrency", "4"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [path for path, _ in lines] == in_order(recordings)
    assert [text.count("TICK") for _, text in lines] == [int(Path(path).stem) % 4 for path, _ in lines]
    assert 1 < service.most_together <= 4
    assert sorted(service.received) == sorted(["00.wav", *(Path(path).name for path in in_order(recordings))])


def test_files_of_a_folder_lie_as_they_do_for_transcribe(url: str, recordings: Path, tmp_path: Path) -> None:
    output = tmp_path / "subtitles"
    assert main(["client", str(recordings), "--url", url, "--output", str(output), "--format", "srt"]) == 0
    assert (output / "deeper/02.srt").read_text() == "1\n00:00:00,000 --> 00:00:01,500\nTICK TICK\n"
    assert len(list(output.rglob("*.srt"))) == 12


def test_resumes_with_what_is_missing(url: str, service: Service, recordings: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    assert main(["client", str(recordings / "deeper"), "--url", url, "--output", str(output)]) == 0
    whole = output.read_text()
    with (tmp_path / "out.jsonl.part").open("w") as part:  # as a kill leaves it
        part.write(f"{whole.splitlines()[0]}\n{whole.splitlines()[1][:20]}")
    output.unlink()
    service.received.clear()
    assert main(["client", str(recordings), "--url", url, "--output", str(output), "--resume"]) == 0
    assert names_in(output) == in_order(recordings)
    assert len(service.received) == 11
    assert "02.wav" not in service.received


def test_another_model_does_not_go_on_with_an_output(
    url: str, service: Service, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["client", str(recordings), "--url", url, "--output", str(tmp_path / "out.jsonl")]
    assert main([*command, "--model", "other"]) == 0
    assert {form["model"] for form in service.forms} == {"other"}
    assert main([*command, "--resume"]) == 2
    assert "12 transcripts are of other as of 2023-11-14" in capsys.readouterr().err
    service.made += 86400
    assert main([*command, "--model", "other", "--resume"]) == 2
    assert "would be of other as of 2023-11-15" in capsys.readouterr().err


def test_a_service_without_room_is_asked_again(url: str, service: Service, recordings: Path) -> None:
    service.instead = {name: [refusal(429, "256 requests wait", 0)] * 9 for name in ("00.wav", "02.wav")}
    assert main(["client", str(recordings), "--url", url]) == 0
    assert service.received.count("00.wav") == service.received.count("02.wav") == 10


def test_a_file_that_is_of_no_use_to_send_again_is_not(
    url: str, service: Service, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hopeless = refusal(503, "was not transcribed in time")
    hopeless.headers["x-should-retry"] = "false"
    service.instead["00.wav"] = [hopeless]
    assert main(["client", str(recordings / "00.wav"), "--url", url]) == 2
    assert "00.wav: was not transcribed in time" in capsys.readouterr().err
    assert service.received == ["00.wav"]


def test_waits_as_long_as_the_service_says(
    url: str, service: Service, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.instead["00.wav"] = [refusal(429, "256 requests wait", 30)]
    assert main(["client", str(recordings / "00.wav"), "--url", url, "--timeout", "0.3"]) == 2
    assert "00.wav: no answer within 0.3 s" in capsys.readouterr().err
    assert service.received == ["00.wav"]


def test_what_is_refused_is_named_with_the_reason(
    url: str, service: Service, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (recordings / "deeper/05.wav").write_bytes(b"RIFF....")
    service.instead["00.wav"] = [refusal(413, "00.wav: 5 hours of audio; 4 are allowed")]
    service.instead["01.wav"] = [HTMLResponse("<html>", 413)]
    service.instead["03.wav"] = [refusal(503, "the model process ended twice")] * 9
    output = tmp_path / "out.jsonl"
    assert main(["client", str(recordings), "--url", url, "--output", str(output)]) == 1
    shown = capsys.readouterr().err
    assert f"error: {recordings / '00.wav'}: 5 hours of audio; 4 are allowed\n" in shown
    assert f"error: {recordings / '01.wav'}: HTTP 413 " in shown
    assert f"error: {recordings / '03.wav'}: the model process ended twice\n" in shown
    assert f"error: {recordings / 'deeper/05.wav'}: " in shown
    assert "4 could not be transcribed" in shown
    assert "05.wav" not in service.received
    assert service.received.count("00.wav") == service.received.count("01.wav") == 1
    assert service.received.count("03.wav") == client_module.TRIES
    assert len(names_in(output)) == 8


def test_nothing_but_refusals_is_status_2(url: str, service: Service, recordings: Path, tmp_path: Path) -> None:
    service.instead["00.wav"] = [refusal(415, "is not audio")]
    output = tmp_path / "out.txt"
    assert main(["client", str(recordings / "00.wav"), "--url", url, "--output", str(output)]) == 2
    assert not output.exists()


def test_a_service_that_goes_away_ends_the_run_and_what_was_answered_is_kept(
    service: Service, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, service.held = tmp_path / "out.jsonl", "11.wav"
    command = ["client", str(recordings), "--output", str(output), "--concurrency", "1"]
    with serving(service.app) as (url, stop):
        stopper = threading.Thread(target=lambda: service.arrived.wait(30) and stop())
        stopper.start()
        assert main([*command, "--url", url]) == 2
        stopper.join()
    shown = capsys.readouterr().err
    assert f"error: {url}: the service does not answer any more" in shown
    assert shown.count("\n") == 1
    assert names_in(tmp_path / "out.jsonl.part") == in_order(recordings)[:11]
    service.held = ""
    with serving(service.app) as (url, _):
        assert main([*command, "--url", url, "--resume"]) == 0
    assert names_in(output) == in_order(recordings)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://localhost", "http://", "speech"])
def test_what_is_no_url_is_refused(url: str, recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["client", str(recordings), "--url", url]) == 2
    assert capsys.readouterr().err.startswith(f"error: --url {url!r}: expected a service's address, such as http://")


def test_nobody_there_a_wrong_key_a_wrong_model_and_another_server_are_told_at_once(
    url: str, service: Service, recordings: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def refused(*options: str) -> str:
        assert main(["client", str(recordings), "--url", url, *options]) == 2
        return capsys.readouterr().err

    assert f"error: {url}: the API key is not known\n" == refused("--api-key", "wrong")
    monkeypatch.setenv("ASR_API_KEY", "wrong")
    assert "the API key is not known" in refused()
    monkeypatch.setenv("ASR_API_KEY", "right")
    assert "no model 'tinny' (did you mean 'tiny'?); there are tiny, other" in refused("--model", "tinny")
    service.answer_models = lambda _: HTMLResponse("<html>It works!</html>")
    assert "what answers there is not a service of `asr serve`" in refused()
    service.answer_models = lambda _: RedirectResponse("https://asr.example.org/v1/models")
    assert "HTTP 307 Temporary Redirect, to https://asr.example.org/v1/models" in refused()
    url = "http://127.0.0.1:9"
    assert "http://127.0.0.1:9: no service answers there" in refused()
    assert service.received == []


def test_a_key_that_is_withdrawn_ends_the_run(
    url: str, service: Service, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.instead = {f"{number:02}.wav": [refusal(401, "the API key is not known")] for number in range(3, 12)}
    command = ["client", str(recordings), "--url", url, "--output", str(tmp_path / "out.jsonl"), "--concurrency", "1"]
    assert main(command) == 2
    assert capsys.readouterr().err == "error: the API key is not known\n"
    assert len(service.received) == 3
    assert len(names_in(tmp_path / "out.jsonl.part")) == 2


def test_a_key_that_cannot_be_sent_is_named(url: str, recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for key in ("schlüssel", "two\nlines"):
        assert main(["client", str(recordings), "--url", url, "--api-key", key]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: the API key has letters that no key has")
        assert key not in said


def test_a_name_that_is_not_in_utf_8_is_no_end_of_the_run(
    url: str, service: Service, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = os.fsdecode(os.fsencode(recordings) + b"/00\xff.wav")
    (recordings / "00.wav").rename(odd)
    assert main(["client", str(recordings), "--url", url]) == 1
    printed = capsys.readouterr()
    assert printed.out.count("\n") == 11
    assert "its name is not in UTF-8" in printed.err
    ((path, found),) = client_module.Client(url).transcribe([odd])
    assert (path, found.text) == (odd, "")
    assert service.received[-1] == "00\ufffd.wav"


def test_manifests_are_not_for_a_service(
    url: str, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "test.json"
    manifest.write_text(json.dumps({"a": {"wav": str(recordings / "00.wav"), "length": 0.0125, "words": "A"}}))
    assert main(["client", str(manifest), "--url", url]) == 2
    assert "a: is of a manifest; a service takes audio files" in capsys.readouterr().err


def test_ctrl_c_leaves_what_is_done(url: str, service: Service, recordings: Path, tmp_path: Path) -> None:
    output, service.held = tmp_path / "out.jsonl", "11.wav"
    command = [sys.executable, "-m", "toolkit", "client", str(recordings), "--url", url, "--output", str(output)]
    process = subprocess.Popen([*command, "--concurrency", "1"], stderr=subprocess.PIPE, text=True)
    assert service.arrived.wait(30)
    os.kill(process.pid, signal.SIGINT)
    _, shown = process.communicate(timeout=30)
    assert (process.returncode, shown) == (130, "\nstopped\n")
    done = names_in(tmp_path / "out.jsonl.part")
    assert len(done) == len(service.received) - 1
    service.held = ""
    assert main([*command[3:], "--resume"]) == 0
    assert names_in(output) == in_order(recordings)


class BusyAtFirst(FakeEngine):
    """Has no room for the first three times that it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def check_room(self) -> None:
        self.asked += 1
        if self.asked <= 3:
            raise BusyError("256 requests wait", retry_after=0)


def test_the_service_of_asr_serve_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files, engine = [tmp_path / name for name in ("a.wav", "b.wav", "c.wav")], BusyAtFirst()
    for file, seconds in zip(files, (7, 2, 1), strict=True):
        file.write_bytes(wav(seconds))
    settings = {"api_key_hashes": (hash_of("secret"),), "upload_bytes": 100_000}
    with served(tmp_path, engine, **settings) as (host, port):
        command = ["client", *map(str, files), "--url", f"http://{host}:{port}", "--model", "other"]
        assert main([*command, "--api-key", "wrong"]) == 2
        assert "API key" in capsys.readouterr().err
        monkeypatch.setenv("ASR_API_KEY", "secret")
        assert main([*command, "--format", "jsonl"]) == 1
    shown = capsys.readouterr()
    found = [json.loads(line) for line in shown.out.splitlines()]
    assert [(one["file"], one["text"]) for one in found] == [(str(files[1]), "THE QUICK"), (str(files[2]), "THE")]
    assert found[1]["words"] == [{"text": "THE", "start": 0.25, "end": 0.75, "confidence": 0.9}]
    assert f"error: {files[0]}: " in shown.err
    assert "100,000 bytes" in shown.err.replace("100000", "100,000")
    assert engine.asked > 3
    assert {job.model for job in engine.jobs} == {"other"}
