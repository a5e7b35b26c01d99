"""Alignment of transcripts against torchaudio's, and words made of tokens."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
import torchaudio
from torch import nn

from toolkit.decoders import ctc_alignment
from toolkit.decoders.ctc import CTCPrefixSearcher
from toolkit.decoders.ctc_alignment import aligned
from toolkit.decoders.hypothesis import Hypothesis
from toolkit.decoders.words import Word, words_of
from toolkit.errors import ConfigError


def random_frames(T, V, seed=0, scale=3.0):
    noise = torch.randn(T, V, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (scale * noise).log_softmax(-1)


def spans(path):
    """(first frame, the one after the last) of each token of a path with blanks."""
    starts = [t for t, token in enumerate(path) if token and (t == 0 or path[t - 1] != token)]
    return [(t, next((u for u in range(t, len(path)) if path[u] != path[t]), len(path))) for t in starts]


@pytest.mark.parametrize("band", [1025, 21])
@pytest.mark.parametrize("seed", range(8))
def test_the_best_path_is_torchaudios(monkeypatch, seed, band):
    monkeypatch.setattr(ctc_alignment, "BAND", band)
    log_probs = random_frames(60, 5, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    path = log_probs.argmax(-1).tolist() if band == 21 else torch.randint(1, 5, (20,), generator=generator).tolist()
    tokens = [t for t, before in zip(path, [0, *path], strict=False) if t and (t != before or band == 1025)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # forced_align is deprecated
        path, _ = torchaudio.functional.forced_align(log_probs[None].float(), torch.tensor([tokens]))
    assert aligned(Hypothesis(tokens, 0.0), log_probs.numpy()).frames == spans(path[0].tolist())


def test_confidence_is_the_highest_probability_of_a_tokens_frames():
    probabilities = np.array([[0.1, 0.9, 0.0], [0.2, 0.8, 0.0], [0.6, 0.4, 0.0], [0.3, 0.0, 0.7]])
    with np.errstate(divide="ignore"):
        found = aligned(Hypothesis([1, 2], -1.0), np.log(probabilities))
    assert found.frames == [(0, 2), (3, 4)]
    assert found.confidence == pytest.approx([0.9, 0.7])
    assert (found.tokens, found.score) == ([1, 2], -1.0)


def test_what_cannot_be_aligned_is_left_as_it_is():
    log_probs = random_frames(3, 3).numpy()
    for hypothesis in [Hypothesis([], -math.inf), Hypothesis([1, 1, 1], -2.0)]:
        assert aligned(hypothesis, log_probs) == hypothesis
    assert aligned(Hypothesis([], 0.0), log_probs[:0]) == Hypothesis([], 0.0, [], [])


@pytest.mark.parametrize(
    ("pieces", "tokens"),
    [(["", "▁", "A", "B"], [1, 2, 3, 1, 1, 2]), (["", "▁A", "B", "▁", "A"], [1, 2, 3, 3, 4])],
)
def test_words_are_what_stands_between_spaces(pieces, tokens):
    frames = [(place, place + 1) for place in range(len(tokens))]
    confidence = [0.1 * (place + 1) for place in range(len(tokens))]
    first, second = words_of(Hypothesis(tokens, 0.0, frames, confidence), pieces)
    start = len(tokens) == 6
    mean = math.sqrt(0.2 * 0.3) if start else math.sqrt(0.1 * 0.2)
    assert first == Word("AB", int(start), 2 + start, pytest.approx(mean))
    assert second == Word("A", len(tokens) - 1, len(tokens), pytest.approx(0.1 * len(tokens)))


def test_each_of_the_best_transcripts_has_words_with_frames_and_confidence():
    pieces, said = ["", "▁", "A", "B"], [2, 0, 3, 1, 0, 3, 3, 0, 2]  # AB BA
    log_probs = torch.full((9, 4), 0.02, dtype=torch.float64)
    log_probs[range(9), said] = 0.94
    log_probs[0, [2, 3]] = torch.tensor([0.56, 0.4], dtype=torch.float64)  # or BB BA
    model = nn.Identity()
    model.ctc_log_probs = model.forward
    found = CTCPrefixSearcher(topk=2, align=True)(model, log_probs.log()[None], torch.tensor([9]))[0]
    best, second = (words_of(hypothesis, pieces) for hypothesis in found)
    assert best == [Word("AB", 0, 3, pytest.approx(math.sqrt(0.56 * 0.94))), Word("BA", 5, 9, pytest.approx(0.94))]
    assert second == [Word("BB", 0, 3, pytest.approx(math.sqrt(0.4 * 0.94))), Word("BA", 5, 9, pytest.approx(0.94))]
    assert found[0].confidence == pytest.approx([0.56, *[0.94] * 4])


def test_words_need_an_alignment():
    with pytest.raises(ConfigError, match="align"):
        words_of(Hypothesis([1], 0.0), ["", "▁A"])
    assert words_of(Hypothesis([], 0.0, [], []), ["", "▁A"]) == []
