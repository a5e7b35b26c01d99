"""Hotwords in label-synchronous search against phrases looked for in the whole transcript."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from toolkit.decoders.attention import AttentionSearcher
from toolkit.decoders.hotword_scorer import HotwordScorer
from toolkit.decoders.scorer_builder import ScorerBuilder
from toolkit.decoders.scorers import Extension, SearchStart
from toolkit.errors import ConfigError, ModelError

START = SearchStart(nn.Identity(), torch.zeros(1, 5, 2), torch.tensor([5]), 6)


def total(scorer, tokens):
    """The sum of what the scorer says of each token and of the end."""
    state, score = scorer.start(START), 0.0
    for token in tokens:
        row = scorer.score(state)
        assert row[0, 0] == scorer.end(state)[0]
        assert scorer.score(state, torch.tensor([[token]])).item() == row[0, token].item()
        assert row.max() <= scorer.most
        score += row[0, token].item()
        state = scorer.advance(state, Extension(torch.tensor([0]), torch.tensor([token])))
    return score + scorer.end(state).item()


def occurrences(phrases, tokens):
    """Tokens of phrases in the transcript; of phrases that one begins with, those beyond the shorter one."""
    score = 0
    for phrase in phrases:
        shorter = max(
            (len(other) for other in phrases if len(other) < len(phrase) and phrase[: len(other)] == other), default=0
        )
        places = range(len(tokens) - len(phrase) + 1)
        score += sum(tokens[place : place + len(phrase)] == phrase for place in places) * (len(phrase) - shorter)
    return score


PHRASES = st.sets(st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple), max_size=5)


@settings(max_examples=60, deadline=None)
@given(phrases=PHRASES, tokens=st.lists(st.integers(1, 4), max_size=9).map(tuple))
def test_what_is_promised_and_not_kept_is_taken_back(phrases, tokens):
    assert total(HotwordScorer(phrases), tokens) == pytest.approx(occurrences(phrases, tokens))


def test_a_promise_is_worth_something_at_once():
    scorer = HotwordScorer([(1, 2, 3)])
    state = scorer.start(START)
    assert scorer.score(state)[0].tolist() == [0, 1, 0, 0, 0, 0]
    state = scorer.advance(state, Extension(torch.tensor([0, 0]), torch.tensor([1, 4])))
    assert scorer.score(state).tolist() == [[-1, 0, 1, -1, -1, -1], [0, 1, 0, 0, 0, 0]]


class Indifferent(nn.Module):
    """A decoder to which all transcripts are nearly alike."""

    def start(self, encoded, frames):
        return {"mean": encoded.mean(dim=(1, 2)) / frames}

    def step(self, tokens, state):
        return torch.linspace(0.0, -0.1, 6).log_softmax(-1).expand(len(tokens), -1), state


def test_a_search_finds_the_phrase():
    model = nn.Module()
    model.decoder = Indifferent()
    scorer = ScorerBuilder({"hotword": 2.0}, [HotwordScorer([(3, 1, 4)])])
    search = AttentionSearcher(scorer=scorer, max_decode_ratio=1.0, length_normalization=False)
    found = search(model, torch.zeros(1, 3, 2), torch.tensor([3]))[0][0]
    rows = {
        tokens: occurrences({(3, 1, 4)}, tokens)
        for n in range(4)
        for tokens in itertools.product(range(1, 6), repeat=n)
    }
    assert tuple(found.tokens) == max(rows, key=rows.get)


def test_phrases_that_cannot_be_spelled_are_named(caplog):
    tokenizer = SimpleNamespace(encode=lambda text: [ord(letter) - 96 if letter.isascii() else 0 for letter in text])
    scorer = HotwordScorer(["ab", "aß", "ab"], tokenizer)
    assert "'aß' is left out" in caplog.text
    assert total(scorer, (1, 2)) == 2.0
    with pytest.raises(ConfigError, match="'ab' is a text: give a tokenizer"):
        HotwordScorer(["ab"])
    with pytest.raises(ConfigError, match="is empty"):
        HotwordScorer([[]])
    with pytest.raises(ModelError, match="the token 7, but the decoder predicts 6"):
        HotwordScorer([[7]]).start(START)
