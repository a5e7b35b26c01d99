"""Indexes of large files: computed once, kept beside the file, and checked against it before every use.

An index is a few arrays. Where the folder cannot be written to, it is kept in ``~/.cache/asr-recipes``.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import logging
import os
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from toolkit.errors import ManifestError
from toolkit.files import replacing

logger = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]

# Changes with the layout of the arrays. Files of other programs under our name do not begin with it.
MAGIC = "asr-recipes index 1"

# Two changes of a file within one tick of the kernel's clock (10 ms at most) leave the same time of change.
_CLOCK_TICK_NS = 20_000_000


def cached_index(path: Path, kind: str, build: Callable[[], Arrays], *, beside: bool = True) -> Arrays:
    """What ``build`` computes of the file ``path``; from its cache when that is of this very file and ``kind``.

    The ranks of a node that start together wait for the one that builds, and then read what it wrote. The cache is in
    the user's folder also where ``beside`` is False: Lhotse takes every file beside a shard for another shard.

    Raises
    ------
    ManifestError
        There is no such file.
    """
    places = _places(path, kind)[0 if beside else 1 :]
    with alone(path):
        stamp = _stamp(path, kind)
        for place in places:
            arrays = _load(place, stamp)
            if arrays is not None:
                return arrays
        arrays = build()
        settled = time.time_ns() - path.stat().st_mtime_ns > _CLOCK_TICK_NS
        if settled and _stamp(path, kind) == stamp:
            _store(places, stamp, arrays)
        return arrays


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """One process of those that ask for the same file at a time, where the file system has locks."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror})") from error
    with file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _stamp(path: Path, kind: str) -> str:
    status = path.stat()
    return f"{MAGIC}\n{kind}\n{status.st_size}\n{status.st_mtime_ns}"


def _places(path: Path, kind: str) -> list[Path]:
    """Beside the file, then the user's own folder."""
    name = f"{path.name}.{re.sub(r'[^A-Za-z0-9]+', '_', kind)}.index.npz"
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    return [path.with_name(name), cache_folder() / f"{digest}.{name}"]


def cache_folder() -> Path:
    """What can be made again at any time is kept here, where it cannot lie beside what it is made of."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "asr-recipes"


def _load(place: Path, stamp: str) -> Arrays | None:
    """The arrays, when the file is whole and has this stamp."""
    try:
        with place.open("rb") as file, np.lib.npyio.NpzFile(file) as stored:
            if str(stored["stamp"]) == stamp:
                return {name: stored[name] for name in stored.files if name != "stamp"}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # absent, damaged, or another program's: it is built anew
    return None


def _store(places: list[Path], stamp: str, arrays: Arrays) -> None:
    for place in places:
        with contextlib.suppress(OSError), replacing(place) as partial:
            np.savez(partial, stamp=np.array(stamp), **arrays)
            return
    logger.warning("%s: cannot be written: the index is built anew at every start", ", ".join(map(str, places)))


def read_range(path: Path, start: int, size: int) -> bytes:
    """``size`` bytes of a file from byte ``start`` on; few files are kept open, and forked processes share them.

    Raises
    ------
    ManifestError
        The file has become shorter.
    """
    content = os.pread(_opened(str(path), path.stat().st_mtime_ns).number, size, start)
    if len(content) < size:
        raise ManifestError(f"{path}: ends within the {size} bytes from byte {start}: it changed while in use")
    return content


def read_ahead(path: Path, start: int, size: int) -> None:
    """Have the system read a part of a file into its cache, without waiting for it."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(_opened(str(path), path.stat().st_mtime_ns).number, start, size, os.POSIX_FADV_WILLNEED)


class _Descriptor:
    """An open file that is closed when the last user has gone."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


@functools.lru_cache(maxsize=128)  # of the 1024 that a process may open
def _opened(path: str, changed_ns: int) -> _Descriptor:  # noqa: ARG001 (a file that was replaced is another file)
    return _Descriptor(path)
