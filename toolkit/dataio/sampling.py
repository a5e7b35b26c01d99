"""Samplers: the plan of each epoch, batch after batch, from any batch on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from lhotse.dataset.sampling.base import SamplingConstraint

from toolkit.dataio.bins import duration_bins
from toolkit.dataio.buckets import Buckets, Caps, Unsorted
from toolkit.dataio.capped_constraints import CappedTimeConstraint
from toolkit.dataio.config import DataConfig
from toolkit.dataio.draws import EveryExample, WeightedBlend
from toolkit.dataio.epochs import EpochSampler
from toolkit.dataio.indexed import Concatenated, Indexed
from toolkit.dataio.multimodal_sampling import (
    FixedBucketBatchSizeConstraint2D,
    MultimodalFixedBucketBatchSizeConstraint2D,
    MultimodalSamplingConstraint,
)
from toolkit.dataio.plan import Draw, Plan, plan_batches, plan_longest_first


class BucketSampler(EpochSampler):
    """Training: random examples of similar length, or any, make a batch, and batches come in random order.

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
        self, draw: Callable[[int], Draw], buckets: Buckets | Unsorted, *, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__()
        self.draw, self.buckets, self.seed = draw, buckets, seed
        self.rank, self.world_size = rank, world_size

    @classmethod
    def of(cls, source: Indexed, config: DataConfig, *, rank: int = 0, world_size: int = 1) -> BucketSampler:
        """The sampler of all examples of a source, once an epoch; the configuration's ``seed`` is a number."""
        draw = EveryExample(len(source), seed=config.seed, pieces=source.pieces)
        return cls(draw, _buckets(source.lengths, config), seed=config.seed, rank=rank, world_size=world_size)

    @classmethod
    def of_blend(
        cls,
        source: Concatenated,
        weights: Sequence[float],
        config: DataConfig,
        *,
        rank: int = 0,
        world_size: int = 1,
        examples: int | None = None,
    ) -> BucketSampler:
        """The sampler of a blend of the parts of ``source`` by weight; an epoch is as many examples as they have.

        The configuration's ``seed`` is a number.
        """
        counts = [len(part) for part in source.sources]
        draw = WeightedBlend(counts, weights, examples or len(source), seed=config.seed, pieces=source.pieces)
        seen = np.repeat(np.divide(weights, counts), counts)
        return cls(draw, _buckets(source.lengths, config, seen), seed=config.seed, rank=rank, world_size=world_size)

    def plan(self, epoch: int) -> Plan:
        """Batches of an epoch on this rank."""
        seed = (self.seed, epoch)
        return plan_batches(self.draw(epoch), self.buckets, seed, rank=self.rank, world_size=self.world_size)


class LongestFirstSampler(EpochSampler):
    """Evaluation: from the longest to the shortest, which pads least and shows at once whether memory suffices.

    Parameters
    ----------
    lengths
        (N,) of all examples.
    batches
        What a batch may hold; or buckets, whose batches have sizes of their own.
    drop_last
        Leave out the last batch where it is not full.
    rank, world_size
        The place of this process among those that share the examples.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        batches: Caps | Buckets,
        *,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__()
        self.lengths, self.caps = lengths, batches
        self.options = {"drop_last": drop_last, "rank": rank, "world_size": world_size}

    def plan(self, epoch: int) -> Plan:  # noqa: ARG002 (all epochs are the same)
        """All examples, or the rank's share of them."""
        return plan_longest_first(self.lengths, self.caps, **self.options)


def planned_sampler(
    sources: Sequence[Indexed],
    weights: Sequence[float] | None,
    config: DataConfig,
    *,
    rank: int = 0,
    world_size: int = 1,
    endless: bool = False,
) -> tuple[Indexed, EpochSampler]:
    """All examples of the sources, and the sampler of their batches that the configuration asks for.

    Parameters
    ----------
    sources
        Whose lengths are in the unit that batches are measured in.
    weights
        Of a blend for ever, which is drawn at random whatever ``shuffle`` says; None of sources that each epoch has
        once.
    endless
        Whether an iterator never ends.
    """
    source = sources[0] if len(sources) == 1 else Concatenated(sources)
    place = {"rank": rank, "world_size": world_size}
    if not config.shuffle and (weights is None or len(sources) == 1):
        batches = _buckets(source.lengths, config) if config.bucket_batch_size is not None else caps_of(config)
        batches = caps_of(config) if isinstance(batches, Unsorted) else batches
        sampler = LongestFirstSampler(source.lengths, batches, drop_last=config.drop_last, **place)
    elif weights is None:
        sampler = BucketSampler.of(source, config, **place)
    else:
        source = Concatenated(sources)
        examples = max(len(source), _ENDLESS_EPOCH) if endless else None
        sampler = BucketSampler.of_blend(source, weights, config, examples=examples, **place)
    sampler.endless = endless
    return source, sampler


# Examples that are planned together, at least: what never ends needs few batches that are not full.
_ENDLESS_EPOCH = 10_000


def constraint_of(config: DataConfig) -> SamplingConstraint:
    """What a configuration says of the size of a batch, for Lhotse's samplers and to measure examples with."""
    tokens = {"token_equivalent_duration": config.token_equivalent_duration}
    tokens["measure_total_length"] = config.measure_total_length
    if config.use_bucketing and config.bucket_batch_size is not None:
        ends, sizes = config.bucket_duration_bins, config.bucket_batch_size
        if config.use_multimodal_sampling:
            strict = config.bucketing_2d_strict_mode
            return MultimodalFixedBucketBatchSizeConstraint2D(ends, sizes, strict_2d=strict, **tokens)
        return FixedBucketBatchSizeConstraint2D(ends, sizes, strict_2d=config.bucketing_2d_strict_mode)
    caps = caps_of(config)
    if config.use_multimodal_sampling:
        options = {"batch_tokens": caps.duration, "batch_size": caps.size, "quadratic_factor": caps.quadratic}
        return MultimodalSamplingConstraint(**options, **tokens)
    return CappedTimeConstraint(caps.duration, caps.size, caps.quadratic)


def caps_of(config: DataConfig) -> Caps:
    """What a configuration says of the size of a batch: in tokens with ``use_multimodal_sampling``, else in seconds."""
    if config.use_multimodal_sampling:
        return Caps(config.batch_tokens, config.batch_size, config.quadratic_factor)
    return Caps(config.batch_duration, config.batch_size, config.quadratic_duration)


def _buckets(lengths: np.ndarray, config: DataConfig, weights: np.ndarray | None = None) -> Buckets | Unsorted:
    """Buckets as the configuration has them, or else so many that pad least."""
    if not config.use_bucketing:
        return Unsorted(lengths, caps_of(config), drop_last=config.drop_last)
    ends, sizes = config.bucket_duration_bins, config.bucket_batch_size
    if ends is None:
        ends = duration_bins(lengths, config.num_buckets, weights)
    elif np.ndim(ends) > 1:  # lengths are the numbers of their pairs, none of which is within another
        buckets = Buckets.of_sizes(lengths, range(len(ends)), sizes, drop_last=config.drop_last)
        return replace(buckets, nested=False)
    if sizes is None:
        return Buckets.by_length(lengths, caps_of(config), ends, drop_last=config.drop_last)
    return Buckets.of_sizes(lengths, ends, sizes, drop_last=config.drop_last)
