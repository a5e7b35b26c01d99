"""Samplers: the plan of each epoch, batch after batch, from any batch on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from toolkit.dataio.bins import duration_bins
from toolkit.dataio.config import DataConfig
from toolkit.dataio.draws import EveryExample
from toolkit.dataio.epochs import EpochSampler
from toolkit.dataio.indexed import Indexed
from toolkit.dataio.plan import Buckets, Caps, Draw, Plan, plan_batches, plan_longest_first


class BucketSampler(EpochSampler):
    """Training: random examples of similar length make a batch, and batches come in random order.

    Parameters
    ----------
    draw
        From an epoch to its examples: :class:`~toolkit.dataio.draws.EveryExample` or
        :class:`~toolkit.dataio.draws.WeightedBlend`.
    buckets
        Which examples may share a batch.
    seed
        With the epoch, decides which do, and their order.
    rank, world_size
        The place of this process among those that share the examples.
    """

    def __init__(
        self, draw: Callable[[int], Draw], buckets: Buckets, *, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__()
        self.draw, self.buckets, self.seed = draw, buckets, seed
        self.rank, self.world_size = rank, world_size

    @classmethod
    def of(cls, source: Indexed, config: DataConfig, *, rank: int = 0, world_size: int = 1) -> BucketSampler:
        """The sampler of all examples of a source, once an epoch."""
        caps = caps_of(config)
        ends = duration_bins(caps.effective(source.lengths), config.num_buckets)
        buckets = Buckets.by_length(source.lengths, caps, ends, drop_last=config.drop_last)
        draw = EveryExample(len(source), seed=config.seed, pieces=source.pieces)
        return cls(draw, buckets, seed=config.seed, rank=rank, world_size=world_size)

    def plan(self, epoch: int) -> Plan:
        """Batches of an epoch on this rank."""
        seed = (self.seed, epoch)
        return plan_batches(self.draw(epoch), self.buckets, seed, rank=self.rank, world_size=self.world_size)


class LongestFirstSampler(EpochSampler):
    """Evaluation: from the longest to the shortest, which pads least and shows at once whether memory suffices."""

    def __init__(self, lengths: np.ndarray, caps: Caps, *, drop_last: bool = False) -> None:
        super().__init__()
        self.lengths, self.caps, self.drop_last = lengths, caps, drop_last

    def plan(self, epoch: int) -> Plan:  # noqa: ARG002 (all epochs are the same)
        """All examples."""
        return plan_longest_first(self.lengths, self.caps, drop_last=self.drop_last)


def caps_of(config: DataConfig) -> Caps:
    """What a configuration says of the size of a batch."""
    return Caps(config.batch_duration, config.batch_size)
