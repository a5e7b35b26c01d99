"""The folder where uploads lie while they are transcribed: nothing stays in it, nor of it, whatever happens."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from toolkit.errors import ConfigError

PREFIX = "asr-serve-"


@contextlib.contextmanager
def upload_folder(place: Path) -> Iterator[Path]:
    """A new folder in a place, removed at the end; those that killed services left there are removed, too.

    A folder is locked as long as its service lives. Raises ConfigError.
    """
    with contextlib.ExitStack() as lock:
        try:
            folder = _made(place, lock)
        except OSError as error:
            raise ConfigError(f"temporary_folder: {place}: {error.strerror}; name another place") from None
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _made(place: Path, lock: contextlib.ExitStack) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    with _locked(place):
        for folder in place.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError), _locked(folder, wait=False):  # of another user, or in use
                shutil.rmtree(folder)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        lock.enter_context(_locked(folder))
    return folder


def bytes_in(folder: Path) -> int:
    """Of all files in a folder and below it, while others write and remove them."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += Path(place, name).lstat().st_size
    return total


@contextlib.contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Keep other processes that ask for it out of a folder; OSError where they are in there, unless it waits."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)
