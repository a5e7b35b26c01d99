"""Bootstrap: against the exact distribution where it can be counted, and what pairing is worth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from toolkit.metrics.bootstrap import difference, interval
from toolkit.metrics.error_rate import ErrorRate


def rates(*errors: int, words: int = 10) -> list[ErrorRate]:
    return [ErrorRate(substitutions=count, reference_length=words) for count in errors]


def test_interval_is_that_of_all_resamples() -> None:
    counts = [0, 1, 2, 7]
    exact = [100 * sum(drawn) / 40 for drawn in itertools.product(counts, repeat=4)]
    low, high = interval(rates(*counts), resamples=20000)
    assert (low, high) == pytest.approx(tuple(np.percentile(exact, [2.5, 97.5])), abs=1.0)


def test_difference_is_that_of_all_resamples_of_pairs() -> None:
    first, second = [3, 1, 2, 7], [1, 1, 3, 4]
    pairs = [b - a for a, b in zip(first, second, strict=True)]
    exact = np.array([100 * sum(drawn) / 40 for drawn in itertools.product(pairs, repeat=4)])
    found = difference(rates(*first), rates(*second), resamples=20000)
    assert found.rate == pytest.approx(100 * (9 - 13) / 40)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(exact, [2.5, 97.5])), abs=1.0)
    assert found.better == pytest.approx(np.mean(exact < 0) + np.mean(exact == 0) / 2, abs=0.02)


def test_a_system_that_is_always_better_is_so_though_utterances_differ_more_than_systems() -> None:
    first = rates(*range(10)) * 5
    second = rates(*(max(0, count - 1) for count in range(10))) * 5
    found = difference(first, second)
    assert found.high < 0
    assert found.better == 1.0
    assert interval(first)[0] < interval(second)[1]  # taken apart, their intervals overlap


def test_a_system_does_not_differ_from_itself() -> None:
    found = difference(rates(1, 2, 3), rates(1, 2, 3))
    assert (found.rate, found.low, found.high, found.better) == (0.0, 0.0, 0.0, 0.5)
