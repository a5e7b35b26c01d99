"""Which examples an epoch has: all of a finite source once, or so many of a weighted blend that never ends.

Either is a function of the seed and the epoch's number, so that epoch 1000 costs as much as epoch 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toolkit.dataio.plan import Draw, generator
from toolkit.errors import ConfigError

# Bytes of a piece of storage: at 150 MB/s a disk reads so many in 50 ms, six times as long as it takes to find them.
PIECE_BYTES = 8 << 20

# Pieces that are read, and mixed, together: 256 MiB, which the page cache of any machine holds for some workers.
_WINDOW_PIECES = 32


class EveryExample:
    """All examples of a source, each once an epoch.

    ``pieces`` (N,), where given, says which examples lie together: those follow each other.
    """

    def __init__(self, count: int, *, seed: int, pieces: np.ndarray | None = None) -> None:
        self.count, self.seed, self.pieces = count, seed, pieces

    def __call__(self, epoch: int) -> Draw:
        """The examples of an epoch."""
        return Draw(_one_pass(self.count, self.pieces, (self.seed, epoch)), _windows(self.pieces))


class WeightedBlend:
    """Sources blended by weight for ever; an epoch is ``examples`` of them.

    Source s, whose share of the weights is w_s, gives the first e epochs floor(w_s * examples * e + u_s) examples, u_s
    being random below 1: shares hold in every epoch. A source is shuffled anew at each pass over it, also when a pass
    begins within an epoch.

    Parameters
    ----------
    counts
        Examples of each source; they are numbered on from source to source.
    weights
        Of each source, in any unit.
    examples
        Of an epoch: so many, give or take one for each source.
    seed
        Of the shuffling.
    pieces
        (N,) of all sources, where some of them have pieces (see :class:`EveryExample`).

    Raises
    ------
    ConfigError
        A weight is not above 0, or a source is empty.
    """

    def __init__(
        self,
        counts: Sequence[int],
        weights: Sequence[float],
        examples: int,
        *,
        seed: int,
        pieces: np.ndarray | None = None,
    ) -> None:
        for number, (count, weight) in enumerate(zip(counts, weights, strict=True)):
            if not 0 < weight < np.inf:
                raise ConfigError(f"weight of source {number}: expected a number above 0, not {weight!r}")
            if not count:
                raise ConfigError(f"source {number} of a blend holds no example")
        self.counts, self.seed, self.pieces = list(counts), seed, pieces
        self.shares = np.asarray(weights, np.float64) / np.sum(weights) * examples
        self.phases = generator(seed).random(len(self.counts))

    def __call__(self, epoch: int) -> Draw:
        """The examples of an epoch, every stretch of which holds its share of each source."""
        rng = generator(self.seed, epoch)
        drawn, places, windows, first = [], [], 0.0, 0
        firsts, lasts = (np.floor(self.shares * number + self.phases).astype(np.int64) for number in (epoch, epoch + 1))
        for source, (start, stop) in enumerate(zip(firsts.tolist(), lasts.tolist(), strict=True)):
            drawn.append(first + self._stretch(source, start, stop))
            places.append((np.arange(stop - start) + rng.random(stop - start)) / max(1, stop - start))
            of_a_pass = _windows(self._pieces(source))
            if of_a_pass > 1:  # a single one stays in memory, however often it comes
                windows += of_a_pass * (stop - start) / self.counts[source]
            first += self.counts[source]
        order = np.argsort(np.concatenate(places), kind="stable")
        return Draw(np.concatenate(drawn)[order], max(1, round(windows)))

    def _stretch(self, source: int, start: int, stop: int) -> np.ndarray:
        """Examples ``start`` to ``stop`` of the passes over one source, one after the other."""
        count, pieces = self.counts[source], self._pieces(source)
        passes = range(start // count, -(-stop // count))
        shuffled = [_one_pass(count, pieces, (self.seed, source, number)) for number in passes]
        offset = passes.start * count
        return np.concatenate([np.empty(0, np.int64), *shuffled])[start - offset : stop - offset]

    def _pieces(self, source: int) -> np.ndarray | None:
        if self.pieces is None:
            return None
        first = sum(self.counts[:source])
        return self.pieces[first : first + self.counts[source]]


def _one_pass(count: int, pieces: np.ndarray | None, seed: Sequence[int]) -> np.ndarray:
    """(N,) int64: all examples in random order, or piece after piece in random order and shuffled in each."""
    rng = generator(*seed)
    order = rng.permutation(count)
    if pieces is None:
        return order
    turns = rng.permutation(int(pieces.max(initial=-1)) + 1)
    return order[np.argsort(turns[pieces[order]], kind="stable")]


def _windows(pieces: np.ndarray | None) -> int:
    return 1 if pieces is None else max(1, (int(pieces.max(initial=-1)) + 1) // _WINDOW_PIECES)
