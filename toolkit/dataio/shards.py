"""Data sets of several files, which are read one file after the other where nobody plans otherwise."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lhotse.dataset.dataloading import resolve_seed

from toolkit.dataio.draws import PIECE_BYTES
from toolkit.dataio.indexed import Concatenated, Indexed
from toolkit.errors import ManifestError


class Shards(Concatenated):
    """The examples of all files by number; iterated over, of one file after the other.

    Parameters
    ----------
    sources
        The files.
    shuffle
        Iterate over them in another order each time.
    seed
        Of that order: a number, or Lhotse's ``randomized`` or ``trng``.
    slice_length
        Iterate over so many examples of each, from a random one on, and go on to the next.
    stored_in
        The tar file of each, where they are such: what lies together in it is best read together.
    """

    def __init__(
        self,
        sources: Sequence[Indexed[Any]],
        *,
        shuffle: bool = False,
        seed: int | str = 0,
        slice_length: int | None = None,
        stored_in: Sequence[str | Path] | None = None,
    ) -> None:
        super().__init__(sources)
        self.shuffle, self.seed, self.slice_length = shuffle, seed, slice_length
        self.passes = 0
        if stored_in is not None:
            self.pieces = _pieces(stored_in, [len(source) for source in self.sources])

    def __iter__(self) -> Iterator[Any]:
        rng = random.Random(resolve_seed(self.seed) + self.passes)
        self.passes += 1
        order = list(self.sources)
        if self.shuffle:
            rng.shuffle(order)
        for source in order:
            count = min(len(source), self.slice_length or len(source))
            first = rng.randint(0, len(source) - count)
            yield from (source[number] for number in range(first, first + count))


def _pieces(files: Sequence[str | Path], counts: Sequence[int]) -> np.ndarray:
    """(N,) int64: the stretch of its file that holds each example, about, as each takes as much of it as any other."""
    pieces, first = [np.empty(0, np.int64)], 0
    for file, count in zip(files, counts, strict=True):
        try:
            whole = max(1, Path(file).stat().st_size // PIECE_BYTES)
        except OSError as error:
            raise ManifestError(f"{file}: cannot be read ({error.strerror})") from error
        pieces.append(first + np.arange(count) * whole // max(1, count))
        first += whole
    return np.concatenate(pieces)
