"""Services in processes of their own: where they answer, what they compute, hold in memory and leave on disk."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PEER = Path(__file__).with_name("serving_peer.py")
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass(frozen=True)
class Service:
    """A service that runs.

    Attributes
    ----------
    pid
        Of its first process.
    port
        Where it listens.
    folder
        The only one for its temporary files.
    """

    pid: int
    port: int
    folder: Path

    @property
    def cpu(self) -> float:
        """Seconds that its processes computed, those that have ended included."""
        return sum(sum(map(int, fields[11:15])) for fields in self._stats()) / TICKS

    @property
    def megabytes(self) -> float:
        """In memory, what several processes share counted for each."""
        return sum(int(fields[21]) for fields in self._stats()) * PAGE_MB

    @property
    def files(self) -> list[str]:
        """What lies in its temporary folder."""
        return [str(path) for path in self.folder.rglob("*") if path.is_file()]

    def _stats(self) -> Iterator[list[str]]:
        """Of each process the fields of /proc/PID/stat behind its name (proc(5)): state, parent, ..."""
        found = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                found[int(stat.parent.name)] = stat.read_text().rpartition(")")[2].split()
        family = {self.pid}
        while more := {pid for pid, fields in found.items() if int(fields[1]) in family} - family:
            family |= more
        return (found[pid] for pid in family if pid in found)


@contextlib.contextmanager
def ours(model: str) -> Iterator[Service]:
    """`asr serve`."""
    with running([sys.executable, "-m", "toolkit", "serve", f"model={model}", "--port", "0"]) as one:
        yield one


@contextlib.contextmanager
def peer(model: str) -> Iterator[Service]:
    """The one that has one request at a time."""
    with running([sys.executable, str(PEER), model]) as one:
        yield one


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[Service]:
    """A service that prints its address when it can transcribe; it is stopped afterwards.

    Raises
    ------
    RuntimeError
        It ended instead; with what it wrote.
    """
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryFile("w+") as log:
        options = {"stdout": subprocess.PIPE, "stderr": log, "text": True, "env": os.environ | {"TMPDIR": name}}
        process = subprocess.Popen(command, **options)
        try:
            address = re.match(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())
            if address is None:
                log.seek(0)
                raise RuntimeError(f"{' '.join(command)}: does not serve:\n{log.read()}")
            yield Service(process.pid, int(address[1]), Path(name))
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
