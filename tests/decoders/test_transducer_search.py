"""Transducer search against the sum over every alignment of every transcript of tiny vocabularies."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from toolkit.decoders.transducer import TransducerBeamSearcher
from toolkit.decoders.transducer_greedy import TransducerGreedySearcher
from toolkit.models.language import RNNLM, TransformerLM
from toolkit.models.transducer import RNNPredictor, StatelessPredictor, TransducerModel

INF = math.inf
D = 5  # size of an encoder frame
EVERYTHING = {"expand_beam": INF, "beam_prune_logp": -INF, "candidates": None}


class Encoder(nn.Module):
    """What a model asks of its encoder; the tests begin with encoded frames."""

    output_size = D


def transducer(V=3, *, seed=0, scale=3.0, blank_bias=0.0, predictor="lstm", combine="add"):
    """A model with weights large enough that what it says depends on frame and history."""
    torch.manual_seed(seed)
    if predictor == "stateless":
        network = StatelessPredictor(V, 6)
    else:
        network = RNNPredictor(V, embedding_size=4, neurons=6, rnn_type=predictor)
    model = TransducerModel(nn.Identity(), Encoder(), V, predictor=network, joint_size=8, combine=combine)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=scale / math.sqrt(parameter.shape[-1]))
        model.joint.output.bias[0] += blank_bias
    return model.double().eval().requires_grad_(False)


def random_frames(*shape, seed=0):
    return torch.randn(*shape, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def logadd(a, b):
    top = max(a, b)
    return top if top == -INF else top + math.log1p(math.exp(min(a, b) - top))


def lattice(model, encoded, tokens):
    """log p(token | frame, tokens before it), as lists [frame][tokens before][token]."""
    frames, prefixes = model.project(encoded[None], torch.tensor([tokens], dtype=torch.int64).view(1, -1))
    return model.joint(frames[0, :, None], prefixes[0, None]).log_softmax(-1).tolist()


def forward_log_prob(model, encoded, tokens):
    """Graves (2012), equations 16 and 17: the sum over all alignments of one transcript, of (T, D) frames."""
    rows, (T, U) = lattice(model, encoded, tokens), (len(encoded), len(tokens))
    alpha = [[-INF] * (U + 1) for _ in range(T)]
    for t, u in itertools.product(range(T), range(U + 1)):
        total = 0.0 if t == u == 0 else -INF
        if t:
            total = logadd(total, alpha[t - 1][u] + rows[t - 1][u][0])
        if u:
            total = logadd(total, alpha[t][u - 1] + rows[t][u - 1][tokens[u - 1]])
        alpha[t][u] = total
    return alpha[T - 1][U] + rows[T - 1][U][0]


def lm_log_prob(lm, tokens):
    state, total = lm.start(1, torch.device("cpu")), 0.0
    for before, token in zip([0, *tokens], [*tokens, 0], strict=True):
        log_probs, state = lm.step(torch.tensor([before]), state)
        total += log_probs[0, token].item()
    return total


def every_transcript(model, encoded, longest, *, lm=None, lm_weight=0.0, length_bonus=0.0):
    """{transcript: score} of at most ``longest`` tokens."""
    scores = {}
    for length in range(longest + 1):
        for tokens in itertools.product(range(1, model.vocab_size), repeat=length):
            scores[tokens] = forward_log_prob(model, encoded, tokens) + length_bonus * length
            scores[tokens] += lm_weight * lm_log_prob(lm, tokens) if lm else 0.0
    return scores


def search(model, encoded, frames=None, **options):
    if frames is None:
        frames = [encoded.shape[1]] * len(encoded)
    return TransducerBeamSearcher(**options)(model, encoded, torch.tensor(frames))


def greedy(model, encoded, frames=None, **options):
    if frames is None:
        frames = [encoded.shape[1]] * len(encoded)
    return TransducerGreedySearcher(**options)(model, encoded, torch.tensor(frames))


def language_model(kind, V, seed=0):
    torch.manual_seed(seed)
    if kind == "growing":
        return TransformerLM(V, 8, layers=1, heads=2, hidden=8).double().eval().requires_grad_(False)
    return RNNLM(V, embedding_size=4, neurons=6).double().eval().requires_grad_(False)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.sampled_from([(1, 3), (3, 3), (4, 2), (2, 4)]),
    seed=st.integers(0, 10_000),
    scale=st.sampled_from([0.3, 3.0, 10.0]),
    fused=st.sampled_from([None, "recurrent", "growing"]),
    length_bonus=st.sampled_from([0.0, 0.7]),
    kind=st.sampled_from([("lstm", "add"), ("gru", "multiply"), ("stateless", "add")]),
)
def test_a_wide_beam_finds_every_transcript_with_its_exact_score(shape, seed, scale, fused, length_bonus, kind):
    T, V = shape
    model = transducer(V, seed=seed, scale=scale, predictor=kind[0], combine=kind[1])
    encoded, options = random_frames(1, T, seed=seed), {"length_bonus": length_bonus}
    if fused:
        options |= {"lm": language_model(fused, V, seed), "lm_weight": 0.6}
    expected = every_transcript(model, encoded[0], 3, **options)
    wide = {"beam_size": len(expected) + 1, "topk": len(expected) + 1, "max_decode_ratio": 3 / T + 1e-9}
    found = search(model, encoded, **wide, **EVERYTHING, **options)[0]
    assert {tuple(h.tokens): h.score for h in found} == pytest.approx(expected, abs=1e-9)
    assert len(found) == len(expected)
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


@pytest.mark.parametrize("beam_size", [1, 2, 4, 8])
def test_a_narrow_beam_loses_alignments_and_never_invents_them(beam_size):
    model = transducer(6, blank_bias=2.0)
    encoded = random_frames(6, 12)
    found = search(model, encoded, beam_size=beam_size, topk=beam_size, **EVERYTHING)
    for frames, hypotheses in zip(encoded, found, strict=True):
        assert len({tuple(h.tokens) for h in hypotheses}) == len(hypotheses)
        for h in hypotheses:
            assert h.score <= forward_log_prob(model, frames, h.tokens) + 1e-9
