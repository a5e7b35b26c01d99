"""Corpora from the network: archives arrive whole, are checked, and go on where a broken connection left them.

A download in the making is ``.NAME.XXXXXXXX.part`` beside the file it will be; the digits tell which edition of the
file the server has (its ETag, date and length), so that pieces of two editions never become one file.
"""

from __future__ import annotations

import glob
import hashlib
import logging
import shutil
import ssl
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from pathlib import Path

from tqdm import tqdm

from toolkit.dataio.unpack import extract_each
from toolkit.errors import DataError

logger = logging.getLogger(__name__)

TIMEOUT_S = 30
# How often in a row a connection may break without a single byte.
TRIES = 3
_BLOCK = 1 << 20
# What a connection may end in, besides a status.
_BROKEN = (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError, ssl.SSLError)


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
        The folder in the archive that becomes ``target``, ``.`` for all of it; None: ``target`` is the file itself,
        as it is served.
    checksum
        ``md5:...`` or ``sha256:...`` as its distributor gives it; None where there is none.
    """

    url: str
    target: str = "."
    member: str | None = None
    checksum: str | None = None


def fetch(archives: Iterable[Archive], data_folder: Path) -> None:
    """All of a corpus at ``data_folder``: what is not there is downloaded and unpacked.

    Archives lie beside the folder; one that somebody placed there is checked and taken. They are kept. Several folders
    of one archive are unpacked in one pass.

    Raises
    ------
    DataError
        Offline, refused, broken off, damaged, or more than the disk has room for; what has arrived is kept, and the
        same command goes on from there.
    """
    wanted: dict[tuple[str, str | None], dict[str, Path]] = defaultdict(dict)
    for archive in archives:
        target = data_folder / archive.target
        if archive.member is None:
            _fetch_file(archive.url, target, archive.checksum)
        elif not _is_filled(target):
            wanted[archive.url, archive.checksum][archive.member] = target
    for (url, checksum), targets in wanted.items():
        file = _fetch_file(url, data_folder.absolute().parent / Path(url).name, checksum)
        for target in targets.values():
            _require_room(target.parent, file.stat().st_size / len(targets), str(file))
        logger.info("%s: unpacking to %s", file, ", ".join(map(str, targets.values())))
        extract_each(file, targets)


def _fetch_file(url: str, target: Path, checksum: str | None) -> Path:
    """As `download`; a file that is there already is checked, too."""
    if target.is_file() and checksum:
        check_sum(target, checksum)
    return download(url, target, checksum)


def download(url: str, target: str | Path, checksum: str | None = None) -> Path:
    """``target``, holding what ``url`` serves; a file that is already there is kept.

    Raises
    ------
    DataError
        Offline, refused, broken off, not what ``checksum`` says, or more than the disk has room for. There is no
        ``target`` then; the part that has arrived is kept, and the next call goes on from there.
    """
    target = Path(target)
    if target.exists():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = _receive(url, target)
        if checksum:
            check_sum(partial, checksum, of=url)
        partial.replace(target)
        for other in target.parent.glob(f".{glob.escape(target.name)}.*.part"):  # of editions that are gone
            other.unlink()
    except _BROKEN as error:
        raise DataError(
            f"cannot download {url} ({_reason(error)}): get it elsewhere and place it at {target}"
        ) from error
    except OSError as error:
        raise DataError(f"cannot store {url} at {target} ({error.strerror}); the same command goes on") from error
    return target


def check_sum(file: Path, checksum: str, of: str | None = None) -> None:
    """Nothing, when a file's digest is ``md5:...`` or ``sha256:...``; what was downloaded from ``of`` else is deleted.

    Raises
    ------
    DataError
        It is another.
    """
    kind, _, wanted = checksum.partition(":")
    digest = hashlib.new(kind)
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK):
            digest.update(block)
    found = digest.hexdigest()
    if found == wanted:
        return
    if of is not None:
        file.unlink()
        raise DataError(f"{of}: its {kind} is {found}, expected {wanted}: damaged on its way, or replaced; try again")
    raise DataError(
        f"{file}: its {kind} is {found}, expected {wanted}: half-downloaded or damaged; delete it to have it fetched"
    )


def _receive(url: str, target: Path) -> Path:
    """The whole of what is served, in a file beside ``target``; a connection that breaks is opened again."""
    failures = 0
    while True:
        headers = _headers(url)
        partial = target.with_name(f".{target.name}.{_edition(headers)}.part")
        before = partial.stat().st_size if partial.exists() else 0
        total = int(headers.get("Content-Length") or 0)
        _require_room(target.parent, total - before, url)
        try:
            _append(url, partial, headers)
        except _BROKEN as error:
            arrived = partial.stat().st_size if partial.exists() else 0
            failures = 0 if arrived > before else failures + 1
            if failures == TRIES or isinstance(error, urllib.error.HTTPError):
                raise urllib.error.URLError(
                    f"{_reason(error)}; {arrived} of {total} bytes are kept, the same command goes on"
                ) from error
            logger.warning("%s: %s after %d of %d bytes; once more", url, _reason(error), arrived, total)
        else:
            return partial


def _headers(url: str) -> HTTPMessage:
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
        return response.headers


def _edition(headers: HTTPMessage) -> str:
    told = "|".join(headers.get(name) or "" for name in ("ETag", "Last-Modified", "Content-Length"))
    return hashlib.sha256(told.encode()).hexdigest()[:8]


def _append(url: str, partial: Path, headers: HTTPMessage) -> None:
    """Let a file grow by what it lacks; from nothing where the server gives no parts, or has another file by now."""
    begun, total = partial.stat().st_size if partial.exists() else 0, int(headers.get("Content-Length") or 0)
    if total and begun == total:
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={begun}-"} if total else {})
    if (edition := headers.get("ETag") or headers.get("Last-Modified")) and not edition.startswith("W/"):
        request.add_header("If-Range", edition)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        goes_on = response.status == 206
        done = begun if goes_on else 0
        bar = tqdm(
            desc=partial.name.split(".")[1], total=total or None, initial=done, unit="B", unit_scale=True, disable=None
        )
        with partial.open("ab" if goes_on else "wb") as file, bar:
            while block := response.read(_BLOCK):
                file.write(block)
                done += len(block)
                bar.update(len(block))
    if total and done != total:
        raise urllib.error.URLError(f"broken off after {done} of {total} bytes")


def _require_room(folder: Path, wanted: float, what: str) -> None:
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    if wanted > free:
        raise DataError(
            f"{what}: needs {wanted / 1e9:.1f} GB, and {folder} has room for {free / 1e9:.1f} GB: "
            "free some, or name a folder on another disk"
        )


def _is_filled(folder: Path) -> bool:
    return folder.is_file() or (folder.is_dir() and any(folder.iterdir()))


def _reason(error: BaseException) -> object:
    return getattr(error, "reason", None) or error
