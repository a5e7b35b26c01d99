"""The plan of an epoch, against a slow one in plain Python and against what it promises."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.dataio.bins import duration_bins
from toolkit.dataio.buckets import Buckets, Caps
from toolkit.dataio.draws import EveryExample
from toolkit.dataio.plan import Draw, Plan, plan_batches, plan_longest_first

LENGTHS = st.lists(st.integers(1, 90).map(lambda tenths: tenths / 10), min_size=1, max_size=80).map(np.array)
CAPS = st.builds(
    Caps,
    duration=st.one_of(st.none(), st.integers(5, 60).map(float)),
    size=st.integers(1, 9),
    quadratic=st.one_of(st.none(), st.just(5.0)),
)


def make_buckets(lengths: np.ndarray, caps: Caps, count: int = 4, *, drop_last: bool = False) -> Buckets:
    ends = duration_bins(lengths, count)
    return Buckets.by_length(lengths, caps, ends, drop_last=drop_last)


def assert_within(caps: Caps, lengths: np.ndarray, batches: Plan) -> None:
    for batch in batches:
        longest = float(lengths[batch].max())
        cost = longest if caps.quadratic is None else longest + longest**2 / caps.quadratic
        if len(batch) > 1:  # an example that is longer than the cap is a batch of its own
            assert caps.duration is None or len(batch) * cost <= caps.duration * (1 + 1e-9)
        assert 1 <= len(batch) <= caps.size


def slow_batches(numbers: list[int], buckets: Buckets) -> list[list[int]]:
    """One rank's batches in order of their buckets: every rule in its own words."""
    batches: list[list[int]] = []
    capacity = 0
    for bucket in range(len(buckets.sizes)):
        for number in numbers:
            if buckets.numbers[number] != bucket:
                continue
            first_of_bucket = not buckets.nested and batches and buckets.numbers[batches[-1][0]] != bucket
            if not batches or len(batches[-1]) == capacity or first_of_bucket:
                batches.append([])
                capacity = int(buckets.sizes[bucket])
            batches[-1].append(number)
    full = [len(batch) == buckets.sizes[buckets.numbers[batch[0]]] for batch in batches]
    return [batch for batch, whole in zip(batches, full, strict=True) if whole or not buckets.drop_last]


@given(LENGTHS, CAPS, st.integers(1, 6), st.booleans(), st.booleans())
def test_one_rank_has_the_batches_of_the_slow_plan(
    lengths: np.ndarray, caps: Caps, count: int, drop_last: bool, nested: bool
) -> None:
    by_length = make_buckets(lengths, caps, count, drop_last=drop_last)
    buckets = Buckets(by_length.numbers, by_length.sizes, nested, drop_last)
    draw = EveryExample(len(lengths), seed=1)(0)
    plan = plan_batches(draw, buckets, (1, 0))
    expected = slow_batches(draw.numbers.tolist(), buckets)
    assert sorted(batch.tolist() for batch in plan) == sorted(expected)
    assert_within(caps, lengths, plan)


@given(LENGTHS, CAPS, st.integers(1, 5), st.integers(1, 12), st.integers(1, 9))
def test_ranks_see_everything_once_in_as_many_batches(
    lengths: np.ndarray, caps: Caps, count: int, world_size: int, windows: int
) -> None:
    buckets = make_buckets(lengths, caps, count)
    draw = Draw(EveryExample(len(lengths), seed=3)(2).numbers, windows)
    plans = [plan_batches(draw, buckets, (3, 2), rank=rank, world_size=world_size) for rank in range(world_size)]
    assert len({len(plan) for plan in plans}) == 1
    assert len(plans[0]) > 0
    for plan in plans:
        assert_within(caps, lengths, plan)
    seen = Counter(number for plan in plans for batch in plan for number in batch.tolist())
    assert set(seen) == set(range(len(lengths)))
    if max(seen.values()) > 1:  # only where some rank has nothing but single examples
        assert any(all(len(batch) == 1 for batch in plan) for plan in plans)


@given(LENGTHS, CAPS, st.integers(1, 6), st.integers(1, 9))
def test_dropping_the_last_keeps_full_batches_only(
    lengths: np.ndarray, caps: Caps, world_size: int, windows: int
) -> None:
    buckets = make_buckets(lengths, caps, drop_last=True)
    draw = Draw(EveryExample(len(lengths), seed=3)(2).numbers, windows)
    plans = [plan_batches(draw, buckets, (3, 2), rank=rank, world_size=world_size) for rank in range(world_size)]
    assert len({len(plan) for plan in plans}) == 1
    batches = [batch for plan in plans for batch in plan]
    for batch in batches:
        assert len(batch) == buckets.sizes[buckets.numbers[batch].min()]
    seen = [number for batch in batches for number in batch.tolist()]
    assert len(seen) == len(set(seen)) or len(lengths) < world_size


@given(
    st.lists(st.lists(st.integers(0, 20), min_size=3, max_size=3), min_size=1, max_size=5).map(np.array),
    st.lists(st.integers(1, 5), min_size=3, max_size=3).map(np.array),
    st.booleans(),
    st.booleans(),
)
def test_batches_are_counted_as_they_are_made(
    counts: np.ndarray, sizes: np.ndarray, nested: bool, drop_last: bool
) -> None:
    for row, counted in zip(counts, Buckets(np.empty(0), sizes, nested, drop_last).count_batches(counts), strict=True):
        buckets = Buckets(np.repeat(np.arange(3), row), sizes, nested, drop_last)
        assert counted == len(slow_batches(list(range(row.sum())), buckets))


@given(LENGTHS, CAPS, st.booleans())
def test_evaluation_is_longest_first_and_as_full_as_can_be(lengths: np.ndarray, caps: Caps, drop_last: bool) -> None:
    plan = plan_longest_first(lengths, caps, drop_last=drop_last)
    assert_within(caps, lengths, plan)
    seen = [number for batch in plan for number in batch.tolist()]
    expected = sorted(range(len(lengths)), key=lambda number: (-lengths[number], number))
    assert seen == expected[: len(seen)]
    full = [caps.fitting(lengths[batch[:1]])[0] for batch in plan]
    assert drop_last or len(seen) == len(lengths)
    assert [len(batch) for batch in plan][: None if drop_last else -1] == full[: None if drop_last else -1]


def test_fitting_is_exact() -> None:
    assert Caps(duration=7.0).fitting(np.array([0.7, 0.70001, 7.0, 8.0, 0.0])).tolist() == [10, 9, 1, 1, 1]
    assert Caps(duration=100.0, size=4).fitting(np.array([1.0, 50.0])).tolist() == [4, 2]
    assert Caps(size=4).fitting(np.array([0.0, 5.0])).tolist() == [4, 4]
    quadratic = Caps(duration=100.0, quadratic=20.0)
    assert quadratic.effective(np.array([10.0, 20.0])).tolist() == [15.0, 40.0]  # as Lhotse: d + d² / 20
    assert quadratic.fitting(np.array([10.0, 20.0])).tolist() == [6, 2]


def test_nothing_planned_of_nothing() -> None:
    buckets = make_buckets(np.array([1.0]), Caps(size=2))
    assert len(plan_batches(Draw(np.empty(0, np.int64)), buckets, (0, 0), world_size=2)) == 0


def libri_like(count: int) -> np.ndarray:
    """Seconds as in LibriSpeech: two thirds between 11 and 17, mean 12.4."""
    rng = np.random.default_rng(0)
    long, short = rng.normal(14.2, 1.3, count), rng.uniform(1.3, 16.5, count)
    return np.where(rng.random(count) < 0.66, long, short).clip(1.2, 24.5).round(2)


def test_thirty_buckets_pad_by_less_than_1_8_percent() -> None:
    lengths, caps = libri_like(40_000), Caps(duration=300.0)
    for world_size, limit in ((1, 0.018), (4, 0.02)):
        draw = EveryExample(len(lengths), seed=1)(0)
        plans = [
            plan_batches(draw, make_buckets(lengths, caps, 30), (1, 0), rank=rank, world_size=world_size)
            for rank in range(world_size)
        ]
        padded = sum(len(batch) * lengths[batch].max() for plan in plans for batch in plan)
        assert padded / lengths.sum() - 1 < limit
        assert lengths.sum() / sum(map(len, plans)) > 0.92 * 300


def test_the_ranks_of_a_step_have_batches_of_about_the_same_length() -> None:
    lengths, caps = libri_like(20_000), Caps(size=10)
    buckets, draw = make_buckets(lengths, caps, 10), EveryExample(20_000, seed=1)(0)
    plans = [plan_batches(draw, buckets, (1, 0), rank=rank, world_size=4) for rank in range(4)]
    steps = np.array([[lengths[batch].mean() for batch in plan] for plan in plans])
    assert np.corrcoef(steps)[0, 1:].min() > 0.95
    assert abs(np.corrcoef(steps[0, :-1], steps[0, 1:])[0, 1]) < 0.15  # while step after step they are not


def test_windows_follow_each_other_and_are_mixed_inside() -> None:
    lengths = libri_like(4000)
    buckets = make_buckets(lengths, Caps(size=10))
    draw = Draw(np.arange(4000), windows=8)  # the window of an example is its number // 500
    for rank, batches in enumerate(plan_batches(draw, buckets, (1, 0), rank=one, world_size=2) for one in (0, 1)):
        windows = [{number // 500 for number in batch.tolist()} for batch in batches]
        assert all(len(window) == 1 for window in windows)
        assert [min(one) for one in windows] == sorted(min(one) for one in windows)
        assert {min(one) for one in windows} == set(range(rank, 8, 2))
        spans = [int(batch.max() - batch.min()) for batch in batches if len(batch) == 10]
        assert np.mean(spans) > 300  # of ten random numbers below 500: 409


def test_batches_and_their_members_change_with_seed_epoch_and_nothing_else() -> None:
    lengths = libri_like(600)
    buckets = make_buckets(lengths, Caps(size=6))

    def batches(seed: int, epoch: int) -> list[list[int]]:
        draw = EveryExample(600, seed=seed)(epoch)
        return [batch.tolist() for batch in plan_batches(draw, buckets, (seed, epoch))]

    assert batches(1, 0) == batches(1, 0)
    for other in (batches(1, 1), batches(2, 0), batches(-1, 0)):
        shared = {frozenset(batch) for batch in batches(1, 0)} & {frozenset(batch) for batch in other}
        assert len(shared) <= 1
    mean = [lengths[batch].mean() for batch in batches(1, 0)]
    assert abs(np.corrcoef(mean[:-1], mean[1:])[0, 1]) < 0.3  # short and long batches alternate at random


def test_the_plan_is_the_same_in_any_process() -> None:
    script = """
import numpy as np
from toolkit.dataio.buckets import Buckets
from toolkit.dataio.draws import EveryExample
from toolkit.dataio.plan import plan_batches
buckets = Buckets(np.arange(50) % 3, np.array([4, 5, 6]))
plan = plan_batches(EveryExample(50, seed=7)(3), buckets, (7, 3), rank=1, world_size=2)
print([batch.tolist() for batch in plan])
"""
    buckets = Buckets(np.arange(50) % 3, np.array([4, 5, 6]))
    plan = plan_batches(EveryExample(50, seed=7)(3), buckets, (7, 3), rank=1, world_size=2)
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str([batch.tolist() for batch in plan])


@pytest.mark.parametrize("world_size", [1, 4])
def test_epochs_of_a_million_examples_are_planned_at_once(world_size: int) -> None:
    lengths = libri_like(1_000_000)
    buckets = make_buckets(lengths, Caps(duration=300.0), 30)
    began = time.process_time()
    plan_batches(EveryExample(len(lengths), seed=1)(0), buckets, (1, 0), world_size=world_size)
    assert time.process_time() - began < 1.0  # 0.1 s on a quiet machine
