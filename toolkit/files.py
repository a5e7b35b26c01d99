"""Files that appear whole or not at all, whenever the process is killed, and folders that go with it."""

from __future__ import annotations

import atexit
import contextlib
import gzip
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from toolkit.errors import ConfigError, ModelError

# A gzipped file may grow so many times when it is unpacked, and by so many bytes: texts grow three to ten times.
MOST_GROWTH, MORE_BYTES = 50, 1 << 20


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A file beside ``path`` to write to, which takes its place at the end; an error leaves ``path`` as it was."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Write a whole file; text is UTF-8."""
    with replacing(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def making_folder(folder: str | Path) -> Iterator[Path]:
    """A name beside ``folder`` for a new one, which takes its place at the end; an error leaves what was there."""
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - `.` has no name; a link stays one
    partial, before = (folder.with_name(f".{folder.name}.{os.getpid()}.{end}") for end in ("part", "before"))
    try:
        yield partial
        if folder.exists():
            folder.rename(before)
        partial.rename(folder)
    finally:
        if before.exists() and not folder.exists():
            before.rename(folder)
        shutil.rmtree(before, ignore_errors=True)
        shutil.rmtree(partial, ignore_errors=True)


def read_unpacked(path: Path) -> bytes:
    """The bytes of a file, unpacked if they are gzipped, whatever the file is called.

    Raises
    ------
    ModelError
        It grows as no text does.
    OSError, EOFError, zlib.error
        It cannot be read, is cut short or damaged.
    """
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not zipped:
            return file.read()
        left = MOST_GROWTH * path.stat().st_size + MORE_BYTES
        pieces = []
        with gzip.GzipFile(fileobj=file) as unpacked:
            while piece := unpacked.read(1 << 20):
                pieces.append(piece)
                left -= len(piece)
                if left < 0:
                    raise ModelError(f"{path}: unpacked it is more than {MOST_GROWTH} times as large; no text is")
    return b"".join(pieces)


@contextlib.contextmanager
def working_in(folder: str | Path) -> Iterator[None]:
    """A time in which relative paths begin in a folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def require_writable(folder: str | Path, name: str) -> None:
    """Nothing, when there is a folder that can be written to, or can be made.

    Raises
    ------
    ConfigError
        Tells ``name`` of the setting, and what is in the way.
    """
    there = next(path for path in (Path(folder).absolute(), *Path(folder).absolute().parents) if path.exists())
    if not there.is_dir():
        raise ConfigError(f"{name}: {there} is not a folder; name another place")
    if not os.access(there, os.W_OK):
        raise ConfigError(f"{name}: {there} cannot be written to; name another place")


def check_inside(file: Path, folder: Path) -> None:
    """Raise a ConfigError unless a file lies in a folder, links followed; the hub's cache has links to its blobs."""
    place, home = file.resolve(), folder.resolve()
    cache = next((above.parent / "blobs" for above in home.parents if above.name == "snapshots"), home)
    if not place.is_relative_to(home) and not place.is_relative_to(cache):
        raise ConfigError(
            f"{file}: leads out of {folder}, to {place}; copy the file into the folder, or say trust_source_code=True"
        )


def temporary_folder(prefix: str) -> Path:
    """A new folder that is deleted when the program ends."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
