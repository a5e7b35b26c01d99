"""Transducer search against the sum over every alignment of every transcript of tiny vocabularies."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from toolkit.decoders.hypothesis import Hypothesis
from toolkit.decoders.transducer import TransducerBeamSearcher
from toolkit.decoders.transducer_greedy import TransducerGreedySearcher
from toolkit.errors import ConfigError, ModelError
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
        model.joint.output.bias.zero_()[0] = blank_bias
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


@pytest.mark.parametrize("max_symbols", [1, 2])
def test_a_frame_makes_no_prefix_longer_than_the_cap_allows(max_symbols):
    model, encoded, frames = transducer(4, blank_bias=-40.0), random_frames(2, 5), [5, 1]
    found = search(model, encoded, frames, max_symbols=max_symbols, max_decode_ratio=9.0, length_bonus=50.0)
    assert [len(best.tokens) for best, *_ in found] == [5 * max_symbols, max_symbols]
    found = greedy(model, encoded, frames, max_symbols=max_symbols)
    assert [len(best.tokens) for best, *_ in found] == [5 * max_symbols, max_symbols]


def test_no_transcript_is_longer_than_its_frames_allow():
    model, encoded = transducer(4, blank_bias=-40.0), random_frames(3, 9)
    found = search(model, encoded, [9, 4, 1], max_decode_ratio=0.5, length_bonus=50.0)
    assert [len(best.tokens) for best, *_ in found] == [4, 2, 1]


class Counting(nn.Module):
    """A prediction network that counts the prefixes it computes."""

    def __init__(self, predictor):
        super().__init__()
        self.predictor, self.rows = predictor, 0

    def start(self, rows, device):
        return self.predictor.start(rows, device)

    def step(self, tokens, state):
        self.rows += len(tokens)
        return self.predictor.step(tokens, state)


def test_the_prediction_network_runs_once_for_a_prefix():
    model = transducer(2)  # one token, so that there is one prefix of each length
    model.predictor = Counting(model.predictor)
    (found,) = search(model, random_frames(1, 30), beam_size=8, topk=8, max_decode_ratio=0.2, **EVERYTHING)
    assert [sorted(len(h.tokens) for h in found), model.predictor.rows] == [list(range(7)), 7]


def test_a_model_that_never_wants_a_blank_costs_no_more_than_the_caps_allow():
    model, encoded = transducer(6, scale=0.3, blank_bias=-40.0), random_frames(1, 20)
    model.predictor = Counting(model.predictor)
    search(model, encoded, beam_size=4, max_symbols=3, max_decode_ratio=9.0)
    assert 20 * 3 < model.predictor.rows <= 1 + 20 * 3 * 4


def greedy_reference(model, encoded, max_symbols):
    """The best alignment step by step, of (T, D) frames."""
    tokens, score = [], 0.0
    for t in range(len(encoded)):
        for count in itertools.count():
            row = lattice(model, encoded, tokens)[t][-1]
            best = max(range(len(row)), key=row.__getitem__) if count < max_symbols else 0
            score += row[best]
            if best == 0:
                break
            tokens.append(best)
    return tokens, score


@pytest.mark.parametrize("blank_bias", [0.0, 2.0, 5.0])
@pytest.mark.parametrize("max_symbols", [1, 3])
@pytest.mark.parametrize("predictor", ["lstm", "stateless"])
def test_greedy_takes_the_best_step_by_step(blank_bias, max_symbols, predictor):
    model = transducer(5, blank_bias=blank_bias, predictor=predictor)
    encoded = random_frames(4, 25)
    for frames, (found,) in zip(encoded, greedy(model, encoded, max_symbols=max_symbols), strict=True):
        tokens, score = greedy_reference(model, frames, max_symbols)
        assert (found.tokens, found.score) == (tokens, pytest.approx(score, abs=1e-9))


SEARCHES = {
    "greedy": greedy,
    "beam": lambda *args: search(*args, beam_size=5, topk=3),
    "fused": lambda *args: search(*args, beam_size=5, topk=3, lm=language_model("growing", 5), lm_weight=0.5),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_batch_of_different_lengths_equals_single_runs(name):
    model, encoded = transducer(5, blank_bias=2.0), random_frames(8, 20)
    frames = [20, 1, 7, 0, 13, 20, 2, 5]
    together = SEARCHES[name](model, encoded, frames)
    for row, count in enumerate(frames):
        alone = SEARCHES[name](model, encoded[row : row + 1, :count], [count])[0]
        assert [h.tokens for h in together[row]] == [h.tokens for h in alone]
        assert [h.score for h in together[row]] == pytest.approx([h.score for h in alone], abs=1e-9)


@pytest.mark.parametrize("name", SEARCHES)
def test_no_frames_give_one_empty_hypothesis(name):
    model, empty = transducer(5), [Hypothesis([], 0.0)]
    assert SEARCHES[name](model, random_frames(2, 0), [0, 0]) == [empty, empty]
    assert SEARCHES[name](model, random_frames(2, 4), [0, 4])[0] == empty
    assert SEARCHES[name](model, random_frames(0, 4), []) == []


def test_silence_is_the_empty_transcript():
    model, encoded = transducer(4, blank_bias=60.0), random_frames(1, 6)
    (found,) = greedy(model, encoded)[0]
    (best,) = search(model, encoded)[0]
    assert found.tokens == best.tokens == []
    assert best.score == pytest.approx(forward_log_prob(model, encoded[0], []), abs=1e-9)


def test_impossible_audio_gives_the_empty_transcript_with_score_minus_infinity():
    model, encoded = transducer(4), random_frames(2, 5)
    model.joint.output.bias[0] = -INF  # no frame can end
    expected = [[Hypothesis([], -INF)], [Hypothesis([], 0.0)]]
    assert search(model, encoded, [5, 0]) == expected
    assert greedy(model, encoded, [5, 0], max_symbols=2) == expected


def test_tokens_the_model_forbids_are_never_used():
    model = transducer(4)
    model.joint.output.bias[2] = -INF
    found = search(model, random_frames(1, 8), beam_size=20, topk=20, **EVERYTHING)[0]
    assert len(found) > 5
    assert all(2 not in h.tokens and math.isfinite(h.score) for h in found)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_searched_in_single_precision(dtype):
    model, encoded = transducer(5, blank_bias=2.0), random_frames(2, 10)
    exact = search(model, encoded)
    rounded = search(model.to(dtype), encoded.to(dtype))
    for one, other in zip(exact, rounded, strict=True):
        assert other[0].score == pytest.approx(one[0].score, rel=0.1)
        assert other[0].score != torch.tensor(other[0].score).to(dtype).item()
    assert [len(h) for h in greedy(model, encoded.to(dtype))] == [1, 1]


def test_temperature_softens_the_distribution():
    model, encoded = transducer(3), random_frames(1, 4)
    options = {"beam_size": 20, "topk": 5} | EVERYTHING
    softened = search(model, encoded, temperature=2.0, **options)
    model.joint.output.weight.mul_(0.5)
    model.joint.output.bias.mul_(0.5)
    expected = search(model, encoded, **options)
    assert [h.tokens for h in softened[0]] == [h.tokens for h in expected[0]]
    assert [h.score for h in softened[0]] == pytest.approx([h.score for h in expected[0]])


def test_pruning_keeps_the_best_transcript_and_saves_work():
    model, encoded = transducer(6, blank_bias=6.0), random_frames(4, 30)
    model.predictor = Counting(model.predictor)
    pruned = search(model, encoded, beam_size=8, expand_beam=2.0, beam_prune_logp=-4.0)
    rows, model.predictor.rows = model.predictor.rows, 0
    assert [h[0].tokens for h in pruned] == [h[0].tokens for h in search(model, encoded, beam_size=8, **EVERYTHING)]
    assert rows < 0.9 * model.predictor.rows
    assert all(h[0].tokens for h in pruned)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, "beam_size .* at least 1, got 0"),
        ({"beam_size": 4, "topk": 5}, r"topk must be at most beam_size \(4\)"),
        ({"lm_weight": 0.5}, "lm_weight is 0.5, but no lm"),
        ({"temperature": 0.0}, "temperature"),
        ({"expand_beam": -1.0}, "expand_beam"),
        ({"beam_prune_logp": 3.0}, "beam_prune_logp"),
        ({"max_symbols": 0}, "max_symbols"),
        ({"max_decode_ratio": -0.5}, "max_decode_ratio"),
        ({"candidates": 0}, "candidates"),
    ],
)
def test_impossible_options_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        TransducerBeamSearcher(**options)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="max_symbols"):
        TransducerGreedySearcher(max_symbols=0)
    with pytest.raises(ModelError, match="RNNLM predicts 7 tokens, but the recogniser has 4"):
        search(transducer(4), random_frames(1, 3), lm=language_model("recurrent", 7), lm_weight=0.5)
    for searcher in (TransducerGreedySearcher(), TransducerBeamSearcher()):
        with pytest.raises(ModelError, match="Identity has no joint network"):
            searcher(nn.Identity(), random_frames(1, 3), torch.tensor([3]))
