"""What an epoch consists of: every example once, or shares of a blend."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.dataio.draws import EveryExample, WeightedBlend
from toolkit.errors import ConfigError


@given(st.integers(0, 60), st.integers(-5, 5), st.integers(0, 3))
def test_every_example_once(count: int, seed: int, epoch: int) -> None:
    draw = EveryExample(count, seed=seed)(epoch)
    assert sorted(draw.numbers.tolist()) == list(range(count))
    assert draw.windows == 1


def test_pieces_stay_together_in_random_order() -> None:
    pieces = np.repeat(np.arange(100), 20)
    draws = [EveryExample(2000, seed=1, pieces=pieces)(epoch) for epoch in (0, 1)]
    assert [draw.windows for draw in draws] == [3, 3]  # of 32 pieces and more
    visited = [pieces[draw.numbers][::20] for draw in draws]
    for draw, order in zip(draws, visited, strict=True):
        assert sorted(draw.numbers.tolist()) == list(range(2000))
        assert (pieces[draw.numbers] == np.repeat(order, 20)).all()
        assert abs(np.corrcoef(order, np.arange(100))[0, 1]) < 0.3
        assert (np.diff(draw.numbers.reshape(100, 20)) < 0).mean() > 0.4  # and shuffled in each
    assert (visited[0] == visited[1]).mean() < 0.1


COUNTS = st.lists(st.integers(1, 30), min_size=1, max_size=4)


@given(COUNTS, st.data(), st.integers(1, 50), st.booleans())
def test_shares_hold_and_passes_are_whole(counts: list[int], data: st.DataObject, examples: int, tarred: bool) -> None:
    weights = data.draw(st.lists(st.integers(1, 9), min_size=len(counts), max_size=len(counts)))
    pieces = np.arange(sum(counts)) // 3 if tarred else None
    blend = WeightedBlend(counts, weights, examples, seed=1, pieces=pieces)
    firsts = np.cumsum([0, *counts])
    streams: list[list[int]] = [[] for _ in counts]
    for epoch in range(6):
        numbers = blend(epoch).numbers
        assert abs(len(numbers) - examples) <= len(counts)
        for source, stream in enumerate(streams):
            mine = numbers[(firsts[source] <= numbers) & (numbers < firsts[source + 1])]
            stream += mine.tolist()
            share = weights[source] / sum(weights) * examples
            assert abs(len(stream) - share * (epoch + 1)) <= 1
    for stream, first, count in zip(streams, firsts, counts, strict=False):
        seen = Counter(stream)
        assert max(seen.values(), default=0) - min((seen[first + one] for one in range(count)), default=0) <= 2


def test_each_pass_over_a_source_is_whole_and_in_another_order() -> None:
    blend = WeightedBlend([40, 1000], [1, 9], 100, seed=5)  # ten of the first source an epoch: four make a pass
    stream = [number for epoch in range(12) for number in blend(epoch).numbers.tolist() if number < 40]
    skipped = len([number for number in blend(0).numbers.tolist() if number < 40]) - 10
    assert skipped in (0, 1)
    passes = [tuple(stream[start : start + 40]) for start in (0, 40)]
    assert all(sorted(one) == list(range(40)) for one in passes)
    assert passes[0] != passes[1]


def test_every_stretch_of_an_epoch_holds_the_shares() -> None:
    numbers = WeightedBlend([500, 500, 9000], [0.2, 0.3, 0.5], 4000, seed=2)(7).numbers
    source = np.searchsorted([500, 1000], numbers, side="right")
    for part in np.split(source[:4000], 8):
        # Lhotse's draws of single sources would be off by 11 (one sigma); these by a rounding at either end.
        assert np.abs(np.bincount(part, minlength=3) - np.array([100, 150, 250])).max() <= 4


def test_an_epoch_far_away_costs_no_more() -> None:
    blend = WeightedBlend([30, 70], [1, 1], 50, seed=2)
    near, far = blend(1), blend(10**9)
    assert abs(len(far.numbers) - len(near.numbers)) <= 2
    assert (blend(10**9).numbers == far.numbers).all()


def test_windows_of_a_blend_are_of_what_is_read_in_pieces() -> None:
    pieces = np.concatenate([np.repeat(np.arange(640), 2), np.arange(1280) % 640])
    blend = WeightedBlend([1280, 1280], [1, 1], 1280, seed=1, pieces=pieces)
    assert blend(0).windows == 20  # half of the pieces of each: 320 and 320, in windows of 32
    first = blend(0).numbers
    tarred = first[first < 1280]
    assert len(np.unique(pieces[tarred])) <= 322  # 640 examples, two a piece


@pytest.mark.parametrize("weight", [0, -1.0, float("nan"), float("inf")])
def test_impossible_weights(weight: float) -> None:
    with pytest.raises(ConfigError, match="weight of source 1: expected a number above 0, not"):
        WeightedBlend([3, 3], [1, weight], 10, seed=0)
    with pytest.raises(ConfigError, match="source 0 of a blend holds no example"):
        WeightedBlend([0, 3], [1, 1], 10, seed=0)
