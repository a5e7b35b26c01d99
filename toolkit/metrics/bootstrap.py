"""How sure an error rate is, and a difference of two, by resampling utterances with replacement.

M. Bisani and H. Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004. It
tells what another test set of this kind would give, not what another training would; utterances of one speaker are
taken as independent, so that with few speakers it is too narrow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

RESAMPLES = 1000
PERCENTILES = (2.5, 97.5)


class Counts(Protocol):
    """What an `ErrorRate` has."""

    @property
    def errors(self) -> int:
        """Errors of an utterance."""

    @property
    def reference_length(self) -> int:
        """Words of its reference."""


@dataclass(frozen=True)
class Difference:
    """What a second system's error rate is above (or, negative, below) a first's, in percent.

    Attributes
    ----------
    rate, low, high
        The difference and its 95 % confidence interval.
    better
        The share of resamples in which the second makes fewer errors, ties counting half.
    """

    rate: float
    low: float
    high: float
    better: float


def interval(rates: Sequence[Counts], *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """The 95 % confidence interval, in percent, of the error rate of utterances of these counts."""
    errors, lengths = _counts(rates)
    drawn = _resampled(len(rates), resamples, seed)
    return _percentiles([100.0 * errors[one].sum() / max(lengths[one].sum(), 1) for one in drawn])


def difference(
    first: Sequence[Counts], second: Sequence[Counts], *, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """How two systems differ on the same utterances, which are drawn together: what is hard is so for both."""
    errors, lengths = _counts(first)
    more = _counts(second)[0] - errors
    rates = [
        100.0 * more[drawn].sum() / max(lengths[drawn].sum(), 1) for drawn in _resampled(len(first), resamples, seed)
    ]
    better = np.mean([(rate < 0) + 0.5 * (rate == 0) for rate in rates])
    return Difference(100.0 * more.sum() / max(lengths.sum(), 1), *_percentiles(rates), float(better))


def _counts(rates: Sequence[Counts]) -> tuple[np.ndarray, np.ndarray]:
    """Errors and reference lengths (N,) of utterances."""
    return np.array([rate.errors for rate in rates]), np.array([rate.reference_length for rate in rates])


def _resampled(count: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Numbers (N,) of utterances, drawn with replacement, so many times."""
    generator = np.random.default_rng(seed)
    return (generator.integers(count, size=count) for _ in range(resamples))


def _percentiles(rates: Sequence[float]) -> tuple[float, float]:
    low, high = np.percentile(rates, PERCENTILES)
    return float(low), float(high)
