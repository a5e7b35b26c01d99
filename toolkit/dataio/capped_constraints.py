"""Constraints whose budget Lhotse's DynamicBucketingSampler keeps: caps, for data that only a stream can give.

Lhotse's own constraints end a batch where one more example *as long as the longest so far* would be too much, so that a
longer one exceeds them: by a third at times. These end it where the longest example that its bucket ever held would.
::

    DynamicBucketingSampler(cuts, num_buckets=30, constraint=CappedTimeConstraint(max_duration=200.0))
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lhotse.cut import Cut
from lhotse.dataset.sampling.base import SamplingConstraint

from toolkit.dataio.indexed import Unbuilt
from toolkit.errors import ConfigError, DataError

# Durations are decimal fractions: 10 cuts of 0.7 s do fit 7 s.
_ROUNDING = 1e-9


@dataclass
class CappedConstraint(SamplingConstraint):
    """So many examples, and so much length with padding, make a batch.

    A subclass declares its options as fields, names them in ``cap_fields`` (length, examples, the length at which one
    counts twice) and measures examples.
    """

    cap_fields = ("", "", "")

    _count: int = field(default=0, init=False, repr=False)
    _longest: float = field(default=0.0, init=False, repr=False)
    _longest_to_come: float = field(default=0.0, init=False, repr=False)
    _bins: Sequence[float] = field(default=(), init=False, repr=False)
    # By bucket. Copies share it: the sampler fills its buckets with one copy, and collects batches with others.
    _longest_seen: dict[int, float] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in self.cap_fields:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name}: expected more than 0, not {value!r}")
        length, size, _ = self.cap_fields
        if getattr(self, length) is None and getattr(self, size) is None:
            raise ConfigError(f"{length}: missing; give it or {size}")

    def select_bucket(self, buckets: Sequence[float], example: Any = None, example_len: Any = None) -> int:
        """The first bucket that ends beyond the example, whose length is remembered if it is the longest there."""
        length = self.measure_length(example) if example_len is None else example_len
        place = bisect_left(buckets, length)
        self._bins = buckets
        self._longest_seen[place] = max(self._longest_seen.get(place, 0.0), length)
        return place

    def add(self, example: Any) -> None:
        """The example is in the batch."""
        length = self.measure_length(example)
        seen = self._longest_seen.get(bisect_left(self._bins, length), 0.0)
        self._longest = max(self._longest, self._effective(length))
        self._longest_to_come = max(self._longest, self._longest_to_come, self._effective(seen))
        self._count += 1

    def exceeded(self) -> bool:
        """Whether the batch is too large."""
        return self._is_too_large(self._count, self._longest)

    def close_to_exceeding(self) -> bool:
        """Whether the batch could be too large with one more example."""
        return self._is_too_large(self._count + 1, self._longest_to_come)

    def reset(self) -> None:
        """A new batch begins."""
        self._count, self._longest, self._longest_to_come = 0, 0.0, 0.0

    def _effective(self, length: float) -> float:
        quadratic = getattr(self, self.cap_fields[2])
        return length if quadratic is None else length + length**2 / quadratic

    def _is_too_large(self, count: int, longest: float) -> bool:
        length, size = (getattr(self, name) for name in self.cap_fields[:2])
        return (size is not None and count > size) or (length is not None and count * longest > length + _ROUNDING)


@dataclass
class CappedTimeConstraint(CappedConstraint):
    """So many cuts, and so many seconds with padding, make a batch.

    Attributes
    ----------
    max_duration
        Most seconds of a batch, padding included.
    max_cuts
        Most cuts of a batch.
    quadratic_duration
        Where set, a cut of d seconds counts as d + d² / quadratic_duration.
    """

    cap_fields = ("max_duration", "max_cuts", "quadratic_duration")

    max_duration: float | None = None
    max_cuts: int | None = None
    quadratic_duration: float | None = None

    def measure_length(self, example: Cut | Unbuilt) -> float:
        """Seconds of a cut; 0 for what has none, where it needs none.

        Raises
        ------
        DataError
            It has none.
        """
        if isinstance(example, (Cut, Unbuilt)):
            return example.duration
        if self.max_duration is not None:
            raise DataError(
                f"{type(example).__name__} has no duration, and batch_duration counts it; set use_multimodal_sampling "
                "and batch_tokens, or batch_size"
            )
        return 0.0
