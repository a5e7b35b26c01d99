"""Fused CTC search against sums over every path, and scores written down word by word."""

from __future__ import annotations

import itertools
import logging
import math
from collections import defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from toolkit.decoders.ctc import CTCPrefixSearcher
from toolkit.decoders.ctc_fusion import CTCFusion
from toolkit.errors import ConfigError, ModelError
from toolkit.models.kneser_ney import train_ngram

LN10 = math.log(10.0)
INF = math.inf
CHARACTERS = ["<blank>", "▁", "a", "b"]
PIECES = ["<blank>", "▁a", "b", "▁b"]
WORDS = train_ngram([text.split() for text in ("a b", "ab a", "b ab ba", "a", "ab ab")], 3)
SPELLINGS = {
    name: train_ngram([sentence.split() for sentence in texts], 3)
    for name, texts in {"characters": ("a ▁ b", "a b ▁ a", "b a"), "pieces": ("▁a b ▁b", "▁a", "▁b b")}.items()
}
TOKENS = {"characters": CHARACTERS, "pieces": PIECES}


class Recogniser(nn.Module):
    def ctc_log_probs(self, encoded):
        return encoded


def random_frames(T, V=4, seed=0, scale=1.5):
    noise = torch.randn(T, V, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (scale * noise).log_softmax(-1)


def search(log_probs, fusion, **options):
    options = {"beam_size": 400, "topk": 400, "preset": "exact"} | options
    return CTCPrefixSearcher(fusion=fusion, **options)(Recogniser(), log_probs[None], torch.tensor([len(log_probs)]))[0]


def text_of(tokens, pieces):
    return " ".join("".join(pieces[token] for token in tokens).replace("▁", " ").split())


def logsumexp(values):
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def every_transcript(log_probs, pieces, *, words):
    """{tokens: log-probability} over all paths; with words, without spaces that are not between two of them."""
    rows, paths = log_probs.tolist(), defaultdict(list)
    for path in itertools.product(range(len(pieces)), repeat=len(rows)):
        tokens = [token for token, _ in itertools.groupby(path) if token]
        if words and pieces[1] == "▁":
            tokens = [t for t, before in zip(tokens, [1, *tokens], strict=False) if (t, before) != (1, 1)]
            tokens = tokens[:-1] if tokens[-1:] == [1] else tokens
        paths[tuple(tokens)].append(sum(row[token] for row, token in zip(rows, path, strict=True)))
    return {tokens: logsumexp(found) for tokens, found in paths.items()}


def tokens_by_word(tokens, pieces):
    groups = [[]]
    for token in tokens:
        groups += [[]] if pieces[token].startswith("▁") and text_of(groups[-1], pieces) else []
        groups[-1].append(token)
    return [group for group in groups if text_of(group, pieces)]


def expected_score(tokens, fusion):
    """What a fusion should add to a whole transcript."""
    pieces = fusion.pieces
    words = text_of(tokens, pieces).split()
    score = sum(
        fusion.hotword_weight * len(phrase.split())
        for phrase in fusion.hotwords
        for start in range(len(words))
        if words[start : start + len(phrase.split())] == phrase.lower().split()
    )
    spelled, state = [], fusion.tokens.begin if fusion.tokens else None
    if (
        fusion.tokens and fusion.words and "▁" in pieces
    ):  # a separator before the first word is no token of a transcript
        _, state = fusion.tokens.score(state, fusion.tokens.word_id("▁"))
    for token in tokens if fusion.tokens else ():
        logp, state = fusion.tokens.score(state, fusion.tokens.word_id(pieces[token]))
        spelled.append(fusion.token_weight * logp)
    if fusion.words is None:
        return score + sum(spelled) + (fusion.token_weight * fusion.tokens.score(state, 2)[0] if fusion.tokens else 0.0)
    state, place = fusion.words.begin if fusion.boundaries else 0, 0
    known = set(fusion.words.words if fusion.unigrams is None else fusion.unigrams) & set(fusion.words.words)
    hot = {word.lower() for phrase in fusion.hotwords for word in phrase.split()}
    for word, group in zip(words, tokens_by_word(tokens, pieces), strict=True):
        logp, state = fusion.words.score(state, fusion.words.word_id(word) if word in known else 0)
        score += fusion.alpha * logp + fusion.beta
        if word not in known | hot:
            longer = max(1.0, len(word) / 6) if fusion.unk_by_length else 1.0
            score += -INF if fusion.closed_vocabulary else fusion.alpha * LN10 * fusion.unk_score_offset * longer
            score += sum(spelled[place : place + len(group)])
        place += len(group)
    return score + (fusion.alpha * fusion.words.score(state, 2)[0] if fusion.boundaries else 0.0)


FUSIONS = {
    "word": {"word_ngram": WORDS},
    "closed": {"word_ngram": WORDS, "closed_vocabulary": True},
    "list": {"word_ngram": WORDS, "unigrams": ["a", "ba", "zebra"], "unk_score_offset": -1.0, "boundaries": False},
    "token": {"token_weight": 0.7},
    "word and token": {"word_ngram": WORDS, "token_weight": 0.3, "unk_score_offset": -2.0},
    "hotwords": {"hotwords": ["A b", "bab", "b"], "hotword_weight": 3.0},
    "all": {"word_ngram": WORDS, "token_weight": 0.3, "hotwords": ["bb", "ab a"], "hotword_weight": 2.0},
}


def fusion_of(name, tokens):
    options = FUSIONS[name]
    if "token_weight" in options:
        options = options | {"token_ngram": SPELLINGS[tokens]}
    return CTCFusion(tokenizer=TOKENS[tokens], **options)


@pytest.mark.parametrize("backend", ["compiled", "tensor"])
@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("name", FUSIONS)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), T=st.integers(1, 5))
def test_every_transcript_gets_its_exact_score(backend, tokens, name, seed, T):
    pieces = TOKENS[tokens]
    fusion, log_probs = fusion_of(name, tokens), random_frames(T, seed=seed)
    transcripts = every_transcript(log_probs, pieces, words=fusion.words is not None)
    expected = {found: logp + expected_score(found, fusion) for found, logp in transcripts.items()}
    expected = {found: score for found, score in expected.items() if score > -INF}
    found = {}
    for hypothesis in search(log_probs, fusion, backend=backend):
        kept = tuple(hypothesis.tokens)
        if fusion.words and pieces[1] == "▁" and kept[-1:] == (1,):
            kept = kept[:-1]
        assert kept not in found
        found[kept] = hypothesis.score
    assert found == pytest.approx(expected, abs=1e-5)


ARPA = """\\data\\
ngram 1=5

\\1-grams:
-2.0 <unk>
-99 <s>
-1.0 </s>
-6.0 aaa
-6.0 bbb

\\end\\
"""


def test_long_unknown_words_cost_more_than_the_words_they_are_glued_from(tmp_path):
    words = tmp_path / "rare.arpa"
    words.write_text(ARPA)
    glued = [2, 2, 2, 3, 3, 3, 2, 2, 2, 3, 3, 3, 2, 2, 2, 3, 3, 3]
    parted = [2, 2, 2, 1, 3, 3, 3, 1, 2, 2, 2, 1, 3, 3, 3, 1, 2, 2, 2, 1, 3, 3, 3]
    gains = {}
    for by_length in (False, True):
        fusion = CTCFusion(tokenizer=CHARACTERS, word_ngram=words, unk_by_length=by_length)
        gains[by_length] = expected_score(glued, fusion) - expected_score(parted, fusion)
    assert gains[False] > 5.0  # pyctcdecode's score: saying that nobody ever said this is better than six known words
    assert gains[True] < 0.0


@pytest.mark.parametrize("backend", ["compiled", "tensor"])
def test_a_space_after_a_long_unknown_word_is_not_put_off(tmp_path, backend):
    words, spoken = tmp_path / "rare.arpa", [2, 3] * 8 + [1, 3, 0, 3, 0, 3]  # abab... bbb
    words.write_text(ARPA)
    log_probs = torch.full((len(spoken), 4), -40.0, dtype=torch.float64)
    log_probs[range(len(spoken)), spoken] = 0.0
    log_probs[16] = torch.tensor([-40.0, math.log(0.6), math.log(0.4), -40.0])  # a space, or another letter
    fusion = CTCFusion(tokenizer=CHARACTERS, word_ngram=words)
    assert search(log_probs, fusion, beam_size=1, topk=1, backend=backend)[0].tokens == [*spoken[:16], 1, 3, 3, 3]


def test_a_phrase_that_breaks_off_earns_nothing():
    fusion = CTCFusion(tokenizer=CHARACTERS, hotwords=["ab ab"], hotword_weight=4.0)
    log_probs = torch.full((9, 4), -30.0, dtype=torch.float64)
    for t, token in enumerate([2, 3, 1, 2, 0, 2]):  # ab aa
        log_probs[t, token] = 0.0
    log_probs[6:, 0] = 0.0
    best = search(log_probs, fusion, beam_size=50, topk=1)[0]
    assert (best.tokens, best.score) == ([2, 3, 1, 2, 2], pytest.approx(0.0, abs=1e-6))


def test_without_spaces_a_phrase_may_stand_anywhere():
    fusion = CTCFusion(tokenizer=["<blank>", "a", "b", "ab"], hotwords=["ba"], hotword_weight=4.0)
    log_probs = torch.full((4, 4), -30.0, dtype=torch.float64)
    for t, token in enumerate([3, 1, 0, 2]):  # ab a b
        log_probs[t, token] = 0.0
    best = search(log_probs, fusion, beam_size=50, topk=1)[0]
    assert (best.tokens, best.score) == ([3, 1, 2], pytest.approx(4.0, abs=1e-6))


def test_a_hotword_outside_the_alphabet_is_a_warning_that_names_it(caplog):
    with caplog.at_level(logging.WARNING):
        fusion = CTCFusion(tokenizer=CHARACTERS, hotwords=["Zoë", "AB"], hotword_weight=1.0)
        assert len(fusion.tables.phrases.reward) == 5  # the root, a space, a, b, a space
    assert "hotword 'Zoë' is left out: no token has 'o', 'z', 'ë'" in caplog.text
    assert "'AB'" not in caplog.text


def test_all_hotwords_unknown_is_as_if_there_were_none(caplog):
    fusion, log_probs = CTCFusion(tokenizer=CHARACTERS, hotwords=["xyz"]), random_frames(8)
    plain = CTCPrefixSearcher(preset="exact", topk=5)(Recogniser(), log_probs[None], torch.tensor([8]))[0]
    assert search(log_probs, fusion, beam_size=16, topk=5) == plain
    assert "xyz" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs word_ngram, token_ngram or hotwords"),
        ({"hotwords": "abc"}, "hotwords must be a list"),
        ({"word_ngram": WORDS, "alpha": -1.0}, "alpha"),
        ({"word_ngram": WORDS, "unk_score_offset": 1.0}, "unk_score_offset"),
        ({"hotwords": ["a"], "hotword_weight": -1.0}, "hotword_weight"),
        ({"token_ngram": WORDS, "token_weight": -1.0}, "token_weight"),
        ({"word_ngram": WORDS, "unigrams": "ab"}, "unigrams must be a list"),
        ({"hotwords": ["a"], "closed_vocabulary": True}, "closed_vocabulary and unigrams say"),
        ({"word_ngram": WORDS, "alpha": "much"}, "alpha must be a number, got 'much'"),
        ({"word_ngram": WORDS, "unk_score_offset": -INF}, "unk_score_offset"),
    ],
)
def test_impossible_fusions_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        CTCFusion(tokenizer=CHARACTERS, **options)


def test_n_grams_of_another_vocabulary_are_refused():
    with pytest.raises(ModelError, match="token_ngram knows none of the recogniser's tokens"):
        CTCFusion(tokenizer=["", "▁", "x", "y"], token_ngram=WORDS)
    for pieces, words in ((["", "▁", "A", "B"], WORDS), (CHARACTERS, SPELLINGS["characters"])):
        with pytest.raises(ModelError, match="word_ngram is not over words of these tokens' letters"):
            CTCFusion(tokenizer=pieces, word_ngram=words)


def test_a_word_n_gram_is_no_neural_language_model():
    with pytest.raises(ConfigError, match=r"lm: Identity cannot be asked .* as word_ngram of a CTCFusion"):
        CTCPrefixSearcher(lm=nn.Identity(), lm_weight=0.5)


def test_a_fusion_that_does_not_fit_is_refused():
    fusion = CTCFusion(tokenizer=CHARACTERS, word_ngram=WORDS)
    with pytest.raises(ModelError, match="5 tokens, but fusion was given a tokenizer of 4"):
        search(random_frames(3, V=5), fusion)
    with pytest.raises(ConfigError, match="both fusion and lm"):
        CTCPrefixSearcher(fusion=fusion, lm=nn.Identity(), lm_weight=0.5)
