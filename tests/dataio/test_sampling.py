"""Batches of cuts: every cut once, caps that hold, orders that the seed and the epoch decide."""

from __future__ import annotations

import random
from bisect import bisect_left

import pytest
from lhotse import AudioSource, MonoCut, Recording, SupervisionSegment

from toolkit.dataio import sampling
from toolkit.dataio.config import DataConfig
from toolkit.dataio.sampling import BucketSampler, LongestFirstSampler


def make_cuts(count: int, longest: float = 12.0) -> list[MonoCut]:
    """Cuts of skewed random durations, in tenths of a second."""
    rng = random.Random(7)
    durations = [round(0.5 + longest * rng.random() ** 2, 1) for _ in range(count)]
    return [make_cut(f"utt{number}", duration) for number, duration in enumerate(durations)]


def make_cut(name: str, duration: float) -> MonoCut:
    recording = Recording(name, [AudioSource("file", [0], "none.wav")], 16000, round(duration * 16000), duration)
    supervision = SupervisionSegment(name, name, 0.0, duration, text="A")
    return MonoCut(name, 0.0, duration, 0, [supervision], recording=recording)


def make_config(**values: object) -> DataConfig:
    given = {"manifest_filepath": "a", "batch_duration": 60, "num_buckets": 7} | values
    return DataConfig.from_hparams("train_data", given)


def ids(batches: list[list[MonoCut]]) -> list[list[str]]:
    return [[cut.id for cut in batch] for batch in batches]


def padded(batch: list[MonoCut]) -> float:
    return len(batch) * max(cut.duration for cut in batch)


@pytest.mark.parametrize("num_buckets", [1, 2, 7, 30, 1000])
@pytest.mark.parametrize("count", [1, 2, 40, 600])
def test_every_cut_once_an_epoch_within_the_cap(count: int, num_buckets: int) -> None:
    cuts = make_cuts(count)
    sampler = BucketSampler(cuts, make_config(num_buckets=num_buckets))
    for epoch in range(3):
        batches = sampler.batches(epoch)
        assert sorted(cut.id for batch in batches for cut in batch) == sorted(cut.id for cut in cuts)
        assert max(map(padded, batches)) <= 60 + 1e-6
        assert len(batches) == len(sampler) == sampler.count()


def test_buckets_pad_little_and_fill_batches() -> None:
    cuts = make_cuts(2000)
    batches = BucketSampler(cuts, make_config(num_buckets=30)).batches(0)
    total = sum(cut.duration for cut in cuts)
    assert sum(map(padded, batches)) < 1.06 * total
    assert total / len(batches) > 0.7 * 60


def test_the_order_is_of_the_seed_and_the_epoch() -> None:
    cuts = make_cuts(300)
    samplers = {seed: BucketSampler(cuts, make_config(seed=seed)) for seed in (0, 1)}
    order = {(seed, epoch): ids(samplers[seed].batches(epoch)) for seed in (0, 1) for epoch in (0, 1)}
    assert order[0, 0] == ids(BucketSampler(cuts, make_config(seed=0)).batches(0))
    assert len({str(batches) for batches in order.values()}) == 4
    # Not only the batches' places change: their members do.
    assert {frozenset(batch) for batch in order[0, 0]}.isdisjoint({frozenset(batch) for batch in order[0, 1]})


def test_short_and_long_batches_come_in_another_order_every_epoch() -> None:
    sampler = BucketSampler(make_cuts(600), make_config())
    bins = sampler.buckets.bins
    visited = [[bisect_left(bins, batch[0].duration) for batch in sampler.batches(epoch)] for epoch in (0, 1)]
    assert sorted(visited[0]) == sorted(visited[1])
    # By chance one in seven of the places agrees.
    assert sum(one == other for one, other in zip(*visited, strict=True)) < len(visited[0]) / 2


def test_a_batch_mixes_the_whole_data_set_even_beyond_lhotses_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "_BUFFER", 1)
    sampler = BucketSampler(make_cuts(3000), make_config(batch_duration=None, batch_size=5))
    spans = []
    for batch in sampler.batches(0):
        numbers = [int(cut.id[3:]) for cut in batch]
        spans.append(max(numbers) - min(numbers))
    # Five random numbers below 3000 span 2000 on average; neighbours in a buffer of 35 span less than 1000.
    assert sum(spans) / len(spans) > 1800


def test_ranks_share_the_cuts() -> None:
    cuts = make_cuts(203)
    samplers = [BucketSampler(cuts, make_config(), rank=rank, world_size=3) for rank in range(3)]
    parts = [[batch for _, batch in sampler] for sampler in samplers]
    assert [len(part) for part in parts] == [len(sampler) for sampler in samplers] == [len(parts[0])] * 3
    assert sorted(name for part in parts for batch in ids(part) for name in batch) == sorted(cut.id for cut in cuts)
    assert max(padded(batch) for part in parts for batch in part) <= 60 + 1e-6


def test_drop_last_keeps_full_batches_only() -> None:
    sampler = BucketSampler(make_cuts(300), make_config(batch_duration=None, batch_size=8, drop_last=True))
    batches = sampler.batches(0)
    assert {len(batch) for batch in batches} == {8}
    assert len(batches) == len(sampler)


def test_batch_size_and_duration_are_both_caps() -> None:
    batches = BucketSampler(make_cuts(300), make_config(batch_size=9)).batches(0)
    assert max(map(len, batches)) == 9
    assert max(map(padded, batches)) <= 60 + 1e-6


@pytest.mark.parametrize("kind", [BucketSampler, LongestFirstSampler])
def test_a_cut_beyond_the_cap_is_a_batch_of_its_own(kind: type) -> None:
    cuts = [*make_cuts(30), make_cut("long", 100.0)]
    batches = ids(kind(cuts, make_config(num_buckets=4)).batches(0))
    assert ["long"] in batches
    assert sum(map(len, batches)) == 31


def test_evaluation_is_longest_first_within_the_cap() -> None:
    cuts = make_cuts(300)
    sampler = LongestFirstSampler(cuts, make_config(batch_size=40))
    batches = sampler.batches(0)
    durations = [cut.duration for batch in batches for cut in batch]
    assert durations == sorted((cut.duration for cut in cuts), reverse=True)
    assert max(map(padded, batches)) <= 60 + 1e-6
    assert max(map(len, batches)) == 40
    # As full as they can be: no batch had room for the first cut of the next.
    assert all(len(batch) == 40 or (len(batch) + 1) * batch[0].duration > 60 for batch in batches[:-1])
    assert ids(sampler.batches(1)) == ids(batches)
    assert len(sampler) == len(batches)
