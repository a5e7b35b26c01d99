"""Any member of a tar file at once, read where it lies.

A shard is a tar file of audio with a manifest of its own::

    tar = TarIndex.of("audio_0.tar")
    lines = LineIndex.of("manifest_0.json", seconds, name="seconds")
    shard = Lines(lines, lambda line: build_cut(line, tar.read), tar.pieces(len(lines)))
    epoch = Concatenated([shard, ...])

Examples are then planned so that those of a piece of a shard are read together (:mod:`toolkit.dataio.draws`), and
nothing has to be held in memory for shuffling.
"""

from __future__ import annotations

import functools
import hashlib
import tarfile
from pathlib import Path

import numpy as np

from toolkit.dataio.draws import PIECE_BYTES
from toolkit.dataio.index_cache import Arrays, cached_index, read_ahead, read_range
from toolkit.errors import DataError


class TarIndex:
    """Where the members of a tar file are."""

    def __init__(self, path: Path, arrays: Arrays) -> None:
        self.path = path
        self._starts, self._sizes = arrays["starts"], arrays["sizes"]
        self._digests, self._order = arrays["digests"], arrays["order"]

    @classmethod
    def of(cls, path: str | Path, *, beside: bool = True) -> TarIndex:
        """The index of a file, from its cache when the file is the same; ``beside`` is whether that may lie beside it.

        Raises
        ------
        ManifestError
            No such file.
        DataError
            It is compressed, cut off or no tar file.
        """
        path = Path(path)
        return cls(path, cached_index(path, "members", lambda: _scan(path), beside=beside))

    def __len__(self) -> int:
        return len(self._starts)

    def find(self, name: str, near: int = 0) -> int | None:
        """The number of the member of that name, of several the one nearest to number ``near``; None without one."""
        digest = _digest(name)
        first, last = (int(np.searchsorted(self._digests, digest, side)) for side in ("left", "right"))
        return min(self._order[first:last].tolist(), key=lambda number: abs(number - near), default=None)

    def span(self, number: int) -> tuple[int, int]:
        """First byte and bytes of the content of member ``number``."""
        return int(self._starts[number]), int(self._sizes[number])

    def read(self, name: str) -> bytes:
        """Content of the member of that name; of its first, where there are several.

        Raises
        ------
        DataError
            There is none.
        """
        number = self.find(name)
        if number is None:
            raise DataError(f"{self.path}: no member {name!r}; make the shards again, or drop it from the manifest")
        return read_member(str(self.path), *self.span(number))

    def pieces(self, count: int) -> np.ndarray:
        """(count,) int64: the piece of the file that each line of its manifest lies in, if both have the same order."""
        if not len(self):
            return np.zeros(count, np.int64)
        return self._starts[np.arange(count) * len(self) // max(1, count)] // PIECE_BYTES


def read_member(path: str, start: int, size: int) -> bytes:
    """Content of a member."""
    _read_ahead(path, start // PIECE_BYTES)
    return read_range(Path(path), start, size)


@functools.lru_cache(maxsize=256)
def _read_ahead(path: str, piece: int) -> None:
    """Have the disk read a whole piece when its first member is wanted: the others will be soon."""
    read_ahead(Path(path), piece * PIECE_BYTES, PIECE_BYTES)


def _scan(path: Path) -> Arrays:
    try:
        with tarfile.open(path, "r:") as tar:
            members = [
                (member.offset_data, member.size, _digest(member.name.removeprefix("./")))
                for member in tar
                if member.isreg()
            ]
    except tarfile.TarError as error:
        raise DataError(f"{path}: not a whole tar file without compression ({error}); make the shard again") from error
    starts, sizes, digests = zip(*members, strict=True) if members else ((), (), ())
    order = np.argsort(np.array(digests, np.uint64), kind="stable")
    return {
        "starts": np.array(starts, np.int64),
        "sizes": np.array(sizes, np.int64),
        "digests": np.array(digests, np.uint64)[order],
        "order": order,
    }


def _digest(name: str) -> np.uint64:
    """A number in the place of a name: two of a million names agree once in 40 million times."""
    return np.frombuffer(hashlib.blake2b(name.encode(), digest_size=8).digest(), np.uint64)[0]
