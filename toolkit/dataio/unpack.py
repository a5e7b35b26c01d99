"""Archives of corpora, tar and zip: unpacked whole or not at all, and never outside the folder that is meant."""

from __future__ import annotations

import contextlib
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from toolkit.errors import DataError

_BLOCK = 1 << 20


def extract(archive: str | Path, target: str | Path, member: str) -> Path:
    """``target``, the folder ``member`` of an archive, or all of it for ``.``; it appears whole or not at all.

    Files, folders and hard links to files of the archive are unpacked; other links and devices in the folder, and paths
    that lead out of it, are refused.

    Raises
    ------
    DataError
        Neither tar nor zip, cut off, without the folder, unsafe, or more than the disk has room for.
    """
    extract_each(archive, {member: Path(target)})
    return Path(target).absolute()


def extract_each(archive: str | Path, targets: Mapping[str, Path]) -> None:
    """Several folders of an archive as `extract` does, each to its target, in one pass; all of them appear or none."""
    archive, targets = Path(archive), {member: target.absolute() for member, target in targets.items()}
    for target in targets.values():
        if target.is_dir() and any(target.iterdir()):
            raise DataError(f"{target}: already there; remove it to unpack {archive} again")
        target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        folders = {}
        for member, target in targets.items():
            folders[PurePosixPath(member)] = scratch = target.with_name(f".{target.name}.unpacking")
            shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
            stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        try:
            _unpack(archive, folders)
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, LZMAError, OSError) as error:
            if getattr(error, "errno", None):  # the disk's: gzip and bz2 tell of damage by an OSError without a number
                places = ", ".join(sorted({str(target.parent) for target in targets.values()}))
                raise DataError(f"{archive}: cannot be unpacked to {places} ({error.strerror})") from error
            reason = str(error).partition("\n")[0]
            raise DataError(f"{archive}: cannot be unpacked ({reason}); delete it and download it again") from error
        for member, folder in folders.items():
            if not (folder / member).is_dir():
                raise DataError(f"{archive}: holds no folder {str(member)!r}")
        for (member, folder), target in zip(folders.items(), targets.values(), strict=True):
            if target.is_dir():
                target.rmdir()
            shutil.move(folder / member, target)


def _unpack(archive: Path, folders: Mapping[PurePosixPath, Path]) -> None:
    """Write what an archive holds of each member to its folder."""
    for folder in folders.values():
        folder.mkdir()
    with tqdm(desc=archive.name, unit=" files", disable=None, leave=False, delay=2) as bar:
        for name, content in _entries(archive, folders):
            wanted = [folder for member, folder in folders.items() if PurePosixPath(name).is_relative_to(member)]
            folder = next(iter(wanted or folders.values()))
            path = folder / name
            if not path.resolve().is_relative_to(folder.resolve()):
                raise _refusal(archive, name, "leads elsewhere")
            if not wanted:
                continue
            if content is None:
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with content, path.open("wb") as file:
                shutil.copyfileobj(content, file, _BLOCK)
            bar.update()


def _entries(archive: Path, members: Collection[PurePosixPath]) -> Iterator[tuple[str, IO[bytes] | None]]:
    """The name and the content of each file; None for a folder. Links are refused within ``members``, else left out."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise _refusal(archive, entry.filename, "is a link or a device")
                yield entry.filename, None if entry.is_dir() else opened.open(entry)
        return
    # tarfile's own filter is missing in Python 3.11.2, which Debian 12 has
    with contextlib.closing(tarfile.open(archive)) as opened:
        for entry in opened:
            if entry.isfile() or entry.isdir():
                yield entry.name, opened.extractfile(entry) if entry.isfile() else None
            elif any(PurePosixPath(entry.name).is_relative_to(member) for member in members):
                yield entry.name, _linked(archive, opened, entry)
        while opened.fileobj.read(_BLOCK):  # to the end, where gzip has its checksum
            pass


def _linked(archive: Path, opened: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    """The file of an archive that a hard link in it leads to."""
    try:
        content = opened.extractfile(entry) if entry.islnk() else None
    except (KeyError, RecursionError):  # not there; links in a circle
        content = None
    if content is None:
        raise _refusal(archive, entry.name, "is a link or a device")
    return content


def _refusal(archive: Path, name: str, reason: str) -> DataError:
    return DataError(f"{archive}: cannot be unpacked safely ({name!r} {reason}); if you trust it, unpack it by hand")
