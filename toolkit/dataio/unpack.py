"""Archives of corpora, tar and zip: unpacked whole or not at all, and never outside the folder that is meant."""

from __future__ import annotations

import contextlib
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from toolkit.errors import DataError

_BLOCK = 1 << 20


def extract(archive: str | Path, target: str | Path, member: str) -> Path:
    """``target``, the folder ``member`` of an archive, or all of it for ``.``; it appears whole or not at all.

    Only files and folders are unpacked; links and devices in the folder, and paths that lead out of it, are refused.

    Raises
    ------
    DataError
        Neither tar nor zip, cut off, without the folder, unsafe, or more than the disk has room for.
    """
    archive, target = Path(archive), Path(target).absolute()
    if target.is_dir() and any(target.iterdir()):
        raise DataError(f"{target}: already there; remove it to unpack {archive} again")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
        folder = Path(scratch) / "content"
        folder.mkdir()
        try:
            _unpack(archive, folder, PurePosixPath(member))
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, LZMAError, OSError) as error:
            if getattr(error, "errno", None):  # the disk's: gzip and bz2 tell of damage by an OSError without a number
                raise DataError(f"{archive}: cannot be unpacked to {target.parent} ({error.strerror})") from error
            reason = str(error).partition("\n")[0]
            raise DataError(f"{archive}: cannot be unpacked ({reason}); delete it and download it again") from error
        if not (folder / member).is_dir():
            raise DataError(f"{archive}: holds no folder {member!r}")
        if target.is_dir():
            target.rmdir()
        shutil.move(folder / member, target)
    return target


def _unpack(archive: Path, folder: Path, member: PurePosixPath) -> None:
    """Write what an archive holds of a folder."""
    with tqdm(desc=archive.name, unit=" files", disable=None, leave=False, delay=2) as bar:
        for name, content in _entries(archive, member):
            path = folder / name
            if not path.resolve().is_relative_to(folder.resolve()):
                raise tarfile.TarError(f"{name!r} leads elsewhere")
            if not PurePosixPath(name).is_relative_to(member):
                continue
            if content is None:
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with content, path.open("wb") as file:
                shutil.copyfileobj(content, file, _BLOCK)
            bar.update()


def _entries(archive: Path, member: PurePosixPath) -> Iterator[tuple[str, IO[bytes] | None]]:
    """The name and the content of each file; None for a folder. Links are refused within ``member``, else left out."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise tarfile.TarError(f"{entry.filename!r} is a link or a device")
                yield entry.filename, None if entry.is_dir() else opened.open(entry)
        return
    # tarfile's own filter is missing in Python 3.11.2, which Debian 12 has
    with contextlib.closing(tarfile.open(archive)) as opened:
        for entry in opened:
            if not (entry.isfile() or entry.isdir()):
                if not PurePosixPath(entry.name).is_relative_to(member):
                    continue
                raise tarfile.TarError(f"{entry.name!r} is a link or a device")
            yield entry.name, opened.extractfile(entry) if entry.isfile() else None
        while opened.fileobj.read(_BLOCK):  # to the end, where gzip has its checksum
            pass
