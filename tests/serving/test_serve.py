"""``asr serve`` as a process: what it prints, and how it ends."""

from __future__ import annotations

import contextlib
import gc
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from fake_engine import FakeEngine
from served import SAYS, settings_in, wav
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from toolkit.cli.main import main
from toolkit.serving import server
from toolkit.serving.app import create_app

SCRIPT = Path(__file__).with_name("fake_service.py")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where uploads lie; nothing stays there."""
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


@contextlib.contextmanager
def started(*options: str, part_seconds: float = 0.0) -> Iterator[subprocess.Popen]:
    """The command with these options."""
    command = [sys.executable, SCRIPT, str(part_seconds), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def answering(folder: Path, part_seconds: float) -> Iterator[tuple[subprocess.Popen, Future[httpx.Response]]]:
    """The command, and an answer of it that takes two parts."""
    options = ("an4=somewhere", "--port", "0", "--temporary-folder", str(folder))
    with started(*options, part_seconds=part_seconds) as process, ThreadPoolExecutor() as pool:
        url = process.stdout.readline().split()[0]
        answer = pool.submit(httpx.post, f"{url}/transcribe", files={"file": wav()}, timeout=30)
        while not any(folder.rglob("tmp*")):  # until the upload has come
            pass
        yield process, answer


def is_over(process: subprocess.Popen, seconds: float) -> bool:
    """Whether it ends in some seconds."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def test_it_says_where_it_is_and_how_to_ask(folder: Path):
    with started("an4=somewhere", "results/ctc", "--port", "0", "--temporary-folder", str(folder)) as process:
        said, example = process.stdout.readline(), process.stdout.readline()
        url = re.fullmatch(r"(http://127\.0\.0\.1:\d+)  transcribes with an4, ctc; Ctrl-C stops it\n", said)[1]
        assert example == f"  curl -F file=@speech.wav {url}/transcribe\n"
        assert httpx.get(f"{url}/health/ready", headers={"X-Request-ID": "r-1"}).status_code == 200
        process.terminate()
        rest, logs = process.communicate(timeout=10)
    assert (process.returncode, rest) == (0, "")
    lines = [json.loads(line) for line in logs.splitlines()]
    assert [(line["request_id"], line["status"]) for line in lines if line["message"] == "request"] == [("r-1", 200)]


def test_what_is_there_when_it_begins_is_not_looked_through_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server.Server, "run", lambda self, _: self._on_ready())
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    frozen = []
    try:
        server.serve(
            create_app(FakeEngine(), settings_in(tmp_path)), None, lambda: frozen.append(gc.get_freeze_count())
        )
    finally:
        gc.unfreeze()
    assert frozen[0] > 10_000  # else each collection of garbage stops the event loop for them


@pytest.mark.parametrize(("stop", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_what_was_accepted_is_finished_before_it_stops(folder: Path, stop: signal.Signals, status: int):
    with answering(folder, part_seconds=0.5) as (process, answer):
        process.send_signal(stop)
        assert answer.result().json()["text"] == SAYS
        _, logs = process.communicate(timeout=10)
    assert process.returncode == status
    assert "Traceback" not in logs


@pytest.mark.parametrize(("stop", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_stops_at_once_while_models_are_loaded(folder: Path, stop: signal.Signals, status: int):
    with started("endless", "--port", "0", "--temporary-folder", str(folder)) as process:
        assert process.stdout.readline() == "loading\n"
        process.send_signal(stop)
        rest, logs = process.communicate(timeout=10)
    assert (process.returncode, rest) == (status, "")
    assert "Traceback" not in logs


def test_the_second_ctrl_c_ends_at_once(folder: Path):
    with answering(folder, part_seconds=30.0) as (process, answer):
        process.send_signal(signal.SIGINT)
        assert not is_over(process, 0.5)
        process.send_signal(signal.SIGINT)
        _, logs = process.communicate(timeout=10)
        assert "Traceback" not in logs
        assert answer.exception() or answer.result().status_code == 503
    assert process.returncode == 130


def test_an_address_in_use_is_one_error(folder: Path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        with started("an4=somewhere", "--port", port, "--temporary-folder", str(folder)) as process:
            said = process.communicate(timeout=10)
    assert said == ("", f"error: 127.0.0.1, port {port}: Address already in use; choose others by --host and --port\n")
    assert process.returncode == 2


def test_a_place_for_uploads_that_is_none_is_one_error():
    with started("an4=somewhere", "--port", "0", "--temporary-folder", str(SCRIPT)) as process:
        said = process.communicate(timeout=10)
    assert said == ("", f"error: temporary_folder: {SCRIPT} is not a folder; name another place\n")


def test_a_place_that_cannot_be_made_is_one_error():
    with started("an4=somewhere", "--port", "0", "--temporary-folder", "/proc/uploads") as process:
        said = process.communicate(timeout=10)
    assert said == ("", "error: temporary_folder: /proc/uploads: No such file or directory; name another place\n")


@pytest.mark.parametrize(("host", "warned"), [("0.0.0.0", True), ("127.0.0.1", False)])
def test_who_opens_it_to_all_is_warned(folder: Path, host: str, warned: bool):
    with started("an4=somewhere", "--host", host, "--port", "0", "--temporary-folder", str(folder)) as process:
        process.stdout.readline()
        process.terminate()
        _, logs = process.communicate(timeout=10)
    assert ("no API keys: whoever reaches this machine may ask" in logs) == warned


def test_a_socket_that_is_refused_is_no_error_of_the_service(folder: Path):
    with started("an4=somewhere", "--port", "0", "--temporary-folder", str(folder)) as process:
        url = process.stdout.readline().split()[0].replace("http", "ws")
        with pytest.raises(InvalidStatus) as caught, connect(f"{url}/nothing"):
            pass
        process.terminate()
        _, logs = process.communicate(timeout=10)
    assert caught.value.response.status_code == 404
    assert '"status": 404' in logs
    assert "ERROR" not in logs


def test_a_model_that_cannot_be_loaded_is_one_error(folder: Path):
    with started("nowhere", "--port", "0", "--temporary-folder", str(folder)) as process:
        said = process.communicate(timeout=10)
    assert said == ("", "error: nowhere: is no folder of a model\n")
    assert process.returncode == 2


def test_without_its_packages_it_names_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    for name in [name for name in sys.modules if name.startswith("toolkit.serving.")]:
        monkeypatch.delitem(sys.modules, name)
    assert main(["serve", "an4"]) == 2
    assert (
        capsys.readouterr().err == "error: asr serve needs fastapi; install it with pip install 'asr-recipes[serve]'\n"
    )


def test_help_needs_no_package():
    code = "import sys; from toolkit.cli import serve; print({'torch', 'fastapi', 'pydantic'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
