"""Audio within tar files, read when it is asked for.

Nothing is read in passing and nothing waits in memory: ten thousand cuts in a shuffling buffer are as many names and
numbers, where the bytes of their audio would be gigabytes.
"""

from __future__ import annotations

import functools
import io
import os
from dataclasses import dataclass

import soundfile
from lhotse import AudioSource

from toolkit.dataio.containers import AudioInfo, read_header_of_bytes
from toolkit.dataio.tar_index import TarIndex, read_member
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
        return read_member(self.source, self.start, self.size)

    def probe(self) -> AudioInfo:
        """Rate, samples and channels, as the header of the audio says.

        Raises
        ------
        AudioError
            It is not audio, or holds no sample.
        """
        return read_header_of_bytes(self.read(), self.where)

    def check(self) -> None:
        """Raise an AudioError unless all of it can be decoded."""
        try:
            soundfile.read(io.BytesIO(self.read()))
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"{self.where}: damaged or not audio ({error.error_string}); make the tar again"
            ) from error

    def _prepare_for_reading(self, offset: float, duration: float | None) -> io.BytesIO:  # noqa: ARG002 (Lhotse's)
        return io.BytesIO(self.read())


def find_member(tar: str, name: str) -> TarMember | None:
    """The member of that name, if the tar has one."""
    index = tar_index(tar)
    number = index.find(name)
    return None if number is None else member_at(index, number, name)


def member_at(index: TarIndex, number: int, name: str) -> TarMember:
    """Member ``number`` of a tar, by a name for messages."""
    start, size = index.span(number)
    return TarMember("tar", [0], str(index.path), name=name, start=start, size=size)


def tar_index(path: str, *, beside: bool = True) -> TarIndex:
    """The index of a tar, kept in memory while few others are asked for; ``beside`` as :meth:`TarIndex.of`.

    Raises
    ------
    ManifestError
        There is no such file, or it is no tar.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 (once for each example)
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror})") from error
    return _index(path, beside, (status.st_ino, status.st_size, status.st_mtime_ns))


@functools.lru_cache(maxsize=256)
def _index(path: str, beside: bool, version: tuple[int, int, int]) -> TarIndex:  # noqa: ARG001 (a file that was replaced)
    return TarIndex.of(path, beside=beside)
