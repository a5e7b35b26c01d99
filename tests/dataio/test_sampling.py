"""Samplers: every example once, caps that hold, orders that the seed and the epoch decide, entered anywhere."""

from __future__ import annotations

import random

import numpy as np
import pytest
from lhotse import MonoCut
from lhotse.dataset.sampling.base import TimeConstraint

from toolkit.dataio.config import DataConfig
from toolkit.dataio.indexed import Concatenated, Listed
from toolkit.dataio.sampling import BucketSampler, LongestFirstSampler, caps_of
from toolkit.errors import ConfigError


def make_source(count: int, longest: float = 12.0) -> Listed[float]:
    """Examples that are their own length: skewed random durations, in tenths of a second."""
    rng = random.Random(7)
    return Listed([round(0.5 + longest * rng.random() ** 2, 1) for _ in range(count)], float)


def make_config(**values: object) -> DataConfig:
    given = {"manifest_filepath": "a", "batch_duration": 60, "num_buckets": 7} | values
    return DataConfig.from_hparams("train_data", given)


def drawn(sampler: BucketSampler | LongestFirstSampler, epoch: int) -> list[list[int]]:
    sampler.seek(epoch)
    epochs, batches = zip(*sampler, strict=True)
    assert set(epochs) == {epoch}
    assert len(batches) == len(sampler)
    return list(batches)


def padded(source: Listed[float], batch: list[int]) -> float:
    return len(batch) * source.lengths[batch].max()


@pytest.mark.parametrize("num_buckets", [1, 2, 7, 30, 1000])
@pytest.mark.parametrize("count", [1, 2, 40, 600])
def test_every_example_once_an_epoch_within_the_cap(count: int, num_buckets: int) -> None:
    source = make_source(count)
    sampler = BucketSampler.of(source, make_config(num_buckets=num_buckets))
    lengths = set()
    for epoch in range(3):
        batches = drawn(sampler, epoch)
        assert sorted(number for batch in batches for number in batch) == list(range(count))
        assert max(padded(source, batch) for batch in batches) <= 60 + 1e-6
        lengths.add(len(batches))
    assert len(lengths) == 1


def test_buckets_pad_little_and_fill_batches() -> None:
    source = make_source(2000)
    batches = drawn(BucketSampler.of(source, make_config(num_buckets=30)), 0)
    total = source.lengths.sum()
    assert sum(padded(source, batch) for batch in batches) < 1.04 * total
    assert total / len(batches) > 0.9 * 60


def test_the_order_is_of_the_seed_and_the_epoch() -> None:
    source = make_source(300)
    samplers = {seed: BucketSampler.of(source, make_config(seed=seed)) for seed in (0, 1)}
    order = {(seed, epoch): drawn(samplers[seed], epoch) for seed in (0, 1) for epoch in (0, 1)}
    assert order[0, 0] == drawn(BucketSampler.of(source, make_config(seed=0)), 0)
    assert len({str(batches) for batches in order.values()}) == 4
    # Not only the batches' places change: their members do.
    assert {frozenset(batch) for batch in order[0, 0]}.isdisjoint({frozenset(batch) for batch in order[0, 1]})


def test_short_and_long_batches_come_in_another_order_every_epoch() -> None:
    source = make_source(600)
    sampler = BucketSampler.of(source, make_config())
    visited = [[int(sampler.buckets.numbers[batch].min()) for batch in drawn(sampler, epoch)] for epoch in (0, 1)]
    assert sorted(visited[0]) == sorted(visited[1])
    # By chance one in seven of the places agrees.
    assert sum(one == other for one, other in zip(*visited, strict=True)) < len(visited[0]) / 2


def test_a_batch_mixes_the_whole_data_set() -> None:
    sampler = BucketSampler.of(make_source(3000), make_config(batch_duration=None, batch_size=5))
    # Five random numbers below 3000 span 2000 on average.
    assert np.mean([max(batch) - min(batch) for batch in drawn(sampler, 0)]) > 1800


def test_ranks_share_the_examples() -> None:
    source = make_source(203)
    samplers = [BucketSampler.of(source, make_config(), rank=rank, world_size=3) for rank in range(3)]
    parts = [drawn(sampler, 0) for sampler in samplers]
    assert len({len(part) for part in parts}) == 1
    assert sorted(number for part in parts for batch in part for number in batch) == list(range(203))
    assert max(padded(source, batch) for part in parts for batch in part) <= 60 + 1e-6


def test_drop_last_keeps_full_batches_only() -> None:
    sampler = BucketSampler.of(make_source(300), make_config(batch_duration=None, batch_size=8, drop_last=True))
    assert {len(batch) for batch in drawn(sampler, 0)} == {8}


def test_batch_size_and_duration_are_both_caps() -> None:
    source = make_source(300)
    batches = drawn(BucketSampler.of(source, make_config(batch_size=9)), 0)
    assert max(map(len, batches)) == 9
    assert max(padded(source, batch) for batch in batches) <= 60 + 1e-6


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_example_beyond_the_cap_is_a_batch_of_its_own(shuffle: bool) -> None:
    source = Listed([*make_source(30), 100.0], float)
    config = make_config(num_buckets=4)
    sampler = BucketSampler.of(source, config) if shuffle else LongestFirstSampler(source.lengths, caps_of(config))
    batches = drawn(sampler, 0)
    assert [30] in batches
    assert sum(map(len, batches)) == 31


def test_evaluation_is_longest_first_and_every_epoch_the_same() -> None:
    source = make_source(300)
    sampler = LongestFirstSampler(source.lengths, caps_of(make_config(batch_size=40)))
    batches = drawn(sampler, 0)
    durations = [source[number] for batch in batches for number in batch]
    assert durations == sorted(source, reverse=True)
    assert drawn(sampler, 1) == batches


def test_attention_counts_long_examples_more() -> None:
    source = make_source(300)
    batches = drawn(BucketSampler.of(source, make_config(quadratic_duration=10)), 0)
    constraint = TimeConstraint(max_duration=60, quadratic_duration=10)
    for batch in batches:
        cuts = [MonoCut(str(number), 0.0, source[number], 0) for number in batch]
        constraint.reset()
        for cut in cuts:
            constraint.add(cut)
        assert not constraint.exceeded()


def test_bins_and_batch_sizes_of_the_configuration() -> None:
    source, ends, sizes = make_source(300), [2.0, 6.0, 12.5], [20, 8, 3]
    config = make_config(batch_duration=None, bucket_duration_bins=ends, bucket_batch_size=sizes)
    for batch in drawn(BucketSampler.of(source, config), 0):
        longest = max(source[number] for number in batch)
        assert len(batch) <= next(size for end, size in zip(ends, sizes, strict=True) if longest <= end)
    bins = BucketSampler.of(source, make_config(bucket_duration_bins=[2.0, 6.0])).buckets.numbers
    assert bins.tolist() == [2 - np.searchsorted([2.0, 6.0], length) for length in source]
    short = make_config(batch_duration=None, bucket_duration_bins=[2.0, 6.0], bucket_batch_size=[20, 8])
    beyond = sum(length > 6 for length in source)
    with pytest.raises(ConfigError, match=f"{beyond} of 300 examples are longer than the last, 6"):
        BucketSampler.of(source, short)
    with pytest.raises(ConfigError, match="bucket_duration_bins: pairs are of two lengths"):
        make_config(bucket_duration_bins=[[2.0, 10], [6.0, 20]])


def test_a_blend_is_planned_too() -> None:
    source = Concatenated([make_source(200), make_source(40, longest=3.0)])
    samplers = [BucketSampler.of_blend(source, [0.7, 0.3], make_config(), rank=rank, world_size=2) for rank in (0, 1)]
    for epoch in range(3):
        parts = [drawn(sampler, epoch) for sampler in samplers]
        assert len(parts[0]) == len(parts[1])
        assert max(padded(source, batch) for part in parts for batch in part) <= 60 + 1e-6
        seen = np.bincount([number for part in parts for batch in part for number in batch], minlength=240)
        assert abs(seen[:200].sum() - 0.7 * 240) <= 1
        assert abs(seen[200:].sum() - 0.3 * 240) <= 1
        assert seen[:200].max() <= 2
    whole = drawn(samplers[0], 2)
    samplers[0].seek(2, batches=3)
    assert [batch for _, batch in samplers[0]] == whole[3:]


def test_pieces_of_storage_are_read_together() -> None:
    source = make_source(3000)
    source.pieces = np.arange(3000) // 10
    batches = drawn(BucketSampler.of(source, make_config(batch_duration=None, batch_size=10)), 0)
    pieces = [{int(source.pieces[number]) for number in batch} for batch in batches]
    early, late = set().union(*pieces[: len(pieces) // 2]), set().union(*pieces[len(pieces) // 2 :])
    assert len(early & late) <= 300 // 9 + 2  # of nine windows, one lies in both halves


def test_an_epoch_is_entered_anywhere() -> None:
    sampler = BucketSampler.of(make_source(300), make_config())
    whole = drawn(sampler, 4)
    sampler.seek(4, batches=5)
    assert [batch for _, batch in sampler] == whole[5:]
    assert len(sampler) == len(whole)
