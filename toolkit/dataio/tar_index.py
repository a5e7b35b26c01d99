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

import hashlib
import tarfile
from collections import deque
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
        self._ahead: deque[int] = deque(maxlen=32)

    @classmethod
    def of(cls, path: str | Path) -> TarIndex:
        """The index of a file, from its cache when the file is the same.

        Raises
        ------
        ManifestError
            No such file.
        DataError
            It is compressed, cut off or no tar file.
        """
        path = Path(path)
        return cls(path, cached_index(path, "members", lambda: _scan(path)))

    def __len__(self) -> int:
        return len(self._starts)

    def read(self, name: str) -> bytes:
        """Content of the member of that name; of its first, where there are several.

        Raises
        ------
        DataError
            There is none.
        """
        digest = _digest(name)
        place = int(np.searchsorted(self._digests, digest))
        if place == len(self) or self._digests[place] != digest:
            raise DataError(f"{self.path}: no member {name!r}; make the shards again, or drop it from the manifest")
        member = self._order[place]
        start = int(self._starts[member])
        self._read_ahead(start // PIECE_BYTES)
        return read_range(self.path, start, int(self._sizes[member]))

    def _read_ahead(self, piece: int) -> None:
        """Have the disk read a whole piece when its first member is wanted: the others will be soon."""
        if piece not in self._ahead:
            self._ahead.append(piece)
            read_ahead(self.path, piece * PIECE_BYTES, PIECE_BYTES)

    def pieces(self, count: int) -> np.ndarray:
        """(count,) int64: the piece of the file that each line of its manifest lies in, if both have the same order."""
        if not len(self):
            return np.zeros(count, np.int64)
        return self._starts[np.arange(count) * len(self) // max(1, count)] // PIECE_BYTES


def _scan(path: Path) -> Arrays:
    try:
        with tarfile.open(path, "r:") as tar:
            members = [(member.offset_data, member.size, _digest(member.name)) for member in tar if member.isreg()]
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
