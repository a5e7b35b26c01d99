"""How long an example of text or audio is, and how many of them make a batch: constraints for Lhotse's samplers.

::

    DynamicBucketingSampler(
        cuts,
        duration_bins=[[16, 16], [16, 32], [32, 32]],  # tokens before the answer, tokens of the answer
        constraint=MultimodalFixedBucketBatchSizeConstraint2D(
            max_seq_len_buckets=[[16, 16], [16, 32], [32, 32]], batch_sizes=[4, 3, 2], token_equivalent_duration=0.08
        ),
    )

The names are those of NeMo's Lhotse integration.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from lhotse.cut import Cut
from lhotse.dataset.sampling.dynamic_bucketing import FixedBucketBatchSizeConstraint

from toolkit.dataio.capped_constraints import CappedConstraint
from toolkit.dataio.text_adapters import Formattable, count_audio_tokens
from toolkit.errors import ConfigError, DataError


def count_text_tokens(cut: Cut) -> int:
    """The token ids of a cut: of its whole prompt where it has one, else of its supervisions.

    Raises
    ------
    DataError
        The cut was not tokenized.
    """
    if cut.has_custom("input_ids"):
        return len(cut.input_ids)
    tokens = [supervision.tokens for supervision in cut.supervisions if supervision.has_custom("tokens")]
    if not tokens:
        raise DataError(f"cut {cut.id!r} has no tokens, and so no length in tokens; give the loader a tokenizer")
    return sum(map(len, tokens))


def lengths_in_tokens(example: Cut | Formattable, token_equivalent_duration: float | None) -> tuple[int, int]:
    """Tokens before the answer and tokens of the answer; of a cut, of its audio and of its text.

    Raises
    ------
    DataError
        The example was not tokenized, it is of another type, or it has audio and nothing says what that is worth.
    """
    if isinstance(example, Cut):
        return count_audio_tokens(example.duration, token_equivalent_duration), count_text_tokens(example)
    if isinstance(example, Formattable):
        return example.input_length, example.output_length
    raise DataError(f"{type(example).__name__} has no length in tokens: it is neither a cut nor Formattable")


def length_in_tokens(example: Cut | Formattable, token_equivalent_duration: float | None, *, total: bool) -> int:
    """Tokens before the answer, or with those of the answer; a cut's audio is before its text.

    Raises
    ------
    DataError
        As of :func:`lengths_in_tokens`.
    """
    if isinstance(example, Cut) and not total:  # which needs no tokenizer
        return count_audio_tokens(example.duration, token_equivalent_duration)
    before, answer = lengths_in_tokens(example, token_equivalent_duration)
    return before + answer if total else before


@dataclass
class MultimodalSamplingConstraint(CappedConstraint):
    """So many examples, and so many tokens with padding, make a batch.

    Attributes
    ----------
    token_equivalent_duration
        Seconds of audio that take the place of a token: the frame shift of the audio encoder's output.
    batch_size
        Most examples of a batch.
    batch_tokens
        Most tokens of a batch, padding included.
    quadratic_factor
        Where set, an example of n tokens counts as n + n² / quadratic_factor.
    measure_total_length
        Whether an example's answer counts too; without it, only what stands before it does.
    """

    cap_fields = ("batch_tokens", "batch_size", "quadratic_factor")

    token_equivalent_duration: float | None = None
    batch_size: int | None = None
    batch_tokens: int | None = None
    quadratic_factor: float | None = None
    measure_total_length: bool = False

    def measure_length(self, example: Cut | Formattable) -> int:
        """Tokens of an example."""
        return length_in_tokens(example, self.token_equivalent_duration, total=self.measure_total_length)


@dataclass
class FixedBucketBatchSizeConstraint2D(FixedBucketBatchSizeConstraint):
    """So many examples make a batch of each bucket; cuts only, by seconds, or by seconds and tokens.

    Attributes
    ----------
    max_seq_len_buckets
        The longest that each bucket takes, in ascending order: numbers, or pairs of the longest input and output.
    batch_sizes
        Of each bucket.
    strict_2d
        Whether an example goes only into buckets of the smallest input that fits, and fits none where its output is
        longer than all of these; else a longer input may make room for a longer output.
    max_ratio
        By bucket, with ``strict_2d``: the most output that an example may have for its input, as a ratio.
    """

    strict_2d: bool = True
    max_ratio: Sequence[float] | None = None

    def __post_init__(self) -> None:
        buckets = [tuple(one) if isinstance(one, Sequence) else one for one in self.max_seq_len_buckets]
        if buckets != sorted(buckets):
            raise ConfigError(f"bucket_duration_bins: expected ascending order, not {buckets}")
        for name, values in (("bucket_batch_size", self.batch_sizes), ("max_ratio", self.max_ratio)):
            if values is not None and len(values) != len(buckets):
                raise ConfigError(f"{name}: {len(values)} values for {len(buckets)} buckets; expected one for each")
        self.max_seq_len_buckets = buckets
        self._ends = np.array(buckets, dtype=float)

    @property
    def bucketing_2d_enabled(self) -> bool:
        """Whether buckets are of input and output."""
        return self._ends.ndim == 2

    def measure_length(self, example: Cut) -> float | tuple[float, float]:
        """Seconds; of 2-D buckets, seconds and tokens."""
        return (example.duration, count_text_tokens(example)) if self.bucketing_2d_enabled else example.duration

    def find_bucket(self, length: float | tuple[float, float]) -> int | None:
        """The first bucket that an example of that length fits, if there is one."""
        if not self.bucketing_2d_enabled:
            place = bisect_left(self.max_seq_len_buckets, length)
            return place if place < len(self._ends) else None
        taken, given = length
        fitting = np.flatnonzero((self._ends[:, 0] >= taken) & (self._ends[:, 1] >= given))
        if not len(fitting):
            return None
        place = int(fitting[0])
        if self.strict_2d:
            inputs = self._ends[:, 0]
            if inputs[place] != inputs[np.searchsorted(inputs, taken)]:
                return None
            if self.max_ratio is not None and given > self.max_ratio[place] * taken:
                return None
        return place

    def select_bucket(self, buckets: Any, example: Any = None, example_len: Any = None) -> int:
        """The bucket of an example, whatever the sampler took for ``buckets``.

        Raises
        ------
        DataError
            It fits none.
        ConfigError
            The sampler has fewer buckets.
        """
        length = self.measure_length(example) if example_len is None else example_len
        place = self.find_bucket(length)
        if place is None:
            largest = self.max_seq_len_buckets[-1]
            raise DataError(
                f"an example of length {length} fits no bucket (the last is {largest}); "
                "leave such examples out with cuts.filter(BucketingFilter(constraint))"
            )
        if place > len(buckets):
            raise ConfigError(
                f"a sampler of {len(buckets) + 1} buckets cannot serve a constraint of {len(self._ends)}; "
                "give it duration_bins=max_seq_len_buckets"
            )
        return place


@dataclass
class MultimodalFixedBucketBatchSizeConstraint2D(FixedBucketBatchSizeConstraint2D):
    """So many examples make a batch of each bucket; texts, conversations and cuts, by tokens.

    Attributes
    ----------
    token_equivalent_duration
        Seconds of audio that take the place of a token.
    measure_total_length
        In 1-D buckets, whether an example's answer counts too; without it, only what stands before it does.
    """

    token_equivalent_duration: float | None = None
    measure_total_length: bool = False

    def measure_length(self, example: Cut | Formattable) -> int | tuple[int, int]:
        """Tokens; of 2-D buckets, tokens before the answer and of the answer."""
        if self.bucketing_2d_enabled:
            return lengths_in_tokens(example, self.token_equivalent_duration)
        return length_in_tokens(example, self.token_equivalent_duration, total=self.measure_total_length)
