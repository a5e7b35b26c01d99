"""Which examples may share a batch, and how many fit: caps on padded duration, and buckets of similar length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from toolkit.errors import ConfigError

# Durations are decimal fractions: 10 examples of 0.7 s do fit 7 s.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Caps:
    """The most that a batch may hold.

    Attributes
    ----------
    duration
        Of all its examples together, each padded to the longest.
    size
        Examples.
    quadratic
        Where set, an example counts as d + d² / quadratic instead of d, for models whose cost grows so.
    """

    duration: float | None = None
    size: int | None = None
    quadratic: float | None = None

    def effective(self, lengths: np.ndarray) -> np.ndarray:
        """(N,) what the cap on duration counts for each length (N,)."""
        return lengths if self.quadratic is None else lengths + lengths**2 / self.quadratic

    def fitting(self, longest: np.ndarray) -> np.ndarray:
        """(N,) int64: examples of a batch whose longest is so long; at least 1."""
        longest = self.effective(np.asarray(longest, np.float64))
        by_duration = np.full(longest.shape, np.inf)
        if self.duration is not None:
            np.divide(self.duration, longest, out=by_duration, where=longest > 0)
        fitting = np.minimum(by_duration + ROUNDING, np.inf if self.size is None else self.size)
        return np.where(np.isfinite(fitting), np.maximum(fitting, 1), 1).astype(np.int64)


@dataclass(frozen=True)
class Unsorted:
    """Any examples may share a batch, as many as fit.

    Attributes
    ----------
    lengths
        (N,) of each example.
    caps
        Of a batch.
    drop_last
        Whether to leave out the last batch, which is not full.
    """

    lengths: np.ndarray
    caps: Caps
    drop_last: bool = False


@dataclass(frozen=True)
class Buckets:
    """Which examples may share a batch, and how many of them.

    Attributes
    ----------
    numbers
        (N,) uint16 bucket of each example.
    sizes
        (K,) int64 examples of a full batch of each bucket.
    nested
        Whether examples of a bucket fit the batches of the buckets before it too: the last batch of a bucket is then
        filled up from the next one.
    drop_last
        Whether to leave out the batches that are not full.
    """

    numbers: np.ndarray
    sizes: np.ndarray
    nested: bool = True
    drop_last: bool = False

    @classmethod
    def by_length(cls, lengths: np.ndarray, caps: Caps, ends: Sequence[float], *, drop_last: bool = False) -> Buckets:
        """Buckets from the longest examples to the shortest.

        ``ends`` (K-1,) are upper ends of all but the longest bucket; its longest example decides how many fit each.
        """
        numbers = (len(ends) - np.searchsorted(ends, lengths)).astype(np.uint16)
        longest = np.zeros(len(ends) + 1)
        np.maximum.at(longest, numbers, lengths)
        return cls(numbers, caps.fitting(longest), drop_last=drop_last)

    @classmethod
    def of_sizes(
        cls, lengths: np.ndarray, ends: Sequence[float], sizes: Sequence[int], *, drop_last: bool = False
    ) -> Buckets:
        """Buckets from the longest examples to the shortest, with upper ends (K,) and sizes (K,) that are given.

        Raises
        ------
        ConfigError
            There are examples beyond the last end.
        """
        numbers = len(ends) - 1 - np.searchsorted(ends, lengths)
        beyond = int(np.sum(numbers < 0))
        if beyond:
            raise ConfigError(
                f"bucket_duration_bins: {beyond} of {len(lengths)} examples are longer than the last, {ends[-1]:g}; "
                "set max_duration (max_tokens) to leave them out"
            )
        nested = all(short >= long for short, long in pairwise(sizes))
        return cls(numbers.astype(np.uint16), np.array(sizes[::-1]), nested, drop_last)

    def count_batches(self, counts: np.ndarray) -> np.ndarray:
        """(C,) int64: batches of each of C chunks of examples, of which ``counts`` (C, K) fall into each bucket."""
        total, room = np.zeros(len(counts), np.int64), np.zeros(len(counts), np.int64)
        for count, size in zip(counts.T, self.sizes, strict=True):
            if not self.nested:
                total, room = total - self.drop_last * (room > 0), np.zeros_like(room)
            left = np.maximum(count - room, 0)
            new = -(-left // size)
            total, room = total + new, np.maximum(room - count, 0) + new * size - left
        return total - self.drop_last * (room > 0)
