"""Hotwords in label-synchronous search against phrases looked for in the whole transcript."""

from __future__ import annotations

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


def start(vocabulary):
    return SearchStart(nn.Identity(), torch.zeros(1, 5, 2), torch.tensor([5]), vocabulary)


def total(scorer, tokens):
    """The sum of what the scorer says of each token and of the end."""
    state, score = scorer.start(start(scorer.table.gain.shape[1])), 0.0
    for token in tokens:
        row = scorer.score(state)
        assert row[0, 0] == scorer.end(state)[0]
        assert scorer.score(state, torch.tensor([[token]])).item() == row[0, token].item()
        assert row.max() <= scorer.most
        score += row[0, token].item()
        state = scorer.advance(state, Extension(torch.tensor([0]), torch.tensor([token])))
    return score + scorer.end(state).item()


def occurrences(phrases, tokens, pieces):
    """Words of phrases in the transcript, counted wherever a phrase stands between spaces."""
    spaced = any(piece.startswith("▁") for piece in pieces)
    text = "".join(pieces[token] for token in tokens)
    words = text.replace("▁", " ").split() if spaced else list(text)
    score = 0
    for phrase in {" ".join(phrase.lower().split()) for phrase in phrases}:
        wanted = phrase.split() if spaced else list(phrase)
        places = range(len(words) - len(wanted) + 1)
        score += len(phrase.split()) * sum(words[place : place + len(wanted)] == wanted for place in places)
    return score


PIECES = {
    "characters": ["", "▁", "a", "b"],
    "pieces": ["", "▁a", "b", "▁ba", "ab", "▁"],
    "without spaces": ["", "a", "ab", "b", "bab"],
}
PHRASES = st.lists(st.text("aB ", min_size=1, max_size=5).filter(str.strip), max_size=5)


@pytest.mark.parametrize("name", PIECES)
@settings(max_examples=60, deadline=None)
@given(phrases=PHRASES, tokens=st.lists(st.integers(1, 5), max_size=9))
def test_what_is_promised_and_not_kept_is_taken_back(name, phrases, tokens):
    pieces = PIECES[name]
    phrases = phrases if name != "without spaces" else [phrase.replace(" ", "") for phrase in phrases]
    tokens = [1 + token % (len(pieces) - 1) for token in tokens]
    assert total(HotwordScorer(phrases, pieces), tokens) == pytest.approx(
        occurrences(phrases, tokens, pieces), abs=1e-5
    )


def test_a_promise_is_worth_something_at_once_and_a_phrase_that_goes_on_is_another_word():
    scorer = HotwordScorer(["abb"], PIECES["characters"])
    state = scorer.start(start(4))
    assert scorer.score(state)[0].tolist() == pytest.approx([0, 0, 1 / 3, 0])
    state = scorer.advance(state, Extension(torch.tensor([0, 0]), torch.tensor([2, 3])))
    assert scorer.score(state)[0].tolist() == pytest.approx([-1 / 3, -1 / 3, -1 / 3, 1 / 3])
    assert scorer.score(state)[1].tolist() == [0, 0, 0, 0]
    assert total(scorer, [2, 3, 3]) == pytest.approx(1.0)
    assert total(scorer, [2, 3, 3, 3]) == pytest.approx(0.0, abs=1e-6)


class Indifferent(nn.Module):
    """A decoder to which all transcripts are nearly alike."""

    def start(self, encoded, frames):
        return {"mean": encoded.mean(dim=(1, 2)) / frames}

    def step(self, tokens, state):
        return torch.linspace(0.0, -0.1, 6).log_softmax(-1).expand(len(tokens), -1), state


def test_a_search_finds_the_phrase():
    model, pieces = nn.Module(), ["", "▁", "a", "b", "c", "d"]
    model.decoder = Indifferent()
    scorer = ScorerBuilder({"hotword": 6.0}, [HotwordScorer(["da"], pieces)])
    search = AttentionSearcher(scorer=scorer, max_decode_ratio=1.0, length_normalization=False)
    found = search(model, torch.zeros(1, 3, 2), torch.tensor([3]))[0][0]
    assert found.tokens == [5, 2]


def test_phrases_that_do_not_fit_are_named(caplog):
    scorer = HotwordScorer(["AB", "aß", "ab"], PIECES["characters"])
    assert "hotword 'aß' is left out: no token has 'ß'" in caplog.text
    assert total(scorer, [2, 3]) == 1.0
    assert total(HotwordScorer([], PIECES["characters"]), [2, 3]) == 0.0
    with pytest.raises(ConfigError, match="must be a list of phrases, got the text 'ab'"):
        HotwordScorer("ab", PIECES["characters"])
    with pytest.raises(ModelError, match="predicts 6 tokens, but the hotwords were given a tokenizer of 4"):
        scorer.start(start(6))
