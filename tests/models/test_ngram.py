"""The automaton against the definition of backing off, and against kenlm."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import kenlm
import numpy as np
import pytest
from arpa_texts import LN10, arpa_text, random_grams
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import ModelError
from toolkit.models.arpa import read_arpa
from toolkit.models.ngram import NgramModel

SENTENCES = [sentence for length in range(5) for sentence in itertools.product(("A", "B", "É", "OOV"), repeat=length)]


def defined(grams, context, word):
    """log10 p(word | context) as ARPA files define it."""
    if (*context, word) in grams:
        return grams[(*context, word)][0]
    if not context:
        return grams[("<unk>",)][0]
    return grams.get(context, (0.0, 0.0))[1] + defined(grams, context[1:], word)


def model_of(grams, folder) -> NgramModel:
    path = folder / "lm.arpa"
    path.write_text(arpa_text(grams), encoding="utf-8")
    return read_arpa(path)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), order=st.integers(1, 4), share=st.floats(0.05, 1.0))
def test_scores_are_as_backing_off_is_defined_also_where_contexts_and_suffixes_are_missing(
    tmp_path_factory, seed, order, share
):
    grams = random_grams(seed, order, share)
    order = max(map(len, grams))
    model = model_of(grams, tmp_path_factory.mktemp("arpa"))
    for sentence in SENTENCES[::7]:
        state, history = model.begin, ("<s>",)
        for word in (*sentence, "</s>"):
            logp, state = model.score(state, model.word_id(word))
            known = word if (word,) in grams else "<unk>"
            assert logp / LN10 == pytest.approx(
                defined(grams, history[1 - order :] if order > 1 else (), known), abs=1e-4
            )
            history = (*history, known)


@pytest.mark.parametrize("order", [2, 3, 5])
def test_sentences_and_states_are_those_of_kenlm(tmp_path, order):
    model = model_of(random_grams(order, order, 0.6, closed=True), tmp_path)
    theirs = kenlm.Model(str(tmp_path / "lm.arpa"))
    pairs = set()
    for sentence in SENTENCES:
        for begin, end in itertools.product((False, True), repeat=2):
            ours = model.sentence_log_prob(sentence, begin=begin, end=end) / LN10
            assert ours == pytest.approx(theirs.score(" ".join(sentence), bos=begin, eos=end), abs=1e-4)
        pairs.add((walk(model, sentence), walk_kenlm(theirs, sentence)))
    assert len(pairs) == len({ours for ours, _ in pairs}) == len({other for _, other in pairs})


def walk(model, sentence):
    state = model.begin
    for word in sentence:
        _, state = model.score(state, model.word_id(word))
    return state


def walk_kenlm(model, sentence):
    state, after = kenlm.State(), kenlm.State()
    model.BeginSentenceWrite(state)
    for word in sentence:
        model.BaseScore(state, word, after)
        state, after = after, state
    return state


def test_many_at_once_score_as_one_by_one(tmp_path):
    model = model_of(random_grams(3, 4, 0.5), tmp_path)
    states, words = (part.ravel() for part in np.indices((model.states, len(model.words))))
    logps, following = model.score_many(states, words)
    single = [model.score(state, word) for state, word in zip(states.tolist(), words.tolist(), strict=True)]
    assert logps.tolist() == pytest.approx([logp for logp, _ in single], abs=1e-6)
    assert following.tolist() == [state for _, state in single]
    assert [len(part) for part in model.score_many([], [])] == [0, 0]


def test_arcs_are_laid_out_as_promised(tmp_path):
    model = model_of(random_grams(5, 3, 0.5), tmp_path)
    assert model.words[:3] == ["<unk>", "<s>", "</s>"]
    assert model.arc_word[: len(model.words)].tolist() == list(range(len(model.words)))
    assert all((np.diff(arcs) > 0).all() for arcs in np.split(model.arc_word, model.arc_start[1:-1]))
    assert (model.backoff_state[1:] < np.arange(1, model.states)).all()
    assert model.ids[model.words[4]] == 4
    assert model.word_id("nobody says this") == 0


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("arc_next", lambda array: array + 99, "an arc leads to no state"),
        ("backoff_state", lambda array: array + 1, "a state backs off to no shorter one"),
        ("arc_word", lambda array: array[::-1].copy(), "the empty context does not have an arc for each word"),
        ("arc_start", lambda array: array + 1, "arcs that belong to no state"),
        ("arc_start", lambda array: array[::-1].copy(), "arcs that belong to no state"),
        ("arc_logp", lambda array: array[:-1], r"arc_logp is float32 of shape"),
        ("arc_next", lambda array: array.astype(float), r"arc_next is float64 of shape"),
        ("words", lambda words: ["A", *words[1:]], "its first words are"),
        ("words", lambda words: [*words[:-1], "A B"], "a word is empty, holds white space or is there twice"),
        ("words", lambda words: [*words[:-1], words[3]], "a word is empty, holds white space or is there twice"),
    ],
)
def test_arrays_in_which_a_walk_would_get_lost_are_refused(tmp_path, name, change, problem):
    model = model_of(random_grams(5, 3, 0.5), tmp_path)
    with pytest.raises(ModelError, match=problem):
        replace(model, **{name: change(getattr(model, name))})


def test_a_word_of_probability_zero_makes_a_sentence_impossible(tmp_path):
    grams = {("<unk>",): (-math.inf, 0.0), ("<s>",): (-99.0, -0.5), ("</s>",): (-1.0, 0.0), ("A",): (-1.0, -0.2)}
    grams[("A", "A")] = (-0.3, 0.0)
    model = model_of(grams, tmp_path)
    assert model.sentence_log_prob(["A", "OOV"]) == -math.inf
    assert model.sentence_log_prob(["A"]) == pytest.approx(LN10 * (-0.5 - 1.0 - 0.2 - 1.0))
