"""Which cuts make a batch, and which batches an epoch: Lhotse's samplers, restartable at any batch of any epoch."""

from __future__ import annotations

import itertools
import math
import random
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lhotse.cut import Cut
from lhotse.dataset import DynamicBucketingSampler, DynamicCutSampler
from lhotse.dataset.sampling.base import TimeConstraint
from lhotse.dataset.sampling.dynamic_bucketing import FixedBucketBatchSizeConstraint, estimate_duration_buckets
from torch.utils.data import Sampler

from toolkit.dataio.config import DataConfig

# How many cuts wait in the buckets of a shuffling sampler; all of a smaller data set.
_BUFFER = 20000


class _LongestFirstConstraint(TimeConstraint):
    """A cap on seconds with padding, exact when the longest cut comes first.

    One cut that is longer than the cap is a batch of its own, without Lhotse's warning.
    """

    def exceeded(self) -> bool:
        return self.num_cuts > 1 and super().exceeded()


@dataclass(frozen=True)
class Buckets:
    """Ranges of duration, and how many cuts of each fit a batch.

    Lhotse's time constraint stops after the cut that *probably* fills the batch and overshoots by a third at times; a
    number of cuts for each bucket, of its longest cut, is a cap.
    """

    bins: list[float]
    longest: list[float]
    batch_sizes: list[int]

    @classmethod
    def of(cls, cuts: Sequence[Cut], config: DataConfig) -> Buckets:
        """Buckets of about equal total duration."""
        wanted = min(config.num_buckets, len(cuts))
        bins = [float(edge) for edge in estimate_duration_buckets(cuts, wanted)] if wanted > 1 else []
        longest = [0.0] * (len(bins) + 1)
        for cut in cuts:
            place = bisect_left(bins, cut.duration)
            longest[place] = max(longest[place], cut.duration)
        return cls(bins, longest, [_fitting(seconds, config) for seconds in longest])

    def constraint(self) -> FixedBucketBatchSizeConstraint:
        """The cap, as Lhotse's sampler takes it."""
        return FixedBucketBatchSizeConstraint([*self.bins, math.inf], self.batch_sizes)

    def count_batches(self, cuts: Sequence[Cut], drop_last: bool) -> int:
        """How many batches the cuts make."""
        counts = [0] * len(self.batch_sizes)
        for cut in cuts:
            counts[bisect_left(self.bins, cut.duration)] += 1
        pairs = zip(counts, self.batch_sizes, strict=True)
        return sum(count // size if drop_last else -(-count // size) for count, size in pairs)


def _fitting(seconds: float, config: DataConfig) -> int:
    """How many cuts of that duration fit a batch; one at least."""
    by_size = config.batch_size or math.inf
    by_time = config.batch_duration / seconds if config.batch_duration and seconds else math.inf
    # Durations are decimal fractions: 10 cuts of 0.7 s do fit 7 s.
    return max(1, math.floor(min(by_size, by_time + 1e-9))) if min(by_size, by_time) < math.inf else 1


class EpochSampler(Sampler[tuple[int, list[Cut]]]):
    """(epoch, cuts) of each batch of one epoch after another; every rank gets its share of the batches.

    The order depends on the seed and the epoch alone. All ranks draw the same epoch and take every ``world_size``-th
    batch, so that each cut is used once and all ranks have the same number of batches.
    """

    def __init__(self, cuts: Sequence[Cut], config: DataConfig, *, rank: int = 0, world_size: int = 1) -> None:
        self.config = config
        self.rank, self.world_size = rank, world_size
        self.cuts = list(cuts) if config.shuffle else sorted(cuts, key=lambda cut: (-cut.duration, cut.id))
        self.buckets = Buckets.of(self.cuts, config) if config.shuffle else None
        self.epoch, self.skipped = 0, 0

    def seek(self, epoch: int, batches: int = 0) -> None:
        """The next iteration is ``epoch``, from its batch number ``batches`` on."""
        self.epoch, self.skipped = epoch, batches

    def __iter__(self) -> Iterator[tuple[int, list[Cut]]]:
        epoch, skipped = self.epoch, self.skipped
        self.seek(epoch + 1)
        batches = share(self._batches(epoch), self.rank, self.world_size, drop_last=self.config.drop_last)
        return ((epoch, batch) for batch in itertools.islice(batches, skipped, None))

    def __len__(self) -> int:
        """Batches of a whole epoch on this rank."""
        if self.buckets is None:
            total = sum(1 for _ in self._batches(0))
        else:
            total = self.buckets.count_batches(self.cuts, self.config.drop_last)
        return total // self.world_size if self.config.drop_last else -(-total // self.world_size)

    def _batches(self, epoch: int) -> Iterator[list[Cut]]:
        sampler = self._longest_first() if self.buckets is None else self._shuffled(epoch)
        return (list(batch) for batch in sampler)

    def _longest_first(self) -> DynamicCutSampler:
        cap = _LongestFirstConstraint(self.config.batch_duration, self.config.batch_size)
        return DynamicCutSampler(self.cuts, constraint=cap, drop_last=self.config.drop_last, rank=0, world_size=1)

    def _shuffled(self, epoch: int) -> DynamicBucketingSampler:
        rng = random.Random(f"{self.config.seed}/{epoch}")
        # A list rather than a CutSet: Lhotse warns of eager CutSets, and would shuffle within its buffer only.
        return DynamicBucketingSampler(
            rng.sample(self.cuts, len(self.cuts)),
            constraint=self.buckets.constraint(),
            duration_bins=self.buckets.bins,
            # With fewer, a moment may come when no bucket has a whole batch.
            buffer_size=max(_BUFFER, sum(self.buckets.batch_sizes)),
            shuffle=True,
            drop_last=self.config.drop_last,
            seed=rng.getrandbits(32),
            sync_buckets=False,
            rank=0,
            world_size=1,
        )


def share(batches: Iterator[list[Cut]], rank: int, world_size: int, *, drop_last: bool = False) -> Iterator[list[Cut]]:
    """Every ``world_size``-th batch from number ``rank`` on, the same number for each rank.

    When the batches do not come out even, the largest of the last ones are halved until they do (or, with
    ``drop_last``, the rest is left out). Only where single cuts remain are some of them given to two ranks.
    """
    held: list[list[Cut]] = []
    for batch in batches:
        held.append(batch)
        if len(held) == 2 * world_size:
            yield held[rank]
            del held[:world_size]
    if drop_last:
        del held[len(held) // world_size * world_size :]
    while len(held) % world_size:
        largest = max(range(len(held)), key=lambda place: len(held[place]))
        batch = held[largest]
        if len(batch) > 1:
            held[largest : largest + 1] = [batch[::2], batch[1::2]]
        else:
            held.append(held[len(held) % world_size - 1])
    yield from held[rank::world_size]
