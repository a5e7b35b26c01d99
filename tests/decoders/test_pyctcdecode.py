"""Our build_ctcdecoder against pyctcdecode's, with one ARPA file."""

from __future__ import annotations

import logging
import math
import random

import numpy as np
import pytest
import torch

from toolkit.decoders import pyctcdecode as ours
from toolkit.errors import ConfigError, ModelError
from toolkit.models.arpa import write_arpa
from toolkit.models.kneser_ney import train_ngram

WORDS = ["the", "cat", "sat", "on", "a", "mat", "then", "cats", "ate", "that", "hat", "at"]
LABELS = ["", *" abcdehmnost"]


@pytest.fixture(scope="module")
def arpa(tmp_path_factory):
    draw = random.Random(1)
    sentences = [draw.choices(WORDS, k=draw.randint(2, 7)) for _ in range(300)]
    path = tmp_path_factory.mktemp("lm") / "words.arpa"
    write_arpa(train_ngram(sentences, 3), path)
    return str(path)


@pytest.fixture(scope="module")
def theirs():
    pytest.importorskip("kenlm", reason="pip install kenlm, which compiles: beside it pyctcdecode has no n-grams")
    return pytest.importorskip("pyctcdecode", reason="pins numpy < 2: pip install --no-deps pyctcdecode pygtrie")


def posteriors(text, sharpness, seed=0, labels=LABELS):
    """Log-probabilities of frames in which the text is said, the more clearly the higher ``sharpness`` is."""
    draw = np.random.default_rng(seed)
    path = [column for character in text for column in (labels.index(character), 0, 0)]
    logits = draw.normal(size=(len(path), len(labels)))
    logits[np.arange(len(path)), path] += sharpness
    return (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)


def texts_of_both(arpa, theirs, sharpness):
    """What is said, what we hear and what they hear, with the same options."""
    peer, mine = theirs.build_ctcdecoder(LABELS, arpa, unigrams=WORDS), ours.build_ctcdecoder(LABELS, arpa)
    draw = random.Random(2)
    texts = [" ".join(draw.choices(WORDS, k=5)) for _ in range(12)]
    spoken = [posteriors(text, sharpness, seed) for seed, text in enumerate(texts)]
    assert mine.decode_batch(None, spoken) == [mine.decode(log_probs) for log_probs in spoken]
    return spoken, texts, mine.decode_batch(None, spoken), [peer.decode(log_probs) for log_probs in spoken]


def exact_score(text, log_probs, language_model):
    """Sum over all paths, by torch, and their own score of the words."""
    tokens = torch.tensor([[LABELS.index(character) for character in text]])
    frames = torch.tensor(log_probs, dtype=torch.float64)[:, None]
    lengths = torch.tensor([len(log_probs)]), torch.tensor([tokens.shape[1]])
    total, state = -torch.nn.functional.ctc_loss(frames, tokens, *lengths, reduction="sum").item(), None
    state, words = language_model.get_start_state(), text.split()
    for place, word in enumerate(words):
        score, state = language_model.score(state, word, is_last_word=place == len(words) - 1)
        total += score
    return total


def test_on_peaky_posteriors_the_texts_are_theirs(arpa, theirs, caplog):
    caplog.set_level(logging.ERROR)
    _, texts, found, peer = texts_of_both(arpa, theirs, 9.0)
    assert found == peer == texts


def test_on_soft_posteriors_the_texts_are_theirs_or_of_a_higher_score(arpa, theirs, caplog):
    # Their beam holds a text once for blank and once for its last letter, and adds up only the likeliest tokens.
    caplog.set_level(logging.ERROR)
    spoken, texts, found, peer = texts_of_both(arpa, theirs, 5.0)
    language_model = theirs.build_ctcdecoder(LABELS, arpa, unigrams=WORDS)._language_model
    better = [
        exact_score(mine, log_probs, language_model) - exact_score(other, log_probs, language_model)
        for mine, other, log_probs in zip(found, peer, spoken, strict=True)
        if mine != other
    ]
    assert all(gain > 0.0 for gain in better)
    assert found == texts != peer


def test_a_space_that_is_clear_is_heard_after_an_unknown_word_as_by_them(arpa, theirs, caplog):
    # The word is the beginning of a known one, and costs something only when the space comes: a search that may pass
    # the space over as an unlikely blank prefers that, and has lost the way when the next letter costs as much.
    caplog.set_level(logging.ERROR)
    known = [word for word in WORDS if word != "cat"]
    spoken = posteriors("the cat sat on a mat", 7.0)
    peer = theirs.build_ctcdecoder(LABELS, arpa, unigrams=known)
    mine = ours.build_ctcdecoder(LABELS, arpa, unigrams=known)
    assert mine.decode(spoken) == peer.decode(spoken) == "the cat sat on a mat"


def test_scores_and_word_frames_are_theirs(arpa, theirs, caplog):
    caplog.set_level(logging.ERROR)
    spoken = posteriors("the cat sat on that mat", 9.0)
    peer = theirs.build_ctcdecoder(LABELS, arpa, unigrams=WORDS).decode_beams(spoken)[0]
    mine = ours.build_ctcdecoder(LABELS, arpa).decode_beams(spoken)[0]
    assert mine[0] == peer[0] == "the cat sat on that mat"
    assert mine[3:] == pytest.approx(peer[3:], abs=1e-4)
    assert mine[2] == [(word, tuple(frames)) for word, frames in peer[2]]


def test_a_space_at_the_end_is_not_an_unknown_word(arpa, theirs, caplog):
    caplog.set_level(logging.ERROR)
    spoken = posteriors("cat ", 14.0)
    peer = theirs.build_ctcdecoder(LABELS, arpa, unigrams=WORDS).decode_beams(spoken)[0]
    mine = ours.build_ctcdecoder(LABELS, arpa).decode_beams(spoken)[0]
    assert (mine[0], mine[4] - mine[3] > -10.0) == ("cat", True)
    # Theirs asks the n-gram for the word "" and pays unk_score_offset for it, where it does not swallow a letter.
    assert peer[0] != "cat" or peer[4] - peer[3] < -10.0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_probabilities_of_any_precision_are_not_taken_for_logits(dtype):
    logits = np.random.default_rng(0).normal(scale=3.0, size=(200, len(LABELS)))
    probabilities = torch.from_numpy(logits).softmax(-1).numpy().astype(dtype)
    decoder = ours.build_ctcdecoder(LABELS)
    assert decoder.decode(probabilities) == decoder.decode(logits)


def test_hotwords_win(arpa):
    decoder = ours.build_ctcdecoder(LABELS, arpa)
    spoken = posteriors("the cat sat", 6.0)
    spoken[3 * 4, LABELS.index("m")] = spoken[3 * 4, LABELS.index("c")] + 1.0  # mat or cat
    assert decoder.decode(spoken, hotwords=["cat"]) == "the cat sat"
    assert decoder.decode(spoken, hotwords=["mat"]) == "the mat sat"
    assert ours.build_ctcdecoder(LABELS).decode(spoken, hotwords=["cat"], hotword_weight=5.0) == "the cat sat"


@pytest.mark.parametrize(
    ("labels", "blank", "text"),
    [
        (["a", "|", "b", "<pad>"], 3, "ab b"),
        (["_", " ", "a", "b"], 0, None),
        (["▁a", "b", "▁b"], 3, "ab b"),
        (["a", "##b", "b", "[PAD]"], 3, "ab b"),
    ],
)
def test_labels_of_all_kinds(labels, blank, text):
    decoder = ours.build_ctcdecoder(labels)
    assert decoder.blank == blank
    if text:
        path = {"|": [0, 2, 1, 2], "##b": [0, 1, 2]}.get(labels[1], [0, 1, 2])
        logits = np.full((len(path), 4), -5.0)
        logits[np.arange(len(path)), path] = 5.0
        assert decoder.decode(logits) == text
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        assert decoder.decode(probabilities) == text


def test_what_is_wrong_is_named():
    with pytest.raises(ConfigError, match="more than one 'a'"):
        ours.build_ctcdecoder(["", "a", "a"])
    decoder = ours.build_ctcdecoder(LABELS)
    with pytest.raises(ModelError, match=r"\(frames, 13\), got \(4, 3\)"):
        decoder.decode(np.zeros((4, 3)))
    for wrong in (math.nan, math.inf, -math.inf):
        with pytest.raises(ModelError, match=r"NaN, \+inf or a frame of -inf"):
            decoder.decode(np.full((4, 13), wrong))
    for name in ("beam_prune_logp", "token_min_logp", "hotword_weight"):
        with pytest.raises(ConfigError, match=f"{name} must be a number, got nan"):
            decoder.decode(np.zeros((4, 13)), **{name: math.nan})
    with pytest.raises(ConfigError, match=r"beam_width .* at least 1, got 0"):
        decoder.decode(np.zeros((4, 13)), beam_width=0)
    assert decoder.decode(np.zeros((0, 13))) == ""


def test_a_column_of_minus_infinity_is_never_heard():
    logits = np.random.default_rng(0).normal(size=(50, len(LABELS)))
    logits[:, LABELS.index("a")] = -math.inf
    assert "a" not in ours.build_ctcdecoder(LABELS).decode(logits)
