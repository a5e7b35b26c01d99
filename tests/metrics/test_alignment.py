from __future__ import annotations

from functools import lru_cache

import jiwer
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolkit.metrics.alignment import DELETION, HIT, INSERTION, SUBSTITUTION, Edit, align, edit_ops

# A busy machine is no failure.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

short = st.text("abc", max_size=7)
long = st.text("abcd", min_size=60, max_size=140)  # past 64 tokens, the width of a machine word


def distance(ops: str) -> int:
    return len(ops) - ops.count(HIT)


def brute_force_distance(reference: str, hypothesis: str) -> int:
    """The definition: the cheapest of every way to edit the last tokens."""

    @lru_cache(None)
    def cheapest(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        diagonal = cheapest(i - 1, j - 1) + (reference[i - 1] != hypothesis[j - 1])
        return min(diagonal, cheapest(i - 1, j) + 1, cheapest(i, j - 1) + 1)

    return cheapest(len(reference), len(hypothesis))


@patient
@given(short, short)
def test_no_alignment_has_fewer_errors(reference, hypothesis):
    assert distance(edit_ops(reference, hypothesis)) == brute_force_distance(reference, hypothesis)


@patient
@given(long, long)
def test_long_sequences_agree_with_jiwer(reference, hypothesis):
    theirs = jiwer.process_characters(reference, hypothesis)
    errors = theirs.substitutions + theirs.insertions + theirs.deletions
    assert distance(edit_ops(reference, hypothesis)) == errors


@patient
@given(short | long, short | long)
def test_edits_spell_both_sequences(reference, hypothesis):
    edits = align(reference, hypothesis)
    assert "".join(edit.ref for edit in edits if edit.op != INSERTION) == reference
    assert "".join(edit.hyp for edit in edits if edit.op != DELETION) == hypothesis
    for edit in edits:
        assert (
            edit.op
            == {
                (True, True): HIT if edit.ref == edit.hyp else SUBSTITUTION,
                (True, False): DELETION,
                (False, True): INSERTION,
            }[edit.ref is not None, edit.hyp is not None]
        )


@pytest.mark.parametrize(
    ("reference", "hypothesis", "ops"),
    [
        ("", "", ""),
        ("", "ab", "II"),
        ("ab", "", "DD"),
        ("abc", "abc", "==="),
        ("ab", "ba", "SS"),  # I=D has two errors too
        ("abc", "ac", "=D="),
        ("aa", "a", "=D"),  # the beginning that both share comes first
        ("a", "aa", "=I"),
        ("abcd", "xcd", "DS=="),
        ("kitten", "sitting", "S===S=I"),
    ],
)
def test_the_same_alignment_is_always_chosen(reference, hypothesis, ops):
    assert edit_ops(reference, hypothesis) == ops


def test_tokens_may_be_anything_hashable():
    assert align([1, (2, 3), "x"], [1, "x"]) == [Edit("=", 1, 1), Edit("D", (2, 3), None), Edit("=", "x", "x")]


def test_an_hour_of_words_shifted_by_one():
    reference, hypothesis = list(range(5000)), ["x", *range(4999)]
    assert edit_ops(reference, hypothesis) == INSERTION + HIT * 4999 + DELETION
