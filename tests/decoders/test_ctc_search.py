"""CTC search against sums over every path, and against a prefix search written with Python dictionaries."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from toolkit.decoders.ctc import CTCGreedySearcher, CTCPrefixSearcher
from toolkit.decoders.ctc_beam import extend_beam
from toolkit.decoders.ctc_native import CompiledSearch
from toolkit.decoders.ctc_tables import no_fusion
from toolkit.decoders.hypothesis import Hypothesis
from toolkit.errors import ConfigError, ModelError

INF = math.inf
EVERYTHING = {"candidates": None, "beam_prune_logp": -INF, "blank_skip": 1.0}


class Recogniser(nn.Module):
    """A model whose encoder output already is its CTC output."""

    def ctc_log_probs(self, encoded):
        return encoded


class TableLM(nn.Module):
    """A language model whose next-token distribution depends on every token so far, and which counts its work."""

    def __init__(self, vocabulary, seed=0):
        super().__init__()
        self.V, self.rows = vocabulary, 0
        noise = torch.randn(97, vocabulary, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.table = (2 * noise).log_softmax(-1)

    def start(self, n, device):
        return {"history": torch.zeros(n, dtype=torch.int64, device=device)}

    def step(self, tokens, state):
        self.rows += len(tokens)
        history = (state["history"] * self.V + tokens + 1) % 97
        return self.table[history], {"history": history}

    def log_prob(self, tokens, eos=True):
        history, total = 1, 0.0
        for token in [*tokens, 0] if eos else tokens:
            total += self.table[history, token].item()
            history = (history * self.V + token + 1) % 97
        return total


class GrowingLM(TableLM):
    """The same distribution, from a state that grows with the prefix, as the keys and values of a Transformer do."""

    def start(self, n, device):
        return {"past": torch.zeros(n, 2, 0, dtype=torch.int64, device=device)}

    def step(self, tokens, state):
        past = torch.cat([state["past"], tokens[:, None, None].expand(-1, 2, 1)], dim=2)
        history = torch.zeros_like(tokens)
        for token in past[:, 1].unbind(dim=1):
            history = (history * self.V + token + 1) % 97
        return self.table[history], {"past": past}


def random_frames(*shape, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(*shape, generator=generator, dtype=torch.float64)).log_softmax(-1)


def search(log_probs, frames=None, **options):
    """What the back-ends find: both, and the same, where there is no language model."""
    if frames is None:
        frames = [log_probs.shape[1]] * len(log_probs)
    found = CTCPrefixSearcher(**options)(Recogniser(), log_probs, torch.tensor(frames))
    if "lm" not in options:
        other = CTCPrefixSearcher(backend="tensor", **options)(Recogniser(), log_probs, torch.tensor(frames))
        for compiled, tensor in zip(found, other, strict=True):
            assert_agree(compiled, tensor, abs=1e-9 if log_probs.dtype == torch.float64 else 1e-4)
    return found


def assert_agree(hypotheses, others, abs):  # noqa: A002
    """Equal scores; and equal tokens, but for the order of equal scores and which of them the beam has room for."""
    assert [h.score for h in hypotheses] == pytest.approx([h.score for h in others], abs=abs)
    one, other = ({tuple(h.tokens): h.score for h in found} for found in (hypotheses, others))
    both = one.keys() & other.keys()
    assert {tokens: one[tokens] for tokens in both} == pytest.approx(
        {tokens: other[tokens] for tokens in both}, abs=abs
    )
    lowest = hypotheses[-1].score
    assert all(score <= lowest + abs for found in (one, other) for tokens, score in found.items() if tokens not in both)


def collapse(path):
    return tuple(token for token, _ in itertools.groupby(path) if token != 0)


def logsumexp(values):
    top = max(values)
    return top if top == -INF else top + math.log(sum(math.exp(value - top) for value in values))


def every_transcript(log_probs, *, lm=None, lm_weight=0.0, length_bonus=0.0):
    """{transcript: score} over all paths through (T, V)."""
    T, V = log_probs.shape
    rows, paths = log_probs.tolist(), defaultdict(list)
    for path in itertools.product(range(V), repeat=T):
        paths[collapse(path)].append(sum(row[token] for row, token in zip(rows, path, strict=True)))
    scores = {tokens: logsumexp(found) + length_bonus * len(tokens) for tokens, found in paths.items()}
    if lm is not None:
        scores = {tokens: score + lm_weight * lm.log_prob(tokens) for tokens, score in scores.items()}
    return {tokens: score for tokens, score in scores.items() if score > -INF}


def dictionary_search(log_probs, beam_size, *, lm=None, lm_weight=0.0, length_bonus=0.0, candidates=None):
    """Hannun et al. (2014), algorithm 1, one utterance (T, V): [(transcript, score)] best first."""

    def fusion(tokens, eos):
        return length_bonus * len(tokens) + (lm_weight * lm.log_prob(tokens, eos) if lm else 0.0)

    beam = {(): (0.0, -INF)}
    for frame in log_probs.tolist():
        best = sorted(range(1, len(frame)), key=lambda token: -frame[token])[:candidates]
        blank, token = defaultdict(list), defaultdict(list)
        for prefix, (p_blank, p_token) in beam.items():
            total = logsumexp([p_blank, p_token])
            blank[prefix].append(total + frame[0])
            if prefix:
                token[prefix].append(p_token + frame[prefix[-1]])
            for c in range(1, len(frame)):
                if c in best or (*prefix, c) in beam:
                    token[(*prefix, c)].append((p_blank if prefix[-1:] == (c,) else total) + frame[c])
        new = {p: (logsumexp(blank[p] or [-INF]), logsumexp(token[p] or [-INF])) for p in {**blank, **token}}
        ranked = sorted(new, key=lambda prefix: -(logsumexp(new[prefix]) + fusion(prefix, eos=False)))
        beam = {prefix: new[prefix] for prefix in ranked[:beam_size]}
    return sorted(((p, logsumexp(beam[p]) + fusion(p, eos=True)) for p in beam), key=lambda pair: -pair[1])


def assert_same(hypotheses, expected):
    assert [tuple(h.tokens) for h in hypotheses] == [tokens for tokens, _ in expected]
    assert [h.score for h in hypotheses] == pytest.approx([score for _, score in expected], abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from([(1, 4), (2, 5), (4, 4), (5, 3), (7, 2), (3, 1)]),
    seed=st.integers(0, 10_000),
    scale=st.sampled_from([0.0, 1.0, 5.0, 30.0]),
    fused=st.booleans(),
    length_bonus=st.sampled_from([0.0, 0.7]),
    holes=st.floats(0.0, 0.5),
)
def test_a_wide_beam_finds_every_transcript_with_its_exact_score(shape, seed, scale, fused, length_bonus, holes):
    log_probs = random_frames(*shape, seed=seed, scale=scale)
    log_probs[torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < holes] = -INF
    options = {"length_bonus": length_bonus}
    if fused:
        options |= {"lm": TableLM(shape[1], seed), "lm_weight": 0.6}
    found = search(log_probs[None], beam_size=150, topk=150, **EVERYTHING, **options)[0]
    expected = every_transcript(log_probs, **options)
    if not expected:
        assert found == [Hypothesis([], -INF)]
        return
    assert {tuple(h.tokens): h.score for h in found} == pytest.approx(expected, abs=1e-9)
    assert len(found) == len(expected)
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


@pytest.mark.parametrize("beam_size", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("candidates", [None, 2])
@pytest.mark.parametrize("fused", [False, True])
def test_a_narrow_beam_keeps_the_same_prefixes_as_a_dictionary(beam_size, candidates, fused):
    options = {"length_bonus": 0.3, "lm": TableLM(5), "lm_weight": 0.5} if fused else {}
    everything = EVERYTHING | {"candidates": candidates}
    log_probs = random_frames(4, 25, 5, seed=beam_size, scale=1.0)
    found = search(log_probs, beam_size=beam_size, topk=beam_size, **everything, **options)
    for utterance, hypotheses in zip(log_probs, found, strict=True):
        assert_same(hypotheses, dictionary_search(utterance, beam_size, candidates=candidates, **options))


@pytest.mark.parametrize("seed", [55, 126, 161, 226])
def test_a_prefix_that_left_the_beam_and_came_back_is_the_same_prefix(seed):
    # In these the parent of a prefix leaves the beam, comes back, and completes its child a second time.
    log_probs = random_frames(8, 3, seed=seed, scale=1.5)
    found = search(log_probs[None], beam_size=3, topk=3, **EVERYTHING)[0]
    assert_same(found, dictionary_search(log_probs, 3))


def test_scores_are_those_of_the_ctc_loss():
    log_probs = random_frames(1, 12, 6, seed=3)
    for hypothesis in search(log_probs, beam_size=400, topk=5, **EVERYTHING)[0]:
        target, length = torch.tensor([hypothesis.tokens]), torch.tensor([len(hypothesis.tokens)])
        loss = nn.functional.ctc_loss(log_probs.transpose(0, 1), target, torch.tensor([12]), length, reduction="sum")
        assert hypothesis.score == pytest.approx(-loss.item(), abs=0.02)
        assert hypothesis.score <= -loss.item() + 1e-9  # the beam can lose paths, never invent them


@pytest.mark.parametrize("blank_skip", [1.0, 0.6])
@pytest.mark.parametrize("searcher", ["greedy", "prefix", "tensor", "fused"])
def test_a_batch_of_different_lengths_equals_single_runs(searcher, blank_skip):
    log_probs = random_frames(8, 20, 5, seed=1, scale=4.0).float()
    frames = torch.tensor([20, 1, 7, 0, 13, 20, 2, 5])
    options = {"lm": TableLM(5), "lm_weight": 0.5, "length_bonus": 0.2} if searcher == "fused" else {}
    options |= {"backend": "tensor"} if searcher == "tensor" else {}
    prefix = CTCPrefixSearcher(beam_size=6, topk=4, blank_skip=blank_skip, **options)
    run = CTCGreedySearcher() if searcher == "greedy" else prefix
    together = run(Recogniser(), log_probs, frames)
    for row, count in enumerate(frames.tolist()):
        alone = run(Recogniser(), log_probs[row : row + 1, :count], frames[row : row + 1])[0]
        assert [h.tokens for h in together[row]] == [h.tokens for h in alone]
        assert [h.score for h in together[row]] == pytest.approx([h.score for h in alone], abs=1e-5)


def test_skipped_blank_frames_still_part_repeated_tokens():
    token, blank = [1e-6, 1 - 2e-6, 1e-6], [1 - 2e-6, 1e-6, 1e-6]
    spoken = torch.tensor([[blank, token, blank, blank, token, token, blank]], dtype=torch.float64).log()
    searched = search(spoken, **EVERYTHING)[0][0]
    skipped = search(spoken, blank_skip=0.999)[0][0]
    assert searched.tokens == skipped.tokens == [1, 1]
    assert skipped.score == pytest.approx(searched.score, abs=1e-5)


@pytest.mark.parametrize("fused", [False, True])
def test_skipping_all_frames_leaves_the_empty_transcript(fused):
    lm = TableLM(3)
    options = {"lm": lm, "lm_weight": 0.5} if fused else {}
    silence = torch.tensor([[[0.99995, 0.00003, 0.00002]] * 4], dtype=torch.float64).log()
    (found,) = search(silence, topk=3, **options)[0]
    expected = 4 * math.log(0.99995) + (0.5 * lm.log_prob([]) if fused else 0.0)
    assert (found.tokens, found.score) == ([], pytest.approx(expected))


def test_pruning_hopeless_prefixes_keeps_the_best_one():
    log_probs = random_frames(3, 30, 8, seed=5, scale=4.0)
    pruned = search(log_probs, beam_size=12, topk=12, beam_prune_logp=-2.0)
    kept = search(log_probs, beam_size=12, topk=12, beam_prune_logp=-INF)
    assert [h[0].tokens for h in pruned] == [h[0].tokens for h in kept]
    assert sum(map(len, pruned)) < sum(map(len, kept))


def test_the_language_model_sees_only_new_prefixes():
    lm = TableLM(4)
    spoken = torch.tensor([[[0.0, 1.0, 0.0, 0.0]] * 9 + [[0.0, 0.0, 0.0, 1.0]] * 9]).log()
    assert search(spoken, beam_size=8, lm=lm, lm_weight=1.0)[0][0].tokens == [1, 3]
    assert lm.rows == 8 + 2  # the empty prefix in every slot, then one step for each token


def test_a_language_model_whose_state_grows_with_the_prefix_scores_the_same():
    log_probs = random_frames(5, 20, 4, seed=6, scale=3.0)
    options = {"beam_size": 9, "topk": 9, "frames": [20, 3, 14, 0, 9], "lm_weight": 0.7}
    assert search(log_probs, lm=GrowingLM(4), **options) == search(log_probs, lm=TableLM(4), **options)


def test_greedy_collapses_the_best_path():
    log_probs = random_frames(5, 40, 4, seed=2)
    for row, (hypothesis,) in enumerate(CTCGreedySearcher()(Recogniser(), log_probs, torch.full((5,), 40))):
        assert tuple(hypothesis.tokens) == collapse(log_probs[row].argmax(-1).tolist())
        assert hypothesis.score == pytest.approx(log_probs[row].max(-1).values.sum().item())


@pytest.mark.parametrize("searcher", [CTCGreedySearcher(), CTCPrefixSearcher(lm=TableLM(3), lm_weight=0.5)])
def test_no_frames_give_one_empty_hypothesis(searcher):
    empty = [Hypothesis([], 0.0)]
    assert searcher(Recogniser(), torch.zeros(2, 0, 3), torch.tensor([0, 0])) == [empty, empty]
    assert searcher(Recogniser(), random_frames(2, 4, 3), torch.tensor([0, 4]))[0] == empty
    assert searcher(Recogniser(), torch.zeros(0, 5, 3), torch.zeros(0, dtype=torch.int64)) == []


def test_impossible_audio_gives_the_empty_transcript_with_score_minus_infinity():
    log_probs = random_frames(2, 5, 3)
    log_probs[0, 2] = -INF
    lost, fine = search(log_probs, temperature=2.0)
    assert lost == [Hypothesis([], -INF)]
    assert math.isfinite(fine[0].score)


def test_tokens_the_language_model_forbids_are_never_used():
    lm = TableLM(4)
    lm.table[:, 2] = -INF
    log_probs = random_frames(1, 8, 4, seed=4)
    found = search(log_probs, beam_size=30, topk=30, lm=lm, lm_weight=0.1)[0]
    assert len(found) > 5
    assert all(2 not in h.tokens and math.isfinite(h.score) for h in found)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_searched_in_single_precision(dtype):
    log_probs = random_frames(2, 15, 6, scale=4.0).to(dtype)
    assert search(log_probs) == search(log_probs.float())
    greedy = CTCGreedySearcher()
    frames = torch.tensor([15, 15])
    assert greedy(Recogniser(), log_probs, frames) == greedy(Recogniser(), log_probs.float(), frames)


def test_temperature_softens_the_ctc_distribution():
    log_probs = random_frames(1, 5, 3, scale=6.0)
    softer = (log_probs / 3.0).log_softmax(-1)
    options = {"beam_size": 100, "topk": 100} | EVERYTHING
    assert_same(
        search(log_probs, temperature=3.0, **options)[0],
        [(tuple(h.tokens), h.score) for h in search(softer, **options)[0]],
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, "beam_size .* at least 1, got 0"),
        ({"beam_size": 2.5}, "beam_size"),
        ({"topk": 0}, "topk"),
        ({"beam_size": 4, "topk": 5}, r"topk must be at most beam_size \(4\)"),
        ({"lm_weight": 0.5}, "lm_weight is 0.5, but no lm"),
        ({"lm": nn.Identity(), "lm_weight": -1.0}, "lm_weight"),
        ({"temperature": 0.0}, "temperature"),
        ({"beam_prune_logp": 3.0}, "beam_prune_logp"),
        ({"blank_skip": 1.5}, "blank_skip"),
        ({"candidates": 0}, "candidates"),
        ({"token_min_logp": 1.0}, "token_min_logp"),
        ({"backend": "tenor"}, "backend must be one of auto, compiled, tensor.*did you mean 'tensor'"),
        ({"preset": "faster"}, "preset must be one of default, exact.*did you mean 'fast'"),
        ({"backend": "compiled", "lm": TableLM(3), "lm_weight": 0.5}, "a neural lm needs tensors"),
    ],
)
def test_impossible_options_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        CTCPrefixSearcher(**options)


@pytest.mark.parametrize("backend", ["compiled", "tensor"])
def test_output_that_is_no_number_is_refused_and_padding_is_not_looked_at(backend):
    log_probs = random_frames(2, 5, 3)
    log_probs[1, 3, 2] = math.nan
    searcher = CTCPrefixSearcher(backend=backend)
    with pytest.raises(ModelError, match="NaN in frame 3 of utterance 1"):
        searcher(Recogniser(), log_probs, torch.tensor([5, 5]))
    assert all(math.isfinite(best.score) for (best,) in searcher(Recogniser(), log_probs, torch.tensor([5, 3])))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.5, 3.0]), token_min_logp=st.sampled_from([-0.7, -2.0]))
def test_unlikely_tokens_are_impossible_unless_there_is_no_likelier_one(seed, scale, token_min_logp):
    log_probs = random_frames(6, 4, seed=seed, scale=scale)
    likely = [[p if p >= token_min_logp or p == max(row) else -INF for p in row] for row in log_probs.tolist()]
    expected = every_transcript(torch.tensor(likely, dtype=torch.float64))
    found = search(log_probs[None], beam_size=500, topk=500, token_min_logp=token_min_logp, **EVERYTHING)[0]
    assert {tuple(h.tokens): h.score for h in found} == pytest.approx(expected, abs=1e-9)


def test_a_beam_larger_than_all_transcripts_and_a_vocabulary_of_blank():
    assert len(search(random_frames(1, 2, 2), beam_size=64, topk=64, **EVERYTHING)[0]) == 2
    assert search(torch.zeros(1, 4, 1))[0] == [Hypothesis([], 0.0)]


def test_a_preset_gives_what_is_not_given():
    searcher = CTCPrefixSearcher(preset="pyctcdecode", token_min_logp=-7.0)
    assert (searcher.beam_size, searcher.candidates, searcher.token_min_logp) == (100, None, -7.0)
    given = CTCPrefixSearcher(preset="pyctcdecode", beam_size=16, candidates=40, blank_skip=0.9999)
    assert (given.beam_size, given.candidates, given.blank_skip, given.beam_prune_logp) == (16, 40, 0.9999, -10.0)
    assert CTCPrefixSearcher(candidates=None).candidates is None
    log_probs = random_frames(3, 40, 8, scale=20.0)
    exact, fast = search(log_probs, preset="exact"), search(log_probs, preset="fast")
    assert [best.tokens for (best,) in exact] == [best.tokens for (best,) in fast]


def test_memory_does_not_grow_with_the_frames():
    noise = random_frames(4000, 8, scale=0.5)
    silence = torch.full((4000, 8), -20.0, dtype=torch.float64)
    silence[:, 0] = -1e-8
    search = CompiledSearch(CTCPrefixSearcher(preset="exact")._pruning(), no_fusion())
    search.read(torch.where(torch.arange(4000)[:, None] % 400 < 20, noise, silence).numpy())
    (found,) = search.finish(1)
    assert len(search.search.nodes) < 20 * (len(found[0][0]) + 16)


def test_threads_do_not_change_the_answer(monkeypatch):
    log_probs = random_frames(6, 30, 5)
    alone = search(log_probs)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert search(log_probs) == alone


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_loop_over_frames_never_waits_for_the_gpu(monkeypatch):
    log_probs = random_frames(3, 20, 6).cuda()
    plain = CTCPrefixSearcher(backend="tensor")

    def strict(*args):
        torch.cuda.set_sync_debug_mode("error")
        try:
            return extend_beam(*args)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr("toolkit.decoders.ctc_tensor.extend_beam", strict)
    found = plain(Recogniser(), log_probs, torch.full((3,), 20))
    assert [best.tokens for (best,) in found] == [best.tokens for (best,) in search(log_probs.cpu())]


def test_a_language_model_of_another_vocabulary_is_refused():
    with pytest.raises(ModelError, match="TableLM predicts 7 tokens, but the recogniser has 4"):
        search(random_frames(1, 3, 4), lm=TableLM(7), lm_weight=0.5)
