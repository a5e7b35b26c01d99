"""Corpora from the network: whole archives or none, safely unpacked."""

from __future__ import annotations

import logging
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from toolkit.errors import DataError
from toolkit.files import replacing

logger = logging.getLogger(__name__)

TIMEOUT_S = 30
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Archive:
    """What is to be fetched of a corpus: an archive of which one folder is unpacked, or a file.

    Parameters
    ----------
    url
        Where it is served.
    target
        Where its content belongs, relative to the corpus' folder; ``.`` is that folder itself.
    member
        The folder in the archive that becomes ``target``; None: ``target`` is the file itself, as it is served.
    checksum
        ``md5:...`` or ``sha256:...`` as its distributor gives it; None where there is none.
    """

    url: str
    target: str = "."
    member: str | None = None
    checksum: str | None = None


def fetch(archives: Iterable[Archive], data_folder: Path) -> None:
    """All of a corpus at ``data_folder``: what is not there is downloaded beside it, unpacked, and the archive removed.

    Raises
    ------
    DataError
        Offline, refused, broken off, damaged, or more than the disk has room for; what was fetched whole is kept, and
        the same command goes on from there.
    """
    for archive in archives:
        target = data_folder / archive.target
        if archive.member is None:
            download(archive.url, target)
        elif not target.exists():
            extract(download(archive.url, data_folder.parent / Path(archive.url).name), target, archive.member)


def download(url: str, target: str | Path) -> Path:
    """``target``, holding what ``url`` serves; a file that is already there is kept.

    Raises
    ------
    DataError
        Offline, refused, broken off or out of disk space; nothing is left behind.
    """
    target = Path(target)
    if target.exists():
        return target
    try:
        with replacing(target) as partial:
            _fetch(url, partial)
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise DataError(f"cannot download {url} ({reason}): get it elsewhere and place it at {target}") from error
    except OSError as error:
        raise DataError(f"cannot store {url} at {target} ({error.strerror})") from error
    return target


def _fetch(url: str, partial: Path) -> None:
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response, partial.open("wb") as file:
        total = int(response.headers.get("Content-Length", 0))
        done, told = 0, 0
        while block := response.read(_BLOCK):
            file.write(block)
            done += len(block)
            if total and done * 10 // total > told:
                told = done * 10 // total
                logger.info("%s: %.0f of %.0f MB", url, done / 1e6, total / 1e6)
    if total and done != total:
        raise urllib.error.URLError(f"broken off after {done} of {total} bytes")


def extract(archive: str | Path, target: str | Path, member: str) -> Path:
    """``target``, the folder ``member`` of a tar archive; it appears whole or not at all.

    Only files and folders are unpacked; links, devices and paths that lead out of the folder are refused.

    Raises
    ------
    DataError
        Not a tar archive, cut off, without the folder, or unsafe.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
        try:
            with tarfile.open(archive) as tar:
                for entry in tar:
                    _unpack(tar, entry, Path(scratch).resolve())
        except (tarfile.TarError, EOFError, OSError) as error:
            raise DataError(f"{archive}: cannot be unpacked ({error}); delete it and download it again") from error
        if not (Path(scratch) / member).is_dir():
            raise DataError(f"{archive}: holds no folder {member!r}")
        if target.is_dir() and not any(target.iterdir()):
            target.rmdir()
        if target.exists():
            raise DataError(f"{target}: already there; remove it to unpack {archive} again")
        shutil.move(Path(scratch) / member, target)
    return target


def _unpack(tar: tarfile.TarFile, entry: tarfile.TarInfo, folder: Path) -> None:
    """One file or folder of an archive; tarfile's own filter is missing in Python 3.11.2, which Debian 12 has."""
    path = (folder / entry.name).resolve()
    if not path.is_relative_to(folder) or not (entry.isfile() or entry.isdir()):
        raise tarfile.TarError(f"{entry.name!r} is a link, or leads elsewhere")
    if entry.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tar.extractfile(entry) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target, _BLOCK)
