"""Kneser-Ney training against the equations of Chen and Goodman (1999), term by term, and against kenlm."""

from __future__ import annotations

import logging
import math
from collections import Counter, defaultdict

import kenlm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import ConfigError, ModelError
from toolkit.models import ngram_counts
from toolkit.models.arpa import write_arpa
from toolkit.models.kneser_ney import train_ngram


def sentences(seed=0, number=300, words=40):
    """Words that depend on the one before, common ones and rare ones."""
    rng = np.random.default_rng(seed)
    drawn = [rng.zipf(1.6, size=rng.integers(1, 9)) % words for _ in range(number)]
    return [[f"w{(word + before) % words}" for word, before in zip(row, [0, *row], strict=False)] for row in drawn]


class Reference:
    """p(w | context) from the equations, by dictionaries and recursion."""

    def __init__(self, texts, order, prune=0, fallback=(0.5, 1.0, 1.5)):
        self.counts = defaultdict(Counter)
        for text in texts:
            marked = ("<s>", *text, "</s>")
            for n in range(1, order + 1):
                self.counts[n].update(marked[start : start + n] for start in range(len(marked) - n + 1))
        self.order, self.prune = order, prune
        self.vocabulary = {gram[0] for gram in self.counts[1]} - {"<s>"} | {"<unk>"}
        self.adjusted = {n: {gram: self.adjust(gram) for gram in self.counts[n]} for n in self.counts}
        self.adjusted[1][("<s>",)] = 0
        self.discounts = {n: self.discount(Counter(self.adjusted[n].values()), fallback) for n in self.counts}

    def adjust(self, gram):
        if len(gram) == self.order or gram[0] == "<s>":
            return self.counts[len(gram)][gram]
        return sum(longer[1:] == gram for longer in self.counts[len(gram) + 1])

    def discount(self, of, fallback):
        if of[1] and of[2] and of[3]:
            y = of[1] / (of[1] + 2 * of[2])
            found = [k - (k + 1) * y * of[k + 1] / of[k] for k in (1, 2, 3)]
            if all(0 <= d <= k for k, d in enumerate(found, 1)):
                return [0, *found]
        return [0, *fallback]

    def p(self, word, context):
        n = len(context) + 1
        lower = self.p(word, context[1:]) if context else 1 / len(self.vocabulary)
        after = {gram: a for gram, a in self.adjusted[n].items() if gram[:-1] == context}
        total = sum(after.values())
        if not total:
            return lower
        kept = {gram: a for gram, a in after.items() if n == 1 or self.counts[n][gram] > self.prune}
        share = {gram: (a - self.discounts[n][min(a, 3)]) / total for gram, a in kept.items()}
        return share.get((*context, word), 0.0) + (1 - sum(share.values())) * lower


@pytest.mark.parametrize(("order", "number"), [(1, 30), (2, 200), (3, 200), (4, 6), (3, 1)])
def test_probabilities_are_those_of_the_equations(order, number):
    texts = sentences(number=number, words=12)
    model, reference = train_ngram(texts, order), Reference(texts, order)
    assert set(model.words) == reference.vocabulary | {"<s>"}
    check(model, reference, texts, order)


@pytest.mark.parametrize("threshold", [1, 2])
def test_pruned_ngrams_are_left_to_backing_off(threshold):
    texts = sentences(number=150, words=8)
    model = train_ngram(texts, 3, prune=[0, threshold])
    check(model, Reference(texts, 3, prune=threshold), texts, 3)
    assert len(model) < len(train_ngram(texts, 3))
    assert_sums_to_one(model)


def check(model, reference, texts, order):
    """All words after the contexts of some texts."""
    for text in texts[:6]:
        state, context = model.begin, ("<s>",)
        for word in (*text, "</s>"):
            for other in sorted(reference.vocabulary):
                logp, _ = model.score(state, model.word_id(other))
                expected = math.log(reference.p(other, context[1 - order :] if order > 1 else ()))
                assert logp == pytest.approx(expected, abs=1e-5)
            _, state = model.score(state, model.word_id(word))
            context = (*context, word)


def assert_sums_to_one(model):
    words = np.delete(np.arange(len(model.words)), 1)  # all but <s>
    states, words = (part.ravel() for part in np.meshgrid(np.arange(model.states), words))
    logps, _ = model.score_many(states, words)
    assert np.bincount(states, np.exp(logps)) == pytest.approx(np.ones(model.states), abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(
    texts=st.lists(st.lists(st.sampled_from("ABCD"), max_size=6), min_size=1, max_size=8),
    order=st.integers(1, 5),
    prune=st.sampled_from([(), (0, 1), (0, 0, 2)]),
    vocabulary=st.sampled_from([None, "ABCD", "AXY"]),
)
def test_probabilities_sum_to_one_in_every_state(texts, order, prune, vocabulary):
    model = train_ngram(texts, order, prune=prune[:order], vocabulary=vocabulary)
    assert_sums_to_one(model)
    assert model.order <= order
    if vocabulary:
        assert model.words[3:] == list(vocabulary)


def test_kenlm_scores_a_trained_model_alike(tmp_path):
    texts = sentences()
    model = train_ngram(texts[:200], 4)
    write_arpa(model, tmp_path / "lm.arpa")
    theirs = kenlm.Model(str(tmp_path / "lm.arpa"))
    for text in (*texts[195:], ["w1", "unheard", "w2"]):
        expected = theirs.score(" ".join(text)) * math.log(10)
        assert model.sentence_log_prob(text) == pytest.approx(expected, abs=1e-4)


def test_texts_are_counted_in_chunks(monkeypatch):
    texts = sentences()
    whole = train_ngram(texts, 3)
    monkeypatch.setattr(ngram_counts, "CHUNK_WORDS", 10)
    parts = train_ngram(iter(texts), 3)
    assert parts.words == whole.words
    for text in texts[:20]:
        assert parts.sentence_log_prob(text) == whole.sentence_log_prob(text)


def test_a_given_vocabulary_is_the_models():
    model = train_ngram([["A", "B"], ["B", "C"]], 2, vocabulary=["B", "D", "A"])
    assert model.words == ["<unk>", "<s>", "</s>", "B", "D", "A"]
    seen, _ = model.score(0, model.word_id("C"))
    never, _ = model.score(0, model.word_id("D"))
    assert -math.inf < never < seen  # C occurs as <unk>


def test_a_small_text_needs_the_fallback(caplog):
    caplog.set_level(logging.INFO)
    train_ngram([["A", "B"]], 2)
    assert "1-grams: discounts are 0.5, 1, 1.5" in caplog.text
    with pytest.raises(ModelError, match=r"does not say how to discount 1-grams: .* or give discount_fallback"):
        train_ngram([["A", "B"]], 2, discount_fallback=None)


@pytest.mark.parametrize(
    ("texts", "problem"),
    [([], "no sentence to train"), ([["A", "<s>"]], "'<s>' stands for"), ([["</s>"]], "'</s>' stands for")],
)
def test_texts_that_no_model_can_be_trained_on(texts, problem):
    with pytest.raises(ModelError, match=problem):
        train_ngram(texts, 2)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"order": 0}, "order must be a whole number of at least 1, got 0"),
        ({"order": 2.0}, "order must be"),
        ({"order": 3, "prune": [1]}, "prune must be at most 3 numbers that begin with 0 and never fall"),
        ({"order": 3, "prune": [0, 2, 1]}, "prune must be"),
        ({"order": 2, "prune": [0, 0, 1]}, "prune must be"),
    ],
)
def test_impossible_options(options, problem):
    with pytest.raises(ConfigError, match=problem):
        train_ngram([["A"]], **options)
