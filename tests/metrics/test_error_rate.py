from __future__ import annotations

import dataclasses
import math

import jiwer
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolkit.metrics.alignment import Edit
from toolkit.metrics.error_rate import ErrorRate, ErrorRateTracker, character_errors, word_errors

# A busy machine is no failure.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Jiwer strips a text but counts every space between its words as a character; here runs of spaces are one.
sentences = st.lists(st.sampled_from(["one", "two", "on", "tow", "é", "木"]), max_size=9).map(" ".join)


def assert_consistent(rate: ErrorRate, reference_length: int, hypothesis_length: int) -> None:
    assert rate.hits + rate.substitutions + rate.deletions == rate.reference_length == reference_length
    assert rate.hits + rate.substitutions + rate.insertions == hypothesis_length
    assert min(dataclasses.astuple(rate)) >= 0


@patient
@given(sentences, sentences)
def test_words_agree_with_jiwer(reference, hypothesis):
    rate = word_errors(reference, hypothesis)
    assert_consistent(rate, len(reference.split()), len(hypothesis.split()))
    assert rate.rate == pytest.approx(100 * jiwer.wer(reference, hypothesis))


@patient
@given(sentences, sentences)
def test_characters_agree_with_jiwer(reference, hypothesis):
    rate = character_errors(reference, hypothesis)
    assert_consistent(rate, len(reference), len(hypothesis))
    assert rate.rate == pytest.approx(100 * jiwer.cer(reference, hypothesis))


@patient
@given(st.lists(st.tuples(sentences, sentences), min_size=1, max_size=6))
def test_corpus_agrees_with_jiwer(pairs):
    tracker = ErrorRateTracker()
    for number, (reference, hypothesis) in enumerate(pairs):
        tracker.add(str(number), reference, hypothesis)
    references, hypotheses = map(list, zip(*pairs, strict=True))
    assert tracker.wer == pytest.approx(100 * jiwer.wer(references, hypotheses))
    assert tracker.cer == pytest.approx(100 * jiwer.cer(references, hypotheses))
    assert tracker.ser == pytest.approx(100 * sum(map(str.__ne__, references, hypotheses)) / len(pairs))
    assert sum(tracker.confusions.values()) == tracker.words.errors


@pytest.mark.parametrize(
    ("reference", "hypothesis", "rate"),
    [("", "", 0.0), (" ", "\n", 0.0), ("", "one two", 200.0), ("one two", "", 100.0), ("one", "a b c", 300.0)],
)
def test_word_rate_at_the_edges(reference, hypothesis, rate):
    assert word_errors(reference, hypothesis).rate == rate


@pytest.mark.parametrize(
    ("reference", "hypothesis", "rate"), [("", "", 0.0), ("", "ab c", 400.0), ("ab c", "", 100.0), ("ab", "a b", 50.0)]
)
def test_character_rate_at_the_edges(reference, hypothesis, rate):
    assert character_errors(reference, hypothesis).rate == rate


def test_white_space_is_no_error():
    assert word_errors("one  two", " one two\n").errors == 0
    assert character_errors("one  two", " one\ttwo\n") == ErrorRate(hits=7, reference_length=7)


def test_rates_add_up_and_stay_as_they_are():
    first, second = word_errors("a b c", "a x"), word_errors("", "y")
    assert sum([first, second], ErrorRate()) == ErrorRate(1, 1, 1, 3, 1)
    assert (first + second).rate == 100.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.hits = 3


def test_confusions_are_counted():
    tracker = ErrorRateTracker()
    tracker.add("1", "six one", "sex one")
    tracker.add("2", "six two", "sex two uh")
    tracker.add("3", "the end", "end")
    assert tracker.confusions == {Edit("S", "six", "sex"): 2, Edit("I", None, "uh"): 1, Edit("D", "the", None): 1}
    assert tracker.wrong_sentences == 3
    assert tracker.utterances["2"].words == ErrorRate(substitutions=1, insertions=1, reference_length=2, hits=1)


def test_an_utterance_counts_once():
    tracker = ErrorRateTracker()
    tracker.add("1", "a", "b")
    with pytest.raises(ValueError, match="'1' is scored a second time"):
        tracker.add("1", "a", "b")
    assert tracker.words.reference_length == 1


def test_nothing_scored():
    tracker = ErrorRateTracker()
    assert (tracker.wer, tracker.cer, tracker.ser) == (0.0, 0.0, 0.0)


def test_interval_is_that_of_the_normal_approximation():
    # 400 utterances of ten words, one in four of which has one error: the mean of a binomial
    tracker = ErrorRateTracker()
    for number in range(400):
        tracker.add(str(number), "a " * 10, "a " * 9 + ("b" if number % 4 == 0 else "a"))
    assert tracker.wer == 2.5
    low, high = tracker.wer_interval(resamples=4000)
    half = 1.96 * 10 * math.sqrt(0.25 * 0.75 / 400)
    assert low == pytest.approx(2.5 - half, abs=0.05)
    assert high == pytest.approx(2.5 + half, abs=0.05)
    assert tracker.wer_interval(resamples=4000) == (low, high)


def test_interval_without_reference_words():
    tracker = ErrorRateTracker()
    for number in range(10):
        tracker.add(str(number), "", "")
    assert tracker.wer_interval() == (0.0, 0.0)
