"""How sure an error rate is, and a difference of two, by resampling utterances with replacement.

M. Bisani and H. Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP 2004. It
tells what another test set of this kind would give, not what another training would; utterances of one speaker are
taken as independent, so that with few speakers it is too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

RESAMPLES = 10_000  # with 1,000, the ends of an interval move by a fiftieth of its width from seed to seed
PERCENTILES = (2.5, 97.5)
FEWEST = 10  # utterances; of fewer an interval is much too narrow, and of one it has no width

# A 95 % confidence interval, in percent; None where there are too few utterances for one.
Interval: TypeAlias = "tuple[float, float] | None"


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
    rate, interval
        The difference and its confidence interval.
    better
        The share of resamples in which the second makes fewer errors, ties counting half.
    """

    rate: float
    interval: Interval
    better: float


def interval(rates: Sequence[Counts], *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The confidence interval of the error rate of utterances of these counts, in whatever order."""
    return _interval_of(_resampled(*_counts(rates), resamples, seed), len(rates))


def difference(
    first: Sequence[Counts], second: Sequence[Counts], *, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """How two systems differ on the same utterances, which are drawn together: what is hard is so for both."""
    errors, lengths = _counts(first)
    more = _counts(second)[0] - errors
    drawn = _resampled(more, lengths, resamples, seed)
    better = np.mean((drawn < 0) + 0.5 * (drawn == 0))
    return Difference(100.0 * more.sum() / max(lengths.sum(), 1), _interval_of(drawn, len(first)), float(better))


def _counts(rates: Sequence[Counts]) -> tuple[np.ndarray, np.ndarray]:
    """Errors and reference lengths (N,) of utterances."""
    return np.array([rate.errors for rate in rates]), np.array([rate.reference_length for rate in rates])


def _resampled(errors: np.ndarray, lengths: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Error rates (R,) in percent of as many utterances as these (N,), drawn from them with replacement.

    Utterances of equal counts are one kind, and what is drawn is how many there are of each.
    """
    kinds, many = np.unique(np.stack([errors, lengths]), axis=1, return_counts=True)  # (2, K), (K,), in order
    drawn = np.random.default_rng(seed).multinomial(len(errors), many / len(errors), size=resamples)
    more, words = kinds @ drawn.T
    return 100.0 * more / np.maximum(words, 1)


def _interval_of(drawn: np.ndarray, utterances: int) -> Interval:
    """The confidence interval of error rates (R,), each of so many utterances."""
    if utterances < FEWEST:
        return None
    low, high = np.percentile(drawn, PERCENTILES)
    return float(low), float(high)
