"""Bins pad least: against every choice there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.dataio.bins import duration_bins, duration_bins_2d

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=12)


def padded_to(lengths: np.ndarray, ends: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Total length when each is padded to the upper end of its bin, or to the longest of all."""
    ends = np.append(ends, lengths.max())
    return float(np.sum(ends[np.searchsorted(ends, lengths)] * (1 if weights is None else weights)))


def least_padded(lengths: np.ndarray, count: int, weights: np.ndarray | None = None) -> float:
    choices = itertools.combinations(np.unique(lengths)[:-1], min(count, len(np.unique(lengths))) - 1)
    return min(padded_to(lengths, np.array(ends), weights) for ends in choices)


@given(LENGTHS, st.integers(1, 6))
def test_no_other_ends_pad_less(lengths: list[int], count: int) -> None:
    values = np.array(lengths) / 4
    ends = duration_bins(values, count)
    assert len(ends) == min(count, len(set(lengths))) - 1
    assert (np.diff(ends) > 0).all()
    assert set(ends) <= set(values)
    assert padded_to(values, ends) == pytest.approx(least_padded(values, count))


@given(LENGTHS, st.integers(1, 4), st.data())
def test_weights_are_repetitions(lengths: list[int], count: int, data: st.DataObject) -> None:
    weights = np.array(data.draw(st.lists(st.integers(1, 9), min_size=len(lengths), max_size=len(lengths))))
    values = np.array(lengths) / 4
    ends = duration_bins(values, count, weights)
    repeated = np.repeat(values, weights)
    assert padded_to(repeated, ends) == pytest.approx(least_padded(repeated, count))


def test_many_lengths_are_nearly_as_good_as_all_of_them() -> None:
    lengths = np.random.default_rng(0).gamma(9.0, 1.4, 3000).round(3)
    ends = duration_bins(lengths, 8)
    # The same programme over every length there is.
    values, counts = np.unique(lengths, return_counts=True)
    at_most = np.cumsum(counts)
    least = values * at_most
    for _ in range(7):
        least = np.array(
            [
                min([least[end], *(least[:end] + value * (at_most[end] - at_most[:end]))])
                for end, value in enumerate(values)
            ]
        )
    optimum = least[-1] / lengths.sum() - 1
    assert optimum <= padded_to(lengths, ends) / lengths.sum() - 1 < optimum + 0.002


def test_two_lengths() -> None:
    rng = np.random.default_rng(0)
    seconds = rng.choice([2.0, 5.0, 9.0], 60)
    tokens = (seconds * 10).astype(int) + rng.integers(0, 3, 60)
    assert duration_bins_2d(seconds, tokens, 3, 2)[-1] == (9.0, 92.0)
    pairs = duration_bins_2d(seconds, tokens, 2, 3)
    assert pairs == sorted(pairs)
    assert {pair[0] for pair in pairs} <= {2.0, 5.0, 9.0}
    for first, second in zip(seconds, tokens, strict=True):
        assert any(first <= end and second <= sub for end, sub in pairs)
