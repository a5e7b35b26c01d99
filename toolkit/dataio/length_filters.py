"""Filters that leave out what is too short or too long; ``True`` keeps an example.

::

    cuts = cuts.filter(DurationFilter(0.5, 20.0)).filter(TokenPerSecondFilter(None, 25.0))

Each passes what it has no measure for: a text has no duration, an example without an answer no ratio. Bounds are
inclusive, and ``None`` is no bound. The names are those of NeMo's Lhotse integration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lhotse.cut import Cut
from lhotse.dataset.sampling.base import SamplingConstraint

from toolkit.dataio.multimodal_sampling import FixedBucketBatchSizeConstraint2D, count_text_tokens
from toolkit.dataio.text_adapters import Formattable, NeMoMultimodalConversation
from toolkit.errors import DataError


def _is_within(value: float, low: float | None, high: float | None) -> bool:
    return (-math.inf if low is None else low) <= value <= (math.inf if high is None else high)


@dataclass(frozen=True)
class DurationFilter:
    """Seconds of a cut, or of all audio of a conversation."""

    d_min: float | None = None
    d_max: float | None = None

    def __call__(self, example: Any) -> bool:
        """Whether to keep the example."""
        if isinstance(example, Cut):
            return _is_within(example.duration, self.d_min, self.d_max)
        if isinstance(example, NeMoMultimodalConversation) and example.has_audio_turns:
            return _is_within(sum(cut.duration for cut in example.list_cuts()), self.d_min, self.d_max)
        return True


@dataclass(frozen=True)
class TokenCountFilter:
    """Tokens of texts and conversations: those before the answer, or with ``measure_total_length`` all."""

    t_min: float | None = None
    t_max: float | None = None
    measure_total_length: bool = False

    def __call__(self, example: Any) -> bool:
        """Whether to keep the example.

        Raises
        ------
        DataError
            It is neither a cut nor Formattable.
        """
        if isinstance(example, Cut) or (self.t_min is None and self.t_max is None):
            return True
        if not isinstance(example, Formattable):
            raise DataError(f"min_tokens, max_tokens: {type(example).__name__} has no length in tokens")
        length = example.total_length if self.measure_total_length else example.input_length
        return _is_within(length, self.t_min, self.t_max)


@dataclass(frozen=True)
class TokenPerSecondFilter:
    """Tokens of a cut's text for each second of it."""

    tps_min: float | None = None
    tps_max: float | None = None

    def __call__(self, example: Any) -> bool:
        """Whether to keep the example."""
        if not isinstance(example, Cut) or (self.tps_min is None and self.tps_max is None):
            return True
        return _is_within(count_text_tokens(example) / example.duration, self.tps_min, self.tps_max)


@dataclass(frozen=True)
class TokenPerTokenFilter:
    """Tokens of the answer for each token before it; of texts and conversations."""

    tpt_min: float | None = None
    tpt_max: float | None = None

    def __call__(self, example: Any) -> bool:
        """Whether to keep the example."""
        if not isinstance(example, Formattable) or not example.has_answer:
            return True
        return _is_within(example.output_length / max(1, example.input_length), self.tpt_min, self.tpt_max)


@dataclass(frozen=True)
class BucketingFilter:
    """What fits a bucket of a constraint; constraints without buckets of their own take everything."""

    sampling_constraint: SamplingConstraint

    def __call__(self, example: Any) -> bool:
        """Whether to keep the example."""
        constraint = self.sampling_constraint
        if not isinstance(constraint, FixedBucketBatchSizeConstraint2D):
            return True
        return constraint.find_bucket(constraint.measure_length(example)) is not None
