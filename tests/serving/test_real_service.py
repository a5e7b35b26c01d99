"""``asr serve`` as it comes, with the model that comes with it, on real speech."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from served import wav

from toolkit.inference.transcriber import Transcriber

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "pretrained/an4-small"
REAL = Path(os.environ.get("ASR_DATA", ROOT.parent / "shared/data")) / "an4"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not REAL.is_dir(), reason="needs the recordings of AN4"),
]


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen, str]]:
    """The command as a process, and its address; it is stopped, and must leave nothing."""
    options = (str(MODEL), "--port", "0", "--device", "cpu", "--temporary-folder", str(folder))
    command = [sys.executable, "-m", "toolkit", "serve", *options]
    quiet = os.environ | {
        "ASR_LIMITS__THREADS": "1"
    }  # threads that wait for each other suffer where tests share a core
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=quiet) as process:
        try:
            yield process, process.stdout.readline().split()[0]
            process.terminate()
            _, logs = process.communicate(timeout=60)
            assert (process.returncode, list(folder.iterdir())) == (0, []), logs
        finally:
            process.kill()


def test_answers_are_those_of_the_transcriber_whatever_happens(tmp_path: Path):
    files = sorted((REAL / "wav/an4test_clstk").rglob("*.flac"))[:24]
    expected = {
        found.file: found.text for found in Transcriber.from_hparams(MODEL, device="cpu").transcribe_files(files)
    }
    broken = [wav()[:30], b"RIFF" + os.urandom(5000), b"\x1aE\xdf\xa3" + os.urandom(5000)]
    with serving(tmp_path) as (process, url), ThreadPoolExecutor(8) as pool, httpx.Client(timeout=120) as client:
        answers = {
            str(file): pool.submit(client.post, f"{url}/transcribe", files={"file": file.read_bytes()})
            for file in files
        }
        refused = [pool.submit(client.post, f"{url}/transcribe", files={"file": data}) for data in broken]
        os.kill(model_process(process.pid), signal.SIGKILL)
        assert client.get(f"{url}/health/live").status_code == 200
        assert {name: answer.result().json()["text"] for name, answer in answers.items()} == expected
        assert {answer.result().status_code for answer in refused} <= {415, 422}
        assert "asr_restarts_total 1.0" in client.get(f"{url}/metrics").text


def model_process(service: int) -> int:
    """The process of the model: of those below the service that have no children, the one with the most memory."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    below = {service}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    leaves = below - set(parents.values()) - {service}
    return max(leaves, key=lambda process: int(Path(f"/proc/{process}/statm").read_text().split()[1]))
