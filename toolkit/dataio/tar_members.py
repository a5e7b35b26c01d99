"""Audio within tar files, found by an index of their members and read when it is asked for.

Nothing is read in passing and nothing waits in memory: ten thousand cuts in a shuffling buffer are as many names and
numbers, where the bytes of their audio would be gigabytes.
"""

from __future__ import annotations

import functools
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from lhotse import AudioSource

from toolkit.dataio.containers import AudioInfo
from toolkit.dataio.index_cache import Arrays, cached_index, read_range
from toolkit.errors import AudioError, ManifestError


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
        try:
            info = soundfile.info(io.BytesIO(self.read()))
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{self.where}: not audio ({error.error_string})") from error
        if info.frames <= 0:
            raise AudioError(f"{self.where}: holds zero samples of audio")
        return AudioInfo(info.samplerate, info.frames, info.channels)


@functools.lru_cache(maxsize=256)
def tar_members(path: str) -> dict[str, TarMember]:
    """The files of a tar by their names, in its order.

    Raises
    ------
    ManifestError
        There is no such file, or it is no tar.
    """
    return {member.name: member for member in iterate_members(path)}


def iterate_members(path: str) -> Iterator[TarMember]:
    """The files of a tar, in its order."""
    arrays = cached_index(Path(path), "tar members", lambda: _scan(Path(path)))
    for name, start, size in zip(*(arrays[key].tolist() for key in ("names", "starts", "sizes")), strict=True):
        yield TarMember("tar", [0], path, name=name.decode(), start=start, size=size)


def _scan(path: Path) -> Arrays:
    try:
        # "r:" without decompression: of a compressed file nothing could be read by its place.
        with tarfile.open(path, "r:") as tar:
            found = [(one.name.removeprefix("./"), one.offset_data, one.size) for one in tar if one.isfile()]
    except (tarfile.TarError, EOFError) as error:
        raise ManifestError(f"{path}: not a tar file, or a compressed one: unpack it first ({error})") from error
    names, starts, sizes = zip(*found, strict=True) if found else ((), (), ())
    encoded = np.array([name.encode() for name in names], dtype=np.bytes_)
    return {"names": encoded, "starts": np.array(starts, np.int64), "sizes": np.array(sizes, np.int64)}
