"""Data sets of several files, which are read one file after the other where nobody plans otherwise."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from lhotse.dataset.dataloading import resolve_seed

from toolkit.dataio.indexed import Concatenated, Indexed


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
    together
        Whether the examples of a file are best read together, as those of a tar are.
    """

    def __init__(
        self,
        sources: Sequence[Indexed[Any]],
        *,
        shuffle: bool = False,
        seed: int | str = 0,
        slice_length: int | None = None,
        together: bool = False,
    ) -> None:
        super().__init__(sources)
        self.shuffle, self.seed, self.slice_length = shuffle, seed, slice_length
        self.passes = 0
        if together:
            self.pieces = np.repeat(np.arange(len(self.sources)), [len(source) for source in self.sources])

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
