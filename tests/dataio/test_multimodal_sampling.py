"""Constraints and filters by tokens, inside Lhotse's samplers."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from lhotse import CutSet, MonoCut, SupervisionSegment
from lhotse.dataset import DynamicBucketingSampler, DynamicCutSampler
from lhotse.testing.dummies import dummy_cut

from toolkit.dataio.capped_constraints import CappedTimeConstraint
from toolkit.dataio.length_filters import (
    BucketingFilter,
    DurationFilter,
    TokenCountFilter,
    TokenPerSecondFilter,
    TokenPerTokenFilter,
)
from toolkit.dataio.multimodal_sampling import (
    FixedBucketBatchSizeConstraint2D,
    MultimodalFixedBucketBatchSizeConstraint2D,
    MultimodalSamplingConstraint,
)
from toolkit.dataio.text_adapters import AudioTurn, NeMoMultimodalConversation, TextExample, TextTurn
from toolkit.errors import ConfigError, DataError


def text(asked: int, answered: int = 1) -> TextExample:
    """An example of so many tokens before the answer and so many of the answer."""
    example = TextExample(f"{asked}+{answered}")
    example.context_ids, example.answer_ids = torch.zeros(asked), torch.zeros(answered)
    example.input_ids = torch.zeros(asked + answered)
    return example


def spoken(seconds: float, tokens: int | None = None, number: int = 0) -> MonoCut:
    cut = dummy_cut(number, duration=seconds, supervisions=[SupervisionSegment("s", "r", 0.0, seconds, text="A")])
    if tokens is not None:
        cut.supervisions[0].tokens = np.zeros(tokens)
    return cut


def talk(asked: int, seconds: float, answered: int) -> NeMoMultimodalConversation:
    """``asked`` tokens, one of them the place of the audio, and so many of the answer."""
    turns = [AudioTurn(dummy_cut(0, duration=seconds), "user", "<a>"), TextTurn("A", "assistant")]
    chat = NeMoMultimodalConversation("c", turns, token_equivalent_duration=0.1)
    chat.context_ids, chat.answer_ids = torch.zeros(asked), torch.zeros(answered)
    chat.input_ids = torch.zeros(asked + answered)
    return chat


def test_length_of_each_type() -> None:
    lengths = {
        total: MultimodalSamplingConstraint(
            token_equivalent_duration=0.1, batch_size=1, measure_total_length=total
        ).measure_length
        for total in (False, True)
    }
    assert [lengths[total](text(7, 3)) for total in (False, True)] == [7, 10]
    assert [lengths[total](talk(7, 1.05, 3)) for total in (False, True)] == [7 + 10, 7 + 10 + 3]
    assert [lengths[total](spoken(1.05, 4)) for total in (False, True)] == [11, 15]
    prompted = spoken(1.05, 4)
    prompted.input_ids = torch.zeros(9)  # of the whole prompt, in place of the tokens of the text
    assert [lengths[total](prompted) for total in (False, True)] == [11, 20]
    assert lengths[False](spoken(1.05)) == 11
    with pytest.raises(DataError, match=r"cut 'dummy-mono-cut-0000' has no tokens.*give the loader a tokenizer"):
        lengths[True](spoken(1.05))
    with pytest.raises(DataError, match="int has no length in tokens"):
        lengths[False](3)
    with pytest.raises(DataError, match="token_equivalent_duration is not set"):
        MultimodalSamplingConstraint(batch_size=1).measure_length(spoken(1.0))


def padded(batch: Sequence[TextExample], quadratic: float = float("inf")) -> float:
    longest = max(example.input_length for example in batch)
    return len(batch) * (longest + longest**2 / quadratic)


def skewed_texts(count: int, seed: int = 3) -> list[TextExample]:
    rng = random.Random(seed)
    return [text(round(1 + 200 * rng.random() ** 3)) for _ in range(count)]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("quadratic", [None, 50])
def test_batch_tokens_is_a_cap_that_is_reached(shuffle: bool, quadratic: int | None) -> None:
    examples = skewed_texts(3000)
    sampler = DynamicBucketingSampler(
        CutSet(iter_of(examples)),
        constraint=MultimodalSamplingConstraint(batch_tokens=3000, batch_size=35, quadratic_factor=quadratic),
        num_buckets=8,
        buffer_size=1000,
        shuffle=shuffle,
    )
    batches = [list(batch) for batch in sampler]
    assert sorted(map(id, (one for batch in batches for one in batch))) == sorted(map(id, examples))
    sizes = [padded(batch, quadratic or float("inf")) for batch in batches]
    assert max(sizes) <= 3000
    assert max(map(len, batches)) == 35
    full = [size for size, batch in zip(sizes, batches, strict=True) if len(batch) < 35]
    assert np.median(full) > 0.8 * 3000


@pytest.mark.parametrize("quadratic", [None, 15.0])
def test_max_duration_is_a_cap_where_lhotses_is_none(quadratic: float | None) -> None:
    rng = random.Random(5)
    cuts = [spoken(round(0.5 + 19 * rng.random() ** 2, 1), number=number) for number in range(2000)]

    def worst_and_mean(**options: object) -> tuple[float, float]:
        sampler = DynamicBucketingSampler(iter_of(cuts), num_buckets=5, shuffle=True, buffer_size=500, **options)
        sizes = []
        for batch in sampler:
            longest = max(cut.duration for cut in batch)
            sizes.append(len(batch) * (longest + (longest**2 / quadratic if quadratic else 0.0)))
        return max(sizes), float(np.mean(sizes))

    worst, mean = worst_and_mean(constraint=CappedTimeConstraint(max_duration=100.0, quadratic_duration=quadratic))
    assert worst <= 100.0 + 1e-6
    assert mean > 70.0
    assert worst_and_mean(max_duration=100.0, quadratic_duration=quadratic)[0] > 105.0
    sevenths = iter_of([spoken(0.7)] * 20)
    sampler = DynamicBucketingSampler(sevenths, duration_bins=[], constraint=CappedTimeConstraint(max_duration=7.0))
    assert [len(batch) for batch in sampler] == [10, 10]


class iter_of:  # noqa: N801
    """Lazy, so that Lhotse does not warn of a CutSet in memory."""

    def __init__(self, examples: Sequence[object]) -> None:
        self.examples = examples

    def __iter__(self):
        return iter(self.examples)


def test_in_a_plain_sampler_too() -> None:
    sampler = DynamicCutSampler(
        iter_of([text(10) for _ in range(7)]), constraint=MultimodalSamplingConstraint(batch_tokens=30)
    )
    assert [len(batch) for batch in sampler] == [3, 3, 1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_tokens": 0}, "batch_tokens: expected more than 0, not 0"),
        ({"batch_size": 2, "quadratic_factor": -1}, "quadratic_factor: expected more than 0, not -1"),
        ({}, "batch_tokens: missing; give it or batch_size"),
    ],
)
def test_impossible_caps(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MultimodalSamplingConstraint(**values)


BUCKETS_2D = [[16, 16], [16, 32], [32, 16], [32, 32]]


@pytest.mark.parametrize(
    ("asked", "answered", "strict", "flexible"),
    [
        (1, 1, 0, 0),
        (16, 16, 0, 0),
        (16, 17, 1, 1),
        (17, 1, 2, 2),
        (17, 32, 3, 3),
        (16, 33, None, None),
        (33, 1, None, None),
    ],
)
def test_2d_buckets(asked: int, answered: int, strict: int | None, flexible: int | None) -> None:
    for is_strict, bucket in ((True, strict), (False, flexible)):
        constraint = MultimodalFixedBucketBatchSizeConstraint2D(BUCKETS_2D, [4, 3, 2, 1], strict_2d=is_strict)
        assert constraint.find_bucket(constraint.measure_length(text(asked, answered))) == bucket


def test_strictness_decides_whether_a_longer_input_makes_room() -> None:
    buckets = [[10, 5], [20, 50]]
    assert MultimodalFixedBucketBatchSizeConstraint2D(buckets, [2, 1]).find_bucket((8, 7)) is None
    assert MultimodalFixedBucketBatchSizeConstraint2D(buckets, [2, 1], strict_2d=False).find_bucket((8, 7)) == 1


def test_max_ratio() -> None:
    constraint = MultimodalFixedBucketBatchSizeConstraint2D([[10, 20], [20, 40]], [2, 1], max_ratio=[1.5, 1.0])
    assert [constraint.find_bucket(length) for length in ((10, 15), (10, 16), (20, 20), (20, 21))] == [0, None, 1, None]


@pytest.mark.parametrize(
    ("buckets", "examples"),
    [
        (BUCKETS_2D, [(asked, answered) for asked in (3, 16, 20, 30) for answered in (2, 20, 32)]),
        ([16, 32], [(asked, 1) for asked in range(1, 33)]),
    ],
)
def test_batches_of_each_bucket(buckets: list, examples: list[tuple[int, int]]) -> None:
    texts = [text(*random.Random(number).choice(examples)) for number in range(500)]
    sizes = [7, 5, 3, 2][: len(buckets)]
    constraint = MultimodalFixedBucketBatchSizeConstraint2D(buckets, sizes)
    sampler = DynamicBucketingSampler(
        CutSet(iter_of(texts)), duration_bins=buckets, constraint=constraint, buffer_size=100, shuffle=True
    )
    batches = [list(batch) for batch in sampler]
    assert sum(map(len, batches)) == 500
    for batch in batches:
        places = {constraint.find_bucket(constraint.measure_length(example)) for example in batch}
        assert len(places) == 1
        assert len(batch) <= sizes[places.pop()]
    full = sum(len(batch) in sizes for batch in batches)
    assert full >= len(batches) - len(buckets)


def test_seconds_and_tokens_of_cuts() -> None:
    constraint = FixedBucketBatchSizeConstraint2D([[5.0, 10], [5.0, 30], [10.0, 30]], [3, 2, 1])
    assert [
        constraint.find_bucket(constraint.measure_length(cut))
        for cut in (spoken(4.0, 10), spoken(5.0, 11), spoken(5.1, 2), spoken(10.1, 2))
    ] == [0, 1, 2, None]
    by_seconds = FixedBucketBatchSizeConstraint2D([5.0, 10.0], [2, 1])
    assert by_seconds.find_bucket(by_seconds.measure_length(spoken(5.1))) == 1
    multimodal = MultimodalFixedBucketBatchSizeConstraint2D(
        [[50, 10], [100, 30]], [2, 1], token_equivalent_duration=0.1
    )
    assert multimodal.measure_length(spoken(5.01, 3)) == (51, 3)


def test_examples_without_a_bucket() -> None:
    constraint = MultimodalFixedBucketBatchSizeConstraint2D([16, 32], [2, 1])
    texts = CutSet(iter_of([text(5), text(33), text(32)]))
    with pytest.raises(DataError, match=r"length 33 fits no bucket \(the last is 32\).*BucketingFilter"):
        list(DynamicBucketingSampler(texts, duration_bins=[16, 32], constraint=constraint))
    kept = texts.filter(BucketingFilter(constraint))
    batches = DynamicBucketingSampler(kept, duration_bins=[16, 32], constraint=constraint)
    assert sorted(one.text for batch in batches for one in batch) == ["32+1", "5+1"]


def test_buckets_that_contradict_themselves() -> None:
    with pytest.raises(ConfigError, match=r"bucket_duration_bins: expected ascending order, not \[32, 16\]"):
        MultimodalFixedBucketBatchSizeConstraint2D([32, 16], [1, 2])
    with pytest.raises(ConfigError, match="bucket_batch_size: 1 values for 2 buckets"):
        MultimodalFixedBucketBatchSizeConstraint2D([16, 32], [1])
    with pytest.raises(ConfigError, match="max_ratio: 1 values for 2 buckets"):
        MultimodalFixedBucketBatchSizeConstraint2D([16, 32], [1, 1], max_ratio=[2])
    constraint = MultimodalFixedBucketBatchSizeConstraint2D([16, 32, 64, 128], [1] * 4)
    with pytest.raises(ConfigError, match=r"a sampler of 2 buckets cannot serve a constraint of 4; .*duration_bins"):
        list(DynamicBucketingSampler(CutSet(iter_of([text(99)])), duration_bins=[16], constraint=constraint))


@pytest.mark.parametrize(
    ("keep", "kept", "left_out"),
    [
        (
            DurationFilter(1.0, 2.0),
            [spoken(1.0), spoken(2.0), text(9), talk(3, 1.5, 1)],
            [spoken(0.9), talk(3, 2.1, 1)],
        ),
        (DurationFilter(None, None), [spoken(99.0)], []),
        (TokenCountFilter(2, 5), [text(2, 9), text(5, 9), spoken(9.0), talk(2, 0.4, 9)], [text(1), talk(2, 0.5, 1)]),
        (TokenCountFilter(2, 5, measure_total_length=True), [text(1, 4)], [text(1, 5)]),
        (TokenPerSecondFilter(2, 4), [spoken(2.0, 4), spoken(2.0, 8), text(9)], [spoken(2.0, 3), spoken(2.0, 9)]),
        (TokenPerSecondFilter(), [spoken(2.0)], []),
        (TokenPerTokenFilter(0.5, 2), [text(4, 2), text(4, 8), spoken(9.0)], [text(4, 1), text(4, 9)]),
        (BucketingFilter(MultimodalFixedBucketBatchSizeConstraint2D([3, 9], [1, 1])), [text(9)], [text(10)]),
        (BucketingFilter(MultimodalSamplingConstraint(batch_tokens=5)), [text(10)], []),
    ],
)
def test_filters(keep: object, kept: list, left_out: list) -> None:
    assert list(map(keep, kept)) == [True] * len(kept)
    assert list(map(keep, left_out)) == [False] * len(left_out)


def test_filters_say_what_is_missing() -> None:
    with pytest.raises(DataError, match="give the loader a tokenizer"):
        TokenPerSecondFilter(1, 2)(spoken(2.0))
    with pytest.raises(DataError, match="set prompt_format"):
        TokenCountFilter(1, 2)(TextExample("A"))
    with pytest.raises(DataError, match="min_tokens, max_tokens: int has no length"):
        TokenCountFilter(1, 2)(3)
    unanswered = TextExample("A")
    unanswered.input_ids = unanswered.context_ids = torch.zeros(3)
    assert TokenPerTokenFilter(0.5, 2)(unanswered)
