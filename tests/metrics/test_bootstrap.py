"""Bootstrap: against the exact distribution where it can be counted, and what pairing is worth."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.metrics.bootstrap import difference, interval
from toolkit.metrics.error_rate import ErrorRate


def rates(*errors: int, words: int = 10) -> list[ErrorRate]:
    return [ErrorRate(substitutions=count, reference_length=words) for count in errors]


def of_all_resamples(counts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """The sums (S,) that as many draws from these counts can have, and the likelihood of each."""
    lowest, many = min(counts), len(counts)
    one = np.bincount(np.array(counts) - lowest) / many
    likely = np.ones(1)
    for _ in counts:
        likely = np.convolve(likely, one)
    return np.arange(len(likely)) + many * lowest, likely


def percentiles(sums: np.ndarray, likely: np.ndarray) -> tuple[float, float]:
    return tuple(float(sums[np.searchsorted(likely.cumsum(), share)]) for share in (0.025, 0.975))


def test_interval_is_that_of_all_resamples() -> None:
    counts = [0, 1, 2, 7, 0, 0, 3, 1, 1, 0]  # of ten words each: a percent is an error
    found = interval(rates(*counts), resamples=50_000)
    assert found == pytest.approx(percentiles(*of_all_resamples(counts)), abs=0.5)


def test_difference_is_that_of_all_resamples_of_pairs() -> None:
    first, second = [3, 1, 2, 7, 0, 0, 3, 1, 1, 0], [1, 1, 3, 4, 0, 1, 3, 0, 1, 0]
    sums, likely = of_all_resamples([b - a for a, b in zip(first, second, strict=True)])
    found = difference(rates(*first), rates(*second), resamples=50_000)
    assert found.rate == pytest.approx(14 - 18)
    assert found.interval == pytest.approx(percentiles(sums, likely), abs=0.5)
    assert found.better == pytest.approx(likely[sums < 0].sum() + likely[sums == 0].sum() / 2, abs=0.01)


def test_utterances_of_many_words_weigh_more() -> None:
    """Two kinds of utterances, whose numbers are binomial: 15 of 10 words without an error, 5 of 40 with 8."""
    drawn = np.random.default_rng(7).binomial(20, 0.25, size=200_000)
    exact = 100 * 8 * drawn / (10 * (20 - drawn) + 40 * drawn)
    found = interval(rates(*[0] * 15) + rates(*[8] * 5, words=40))
    assert found == pytest.approx(tuple(np.percentile(exact, [2.5, 97.5])), abs=1e-9)


def test_order_of_utterances_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    counts = [
        ErrorRate(substitutions=int(rng.integers(4)), reference_length=int(rng.integers(1, 9))) for _ in range(60)
    ]
    others = [ErrorRate(reference_length=one.reference_length) for one in counts]
    for _ in range(3):
        order = rng.permutation(60)
        assert interval([counts[place] for place in order]) == interval(counts)
        shuffled = [[system[place] for place in order] for system in (counts, others)]
        assert difference(*shuffled) == difference(counts, others)


@pytest.mark.parametrize("count", [1, 9])
def test_few_utterances_have_no_interval(count: int) -> None:
    few = rates(*range(count))
    assert interval(few) is None
    assert difference(few, few).interval is None
    assert interval(rates(*range(10))) is not None


def test_a_system_that_is_always_better_is_so_though_utterances_differ_more_than_systems() -> None:
    first = rates(*range(10)) * 5
    second = rates(*(max(0, count - 1) for count in range(10))) * 5
    found = difference(first, second)
    assert found.interval[1] < 0
    assert found.better == 1.0
    assert interval(first)[0] < interval(second)[1]  # taken apart, their intervals overlap


def test_a_system_does_not_differ_from_itself() -> None:
    found = difference(rates(1, 2, 3), rates(1, 2, 3))
    assert (found.rate, found.better) == (0.0, 0.5)
    assert difference(rates(*range(10)), rates(*range(10))).interval == (0.0, 0.0)
