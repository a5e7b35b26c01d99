"""CTC search in chunks against the same search in one piece."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from toolkit.decoders.ctc import CTCGreedySearcher, CTCPrefixSearcher
from toolkit.decoders.hypothesis import Hypothesis
from toolkit.errors import ModelError


class Recogniser(nn.Module):
    def ctc_log_probs(self, encoded):
        return encoded


class UnigramLM(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.row = torch.linspace(-1, 1, vocabulary, dtype=torch.float64).log_softmax(-1)

    def start(self, n, device):
        return {"nothing": torch.zeros(n, device=device)}

    def step(self, tokens, state):
        return self.row.expand(len(tokens), -1).clone(), state


SEARCHERS = {
    "greedy": CTCGreedySearcher(),
    "compiled": CTCPrefixSearcher(beam_size=5, topk=3, blank_skip=0.6, align=True),
    "tensor": CTCPrefixSearcher(beam_size=5, topk=3, blank_skip=0.6, align=True, backend="tensor"),
    "lm": CTCPrefixSearcher(beam_size=5, topk=3, blank_skip=0.6, lm=UnigramLM(4), lm_weight=0.5),
}


def random_frames(T, V=4, seed=0, scale=2.0):
    noise = torch.randn(T, V, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (scale * noise + torch.tensor([1.0] + [0.0] * (V - 1))).log_softmax(-1)


@pytest.mark.parametrize("name", SEARCHERS)
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 40), max_size=6), seed=st.integers(0, 1000))
def test_chunks_give_the_answer_of_the_whole(name, cuts, seed):
    searcher, log_probs = SEARCHERS[name], random_frames(40, seed=seed)
    stream = searcher.stream()
    for first, last in zip([0, *sorted(cuts)], [*sorted(cuts), 40], strict=True):
        stream.feed(log_probs[first:last])
    found, (whole,) = stream.finish(), searcher(Recogniser(), log_probs[None], torch.tensor([40]))
    assert [h.tokens for h in found] == [h.tokens for h in whole]
    assert [h.score for h in found] == pytest.approx([h.score for h in whole], abs=1e-9)
    assert [(h.frames, h.confidence) for h in found] == [(h.frames, h.confidence) for h in whole]


@pytest.mark.parametrize("name", SEARCHERS)
def test_what_is_called_stable_stays(name):
    stream, stable, best = SEARCHERS[name].stream(), [], 0
    for frame in random_frames(60, seed=3, scale=4.0).split(1):
        stream.feed(frame)
        partial = stream.partial()
        assert partial.tokens[: len(stable)] == stable
        stable, best = partial.tokens[: partial.stable], max(best, len(partial.tokens))
    assert 3 < len(stable) <= best
    assert stream.finish()[0].tokens[: len(stable)] == stable


@pytest.mark.parametrize("name", SEARCHERS)
def test_a_stream_of_nothing(name):
    stream = SEARCHERS[name].stream()
    assert (stream.partial().tokens, stream.partial().stable) == ([], 0)
    assert stream.finish() == [Hypothesis([], 0.0)]
    stream.feed(random_frames(0))
    assert stream.finish() == [Hypothesis([], 0.0)]


@pytest.mark.parametrize("name", ["compiled", "tensor"])
def test_a_stream_of_the_impossible(name):
    stream = SEARCHERS[name].stream()
    stream.feed(torch.full((2, 4), -math.inf))
    assert (stream.partial().tokens, stream.partial().stable) == ([], 0)
    assert stream.finish() == [Hypothesis([], -math.inf)]


def test_a_stream_refuses_what_is_no_number():
    with pytest.raises(ModelError, match="NaN in frame 0"):
        SEARCHERS["compiled"].stream().feed(torch.full((2, 4), math.nan))
