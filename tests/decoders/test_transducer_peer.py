"""Transducer search beside SpeechBrain's TransducerBeamSearcher around the same modules, and where that one is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from test_transducer_search import forward_log_prob, greedy, random_frames, search, transducer
from tiny_experiment import load_script

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def speechbrain_searcher(monkeypatch: pytest.MonkeyPatch):
    """The adapter of the benchmark."""
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    return load_script(BENCHMARKS / "decoding_transducer.py").speechbrain_searcher


@pytest.mark.parametrize("predictor", ["lstm", "gru"])
@pytest.mark.parametrize("blank_bias", [2.0, 5.0])
def test_greedy_finds_the_same_tokens(speechbrain_searcher, predictor, blank_bias):
    model, encoded = transducer(6, blank_bias=blank_bias, predictor=predictor), random_frames(4, 30)
    theirs = speechbrain_searcher(model, 1)(model.joint.frames(encoded))[0]
    assert [best.tokens for (best,) in greedy(model, encoded, max_symbols=6)] == theirs
    assert all(theirs)


def test_speechbrain_allows_a_symbol_more_than_it_says(speechbrain_searcher):
    model, encoded = transducer(4, blank_bias=-40.0), random_frames(1, 3)
    (theirs,) = speechbrain_searcher(model, 1).transducer_greedy_decode(
        model.joint.frames(encoded), max_symbols_per_step=5
    )[0]
    assert len(theirs) == 3 * 6
    assert len(greedy(model, encoded, max_symbols=5)[0][0].tokens) == 3 * 5


@pytest.mark.parametrize("seed", range(3))
def test_beam_search_finds_what_is_at_least_as_probable(speechbrain_searcher, seed):
    model, encoded = transducer(6, seed=seed, blank_bias=6.0), random_frames(3, 15, seed=seed)
    theirs, *_ = speechbrain_searcher(model, 4)(model.joint.frames(encoded))
    for frames, tokens, (best,) in zip(encoded, theirs, search(model, encoded), strict=True):
        assert forward_log_prob(model, frames, best.tokens) >= forward_log_prob(model, frames, tokens) - 1e-9


def test_speechbrain_keeps_alignments_of_one_transcript_apart(speechbrain_searcher):
    """Its beam holds the same transcript several times, each with the log-probability of a single alignment."""
    model, encoded = transducer(6, blank_bias=4.0), random_frames(1, 10)
    peer = speechbrain_searcher(model, 4)
    peer.nbest = 4
    *_, transcripts, scores = peer(model.joint.frames(encoded))
    assert len({tuple(tokens) for tokens in transcripts[0]}) < len(transcripts[0])
    tokens, per_token = transcripts[0][0], float(scores[0][0])
    alignment, whole = per_token * (len(tokens) + 1), forward_log_prob(model, encoded[0], tokens)
    ours = {tuple(h.tokens): h.score for h in search(model, encoded, beam_size=8, topk=8)[0]}
    assert len(ours) == 8
    assert alignment + 0.1 < ours[tuple(tokens)] <= whole
