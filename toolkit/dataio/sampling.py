"""Which cuts make a batch: Lhotse's samplers, with a cap that holds and an order that the epoch's number decides."""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from lhotse.cut import Cut
from lhotse.dataset import DynamicBucketingSampler, DynamicCutSampler
from lhotse.dataset.sampling.base import TimeConstraint
from lhotse.dataset.sampling.dynamic_bucketing import FixedBucketBatchSizeConstraint, estimate_duration_buckets

from toolkit.dataio.config import DataConfig
from toolkit.dataio.epochs import EpochSampler

# How many cuts wait in the buckets of a shuffling sampler; all of a smaller data set.
_BUFFER = 20000


@dataclass(frozen=True)
class Buckets:
    """Ranges of duration, and how many cuts of each fit a batch.

    Lhotse's time constraint stops after the cut that *probably* fills the batch, and overshoots by a third at times. A
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

    def count_batches(self, cuts: Sequence[Cut], *, drop_last: bool) -> int:
        """How many batches the cuts make."""
        counts = [0] * len(self.batch_sizes)
        for cut in cuts:
            counts[bisect_left(self.bins, cut.duration)] += 1
        pairs = zip(counts, self.batch_sizes, strict=True)
        return sum(count // size if drop_last else -(-count // size) for count, size in pairs)


def _fitting(seconds: float, config: DataConfig) -> int:
    """How many cuts of that duration fit a batch; at least one."""
    by_size = config.batch_size or math.inf
    # Durations are decimal fractions: 10 cuts of 0.7 s do fit 7 s.
    by_time = config.batch_duration / seconds + 1e-9 if config.batch_duration and seconds else math.inf
    limit = min(by_size, by_time)
    return max(1, math.floor(limit)) if limit < math.inf else 1


class BucketSampler(EpochSampler):
    """Training: random cuts of similar duration make a batch."""

    def __init__(self, cuts: Sequence[Cut], config: DataConfig, *, rank: int = 0, world_size: int = 1) -> None:
        super().__init__(rank=rank, world_size=world_size, drop_last=config.drop_last)
        self.cuts = list(cuts)
        self.seed = config.seed
        self.buckets = Buckets.of(self.cuts, config)

    def count(self) -> int:
        """How many batches any epoch has, of all ranks together."""
        return self.buckets.count_batches(self.cuts, drop_last=self.drop_last)

    def batches(self, epoch: int) -> list[list[Cut]]:
        """The epoch's batches, in random order."""
        rng = random.Random(f"{self.seed}/{epoch}")
        sampler = DynamicBucketingSampler(
            # A list rather than a CutSet: of eager CutSets Lhotse warns, and it would shuffle in its buffer only.
            rng.sample(self.cuts, len(self.cuts)),
            constraint=self.buckets.constraint(),
            duration_bins=self.buckets.bins,
            # With fewer, a moment may come when no bucket holds a whole batch.
            buffer_size=max(_BUFFER, sum(self.buckets.batch_sizes)),
            shuffle=True,
            drop_last=self.drop_last,
            seed=rng.getrandbits(32),
            # With False, Lhotse 1.33 takes empty buckets for filled ones and ends the epoch before its last batches.
            sync_buckets=True,
            rank=0,
            world_size=1,
        )
        batches = [list(batch) for batch in sampler]
        # Lhotse visits the buckets in the same order in every epoch, and leaves small batches for the end.
        rng.shuffle(batches)
        return batches


class LongestFirstSampler(EpochSampler):
    """Evaluation: from the longest cut to the shortest, which pads least and shows at once whether memory suffices."""

    def __init__(self, cuts: Sequence[Cut], config: DataConfig) -> None:
        super().__init__(drop_last=config.drop_last)
        self.cuts = sorted(cuts, key=lambda cut: (-cut.duration, cut.id))
        self.cap = _LongestFirstConstraint(config.batch_duration, config.batch_size)

    def batches(self, epoch: int) -> list[list[Cut]]:  # noqa: ARG002 (all epochs are the same)
        """All cuts."""
        cap = self.cap.copy()
        sampler = DynamicCutSampler(self.cuts, constraint=cap, drop_last=self.drop_last, rank=0, world_size=1)
        return [list(batch) for batch in sampler]


class _LongestFirstConstraint(TimeConstraint):
    """A cap on seconds with padding, exact when the longest cut comes first.

    A cut that is longer than the cap is a batch of its own, without Lhotse's warning.
    """

    def exceeded(self) -> bool:
        return self.num_cuts > 1 and super().exceeded()
