"""Transducer search beside SpeechBrain's TransducerBeamSearcher around the same modules; where that one is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import speechbrain.decoders.transducer  # noqa: F401  here, as tests/conftest.py has to see it before hypothesis does
import torch
from test_transducer_search import forward_log_prob, greedy, random_frames, search, transducer
from tiny_experiment import load_script

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch):
    """The module that compares the two, with a small model."""
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    module = load_script(BENCHMARKS / "decoding_transducer.py")
    module.B, module.T, module.V, module.SIZE, module.JOINT = 3, 40, 40, 64, 128
    module.LOUD, module.BLANK = 20.0, 9.0
    return module


@pytest.mark.parametrize("predictor", ["lstm", "gru"])
@pytest.mark.parametrize("blank_bias", [2.0, 4.0])
def test_greedy_finds_the_same_tokens(benchmark, predictor, blank_bias):
    model, encoded = transducer(6, blank_bias=blank_bias, predictor=predictor), random_frames(4, 30)
    theirs = benchmark.speechbrain_searcher(model, 1)(model.joint.frames(encoded))[0]
    assert [best.tokens for (best,) in greedy(model, encoded, max_symbols=6)] == theirs
    assert all(theirs)


def test_speechbrain_allows_a_symbol_more_than_it_says(benchmark):
    model, encoded = transducer(4, blank_bias=-40.0), random_frames(1, 3)
    peer = benchmark.speechbrain_searcher(model, 1)
    (theirs,) = peer.transducer_greedy_decode(model.joint.frames(encoded), max_symbols_per_step=5)[0]
    assert len(theirs) == 3 * 6
    assert len(greedy(model, encoded, max_symbols=5)[0][0].tokens) == 3 * 5


def test_beam_search_finds_the_same_transcripts_and_more_of_their_probability(benchmark):
    model, encoded = benchmark.speaking_model(tokens=6)
    theirs, _, _, per_token = benchmark.speechbrain_searcher(model, 4)(model.joint.frames(encoded))
    found = search(model, encoded)
    assert [best.tokens for (best,) in found] == theirs
    assert benchmark.at_least_as_probable(model, encoded, found, [theirs])
    for frames, (best,), (score,) in zip(encoded, found, per_token, strict=True):
        of_one_alignment = float(score) * (len(best.tokens) + 1)
        assert of_one_alignment < best.score <= benchmark.log_prob(model, frames, best.tokens) + 1e-5


def test_speechbrain_keeps_alignments_of_one_transcript_apart(benchmark):
    """Its list of the best holds one transcript twice, each time with the log-probability of one alignment."""
    model, encoded = transducer(6, seed=3, blank_bias=4.0), random_frames(1, 10)
    peer = benchmark.speechbrain_searcher(model, 4)
    peer.nbest = 2
    *_, (transcripts,), (per_token,) = peer(model.joint.frames(encoded))
    assert transcripts == [[2], [2]]
    both = torch.stack(per_token).mul(2).logsumexp(0).item()
    ours = {tuple(h.tokens): h.score for h in search(model, encoded, topk=4)[0]}
    assert len(ours) == 4
    assert both < ours[(2,)] <= forward_log_prob(model, encoded[0], [2]) + 1e-9
