"""Audio within tar files, found by an index of their members and read when it is asked for.

Nothing is read in passing and nothing waits in memory: ten thousand cuts in a shuffling buffer are as many names and
numbers, where the bytes of their audio would be gigabytes.
"""

from __future__ import annotations

import functools
import io
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lhotse import AudioSource

from toolkit.dataio.containers import AudioInfo, read_header_of_bytes
from toolkit.dataio.index_cache import Arrays, cached_index, read_range
from toolkit.errors import ManifestError


@dataclass(repr=False)
class TarMember(AudioSource):
    """Lhotse's source of audio that is a stretch of a tar file.

    Attributes
    ----------
    source
        The tar file.
    name
        Of the member, for messages.
    start, size
        Where its bytes are.
    """

    name: str = ""
    start: int = 0
    size: int = 0

    @property
    def where(self) -> str:
        """``shard.tar: member a.flac``, for messages."""
        return f"{self.source}: member {self.name}"

    def read(self) -> bytes:
        """The file that was put into the tar."""
        return read_range(Path(self.source), self.start, self.size)

    def _prepare_for_reading(self, offset: float, duration: float | None) -> io.BytesIO:  # noqa: ARG002 (Lhotse's)
        return io.BytesIO(self.read())

    def probe(self) -> AudioInfo:
        """Rate, samples and channels, as the header of the audio says.

        Raises
        ------
        AudioError
            It is not audio, or holds no sample.
        """
        return read_header_of_bytes(self.read(), self.where)


def tar_members(path: str, *, beside: bool = True) -> tuple[TarMember, ...]:
    """The files of a tar, in its order; ``beside`` is whether their index may lie beside it.

    Raises
    ------
    ManifestError
        There is no such file, or it is no tar.
    """
    return _members(path, beside, _version(path))


def members_by_name(path: str) -> dict[str, TarMember]:
    """The files of a tar by their names."""
    return _members_by_name(path, _version(path))


def _version(path: str) -> tuple[int, int, int]:
    """What tells a file from the one that was there before."""
    try:
        status = os.stat(path)  # noqa: PTH116 (once for each example)
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror})") from error
    return status.st_ino, status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=256)
def _members(path: str, beside: bool, version: tuple[int, int, int]) -> tuple[TarMember, ...]:  # noqa: ARG001
    arrays = cached_index(Path(path), "tar members", lambda: _scan(Path(path)), beside=beside)
    found = zip(*(arrays[key].tolist() for key in ("names", "starts", "sizes")), strict=True)
    return tuple(TarMember("tar", [0], path, name=name.decode(), start=start, size=size) for name, start, size in found)


@functools.lru_cache(maxsize=256)
def _members_by_name(path: str, version: tuple[int, int, int]) -> dict[str, TarMember]:
    return {member.name: member for member in _members(path, True, version)}


def _scan(path: Path) -> Arrays:
    try:
        # "r:" without decompression: of a compressed file nothing could be read by its place.
        with tarfile.open(path, "r:") as tar:
            found = [(one.name.removeprefix("./"), one.offset_data, one.size) for one in tar if one.isfile()]
    except (tarfile.TarError, EOFError) as error:
        raise ManifestError(
            f"{path}: not a tar file, cut off, or compressed: make it again or unpack it ({error})"
        ) from error
    names, starts, sizes = zip(*found, strict=True) if found else ((), (), ())
    encoded = np.array([name.encode() for name in names], dtype=np.bytes_)
    return {"names": encoded, "starts": np.array(starts, np.int64), "sizes": np.array(sizes, np.int64)}
