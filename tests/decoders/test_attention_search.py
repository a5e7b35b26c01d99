"""Attention search against every transcript up to the length limit, and against a beam written with Python lists."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from toolkit.decoders.attention import AttentionSearcher
from toolkit.decoders.hypothesis import Hypothesis
from toolkit.decoders.language_scorers import NgramScorer
from toolkit.decoders.scorer_builder import ScorerBuilder
from toolkit.errors import ConfigError, ModelError
from toolkit.models.language import TransformerLM
from toolkit.models.location_attention import AttentionalGRUDecoder
from toolkit.models.transformer import TransformerDecoder

INF = math.inf
ROWS = 101


def table(V, seed, scale=1.5):
    noise = torch.randn(ROWS, V, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (scale * noise).log_softmax(-1)


class TableDecoder(nn.Module):
    """Next-token distribution that depends on all tokens so far and on the mean of the encoder's frames."""

    def __init__(self, V, seed=1):
        super().__init__()
        self.V, self.table = V, table(V, seed)

    def start(self, encoded, frames):
        inside = torch.arange(encoded.shape[1]) < frames[:, None]
        total = torch.where(inside[..., None], encoded.exp(), 0.0).sum(dim=1)
        return {"history": torch.zeros_like(frames), "mean": total / frames[:, None]}

    def step(self, tokens, state):
        history = (state["history"] * self.V + tokens + 1) % ROWS
        return (self.table[history] + 2 * state["mean"]).log_softmax(-1), {**state, "history": history}


class TableLM(nn.Module):
    """A language model with such a table, whose state grows with the hypothesis."""

    def __init__(self, V, seed=2):
        super().__init__()
        self.V, self.table = V, table(V, seed)

    def start(self, n, device):
        return {"past": torch.zeros(n, 0, dtype=torch.int64, device=device)}

    def step(self, tokens, state):
        past = torch.cat([state["past"], tokens[:, None]], dim=1)
        history = torch.zeros_like(tokens)
        for token in past.unbind(dim=1):
            history = (history * self.V + token + 1) % ROWS
        return self.table[history], {"past": past}


class Recogniser(nn.Module):
    """A model whose encoder output already is its CTC output."""

    def __init__(self, V, seed=1):
        super().__init__()
        self.decoder = TableDecoder(V, seed)

    def ctc_log_probs(self, encoded):
        return encoded


def random_frames(*shape, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(*shape, generator=generator, dtype=torch.float64)).log_softmax(-1)


@torch.no_grad()
def step_log_probs(module, state, tokens):
    """Next-token log-probabilities (a list) after each prefix of the tokens, the empty one first."""
    rows = []
    for token in [0, *tokens]:
        log_probs, state = module.step(torch.tensor([token]), state)
        rows.append(log_probs[0].tolist())
    return rows


def ctc_log_prob(log_probs, tokens):
    if len(tokens) + sum(a == b for a, b in itertools.pairwise(tokens)) > len(log_probs):
        return -INF
    target = torch.tensor([tokens], dtype=torch.int64).view(1, -1)
    loss = nn.functional.ctc_loss(log_probs[:, None], target, [len(log_probs)], [len(tokens)], reduction="sum")
    return -loss.item()


class Reference:
    """Scores of one utterance (T, V), token by token, in plain Python."""

    def __init__(self, model, log_probs, options, V=None):
        self.model, self.log_probs, self.options = model, log_probs, options
        self.V = V or log_probs.shape[1]
        self.most = max(1, math.floor(len(log_probs) * options.max_decode_ratio))
        self.fewest = math.floor(len(log_probs) * options.min_decode_ratio)

    def rows(self, tokens):
        encoded, frames = self.log_probs[None], torch.tensor([len(self.log_probs)])
        attention = step_log_probs(self.model.decoder, self.model.decoder.start(encoded, frames), tokens)
        lm = self.options.lm
        if lm is None:
            return attention, [[0.0] * len(row) for row in attention]
        return attention, step_log_probs(lm, lm.start(1, torch.device("cpu")), tokens)

    def may_end(self, tokens):
        if len(tokens) < self.fewest:
            return False
        attention = self.rows(tokens)[0][-1]
        likely = not self.options.using_eos_threshold or attention[0] >= self.options.eos_threshold * max(attention)
        return len(tokens) == self.most or likely

    def whole(self, tokens):
        """The unnormalised score of a finished transcript."""
        o, path = self.options, [*tokens, 0]
        attention, lm = self.rows(tokens)
        score = sum((1 - o.ctc_weight) * row[t] for row, t in zip(attention, path, strict=True))
        score += o.lm_weight * sum(row[t] for row, t in zip(lm, path, strict=True)) + o.length_bonus * len(path)
        return score + (o.ctc_weight * ctc_log_prob(self.log_probs, tokens) if o.ctc_weight else 0.0)

    def normalised(self, tokens):
        return self.whole(tokens) / (len(tokens) + 1 if self.options.length_normalization else 1)

    def every_transcript(self):
        lengths = [itertools.product(range(1, self.V), repeat=length) for length in range(self.most + 1)]
        scores = {tokens: self.normalised(tokens) for tokens in itertools.chain(*lengths) if self.may_end(tokens)}
        return sorted(((s, t) for t, s in scores.items() if s > -INF), reverse=True)

    def beam_search(self):
        """Without CTC and early stopping: the finished hypotheses, best first."""
        o, V, finished = self.options, self.log_probs.shape[1], []
        live = [(0.0, ())]
        while live and len(finished) < o.beam_size:
            new = []
            for score, tokens in live:
                attention, lm = (rows[-1] for rows in self.rows(tokens))
                totals = [a + o.lm_weight * b for a, b in zip(attention, lm, strict=True)]
                if self.may_end(tokens):
                    new.append((score + totals[0] + o.length_bonus, (*tokens, 0)))
                if len(tokens) < self.most:
                    new += [(score + totals[c] + o.length_bonus, (*tokens, c)) for c in range(1, V)]
            new = sorted(new, reverse=True)[: o.beam_size]
            finished += [(self.normalised(t[:-1]), t[:-1]) for _, t in new if t[-1] == 0]
            live = [pair for pair in new if pair[1][-1] != 0]
        return sorted(finished[: o.beam_size], reverse=True)


def assert_same(hypotheses, expected):
    assert [tuple(h.tokens) for h in hypotheses] == [tokens for _, tokens in expected]
    assert [h.score for h in hypotheses] == pytest.approx([score for score, _ in expected], abs=1e-8)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.sampled_from([(1, 4), (2, 5), (4, 3), (5, 2), (3, 1)]),
    seed=st.integers(0, 10_000),
    ctc_weight=st.sampled_from([0.0, 0.3, 1.0]),
    fused=st.booleans(),
    length=st.sampled_from([(True, 0.0), (False, 0.0), (False, 0.6)]),
    limits=st.sampled_from([(0.0, 1.0, False), (0.3, 0.8, True), (0.0, 0.5, True)]),
    scorer_beam_scale=st.sampled_from([1.0, INF]),
)
def test_a_wide_beam_finds_every_transcript_with_its_exact_score(shape, seed, limits, fused, length, **options):
    model, log_probs = Recogniser(shape[1], seed), random_frames(*shape, seed=seed)
    options |= dict(zip(["length_normalization", "length_bonus"], length, strict=True))
    options |= dict(zip(["min_decode_ratio", "max_decode_ratio", "using_eos_threshold"], limits, strict=True))
    if fused:
        options |= {"lm": TableLM(shape[1], seed), "lm_weight": 0.5}
    searcher = AttentionSearcher(beam_size=300, topk=300, **options)
    found = searcher(model, log_probs[None], torch.tensor([shape[0]]))[0]
    expected = Reference(model, log_probs, searcher).every_transcript()
    if shape[1] > 1 and expected:  # equal scores may come in any order
        assert {tuple(h.tokens): h.score for h in found} == pytest.approx({t: s for s, t in expected}, abs=1e-8)
    assert [h.score for h in found] == pytest.approx([s for s, _ in expected] or [-INF], abs=1e-8)


@pytest.mark.parametrize("beam_size", [1, 2, 5])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("using_eos_threshold", [False, True])
def test_a_narrow_beam_finds_what_a_list_based_one_does(beam_size, fused, using_eos_threshold):
    model, log_probs = Recogniser(6), random_frames(4, 9, 6)
    options = {"using_eos_threshold": using_eos_threshold}
    if fused:
        options |= {"lm": TableLM(6), "lm_weight": 0.4, "length_bonus": 0.2, "length_normalization": False}
    searcher = AttentionSearcher(beam_size=beam_size, topk=beam_size, **options)
    for row, hypotheses in enumerate(searcher(model, log_probs, torch.full((4,), 9))):
        assert_same(hypotheses, Reference(model, log_probs[row], searcher).beam_search()[:beam_size])


@pytest.mark.parametrize(("length_normalization", "length_bonus"), [(True, 0.0), (False, 0.0), (False, 0.8)])
def test_stopping_early_never_loses_the_best_transcript(length_normalization, length_bonus):
    options = {"beam_size": 400, "length_normalization": length_normalization, "length_bonus": length_bonus}
    for seed in range(10):
        model, log_probs = Recogniser(3, seed), random_frames(6, 3, seed=seed)
        searcher = AttentionSearcher(topk=1, **options)
        found = searcher(model, log_probs[None], torch.tensor([6]))[0]
        assert_same(found, Reference(model, log_probs, searcher).every_transcript()[:1])


def test_without_normalisation_the_search_stops_when_nothing_better_can_come():
    model, log_probs = Recogniser(5), random_frames(1, 40, 5)
    model.decoder.table[:, 0] += 1.0
    steps = []
    step = model.decoder.step
    model.decoder.step = lambda tokens, state: steps.append(len(tokens)) or step(tokens, state)
    AttentionSearcher(beam_size=50, length_normalization=False)(model, log_probs, torch.tensor([40]))
    assert 2 <= len(steps) < 20


def test_beam_one_is_greedy():
    model, log_probs = Recogniser(5, seed=3), random_frames(1, 12, 5)
    state, tokens = model.decoder.start(log_probs, torch.tensor([12])), [0]
    while len(tokens) == 1 or tokens[-1] != 0:
        row, state = model.decoder.step(torch.tensor(tokens[-1:]), state)
        tokens.append(row.argmax().item())
    greedy = AttentionSearcher(beam_size=1, eos_threshold=1.0)(model, log_probs, torch.tensor([12]))
    assert 1 <= len(tokens[1:-1]) < 12
    assert greedy[0][0].tokens == tokens[1:-1]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ctc_weight": 0.4, "scorer_beam_scale": 0.75},
        {"ctc_weight": 0.4, "scorer_beam_scale": INF},
        {"lm": TableLM(6), "lm_weight": 0.3},
    ],
)
def test_a_batch_of_different_lengths_equals_single_runs(options):
    model, log_probs = Recogniser(6), random_frames(8, 20, 6, seed=1)
    frames = torch.tensor([20, 1, 7, 0, 13, 20, 2, 5])
    searcher = AttentionSearcher(beam_size=4, topk=3, **options)
    together = searcher(model, log_probs, frames)
    for row, count in enumerate(frames.tolist()):
        alone = searcher(model, log_probs[row : row + 1, :count], frames[row : row + 1])[0]
        assert_same(together[row], [(h.score, tuple(h.tokens)) for h in alone])


def test_ctc_looks_at_the_best_candidates_only():
    model, log_probs = Recogniser(8), random_frames(1, 6, 8)
    model.decoder.table[:, 0] = -20.0  # eos is never among the best
    options = {"ctc_weight": 0.9, "using_eos_threshold": False, "topk": 5}
    found = AttentionSearcher(scorer_beam_scale=0.1, **options)(model, log_probs, torch.tensor([6]))[0]
    start = model.decoder.start(log_probs, torch.tensor([6]))
    for tokens in (h.tokens for h in found):
        rows = step_log_probs(model.decoder, start, tokens)
        assert tokens == [max(range(1, 8), key=row.__getitem__) for row in rows[:-1]]
    assert [h.tokens for h in found] != [
        h.tokens for h in AttentionSearcher(scorer_beam_scale=1.0, **options)(model, log_probs, torch.tensor([6]))[0]
    ]


def test_limits_that_leave_no_length_between_them_give_the_longest_allowed():
    # Of 3 frames, at least 1.2 and at most 1.5 tokens.
    searcher = AttentionSearcher(min_decode_ratio=0.4, max_decode_ratio=0.5)
    (found,) = searcher(Recogniser(5), random_frames(1, 3, 5), torch.tensor([3]))[0]
    assert len(found.tokens) == 1
    assert math.isfinite(found.score)


def test_no_frames_give_one_empty_hypothesis():
    model, searcher, empty = Recogniser(4), AttentionSearcher(ctc_weight=0.5), [Hypothesis([], 0.0)]
    assert searcher(model, torch.zeros(2, 0, 4), torch.tensor([0, 0])) == [empty, empty]
    assert searcher(model, random_frames(2, 4, 4), torch.tensor([0, 4]))[0] == empty
    assert searcher(model, torch.zeros(0, 5, 4), torch.zeros(0, dtype=torch.int64)) == []


def test_impossible_tokens_are_never_used():
    model, log_probs = Recogniser(5), random_frames(2, 6, 5)
    log_probs[0, :, 2] = -INF
    log_probs[1] = -INF
    model.decoder.table[:, 3] = -INF
    fine, lost = AttentionSearcher(ctc_weight=0.3, topk=10)(model, log_probs, torch.tensor([6, 6]))
    assert lost == [Hypothesis([], -INF)]
    assert len(fine) > 3
    assert all(not {2, 3} & set(h.tokens) and math.isfinite(h.score) for h in fine)


class Neural(nn.Module):
    """A real decoder beside a CTC output."""

    def __init__(self, decoder, V=9, size=12):
        super().__init__()
        self.decoder, self.ctc_output = decoder, nn.Linear(size, V)

    def ctc_log_probs(self, encoded):
        return self.ctc_output(encoded).log_softmax(-1)


NEURAL = [
    lambda: TransformerDecoder(9, 16, layers=2, heads=2, hidden=32, memory_size=12),
    lambda: AttentionalGRUDecoder(9, 12, embedding_size=8, neurons=8, attention_size=8),
]


def neural(decoder):
    torch.manual_seed(0)
    model = Neural(decoder()).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 2.0
    return model, torch.randn(8, 14, 12, dtype=torch.float64)


@pytest.mark.parametrize("decoder", NEURAL)
@torch.no_grad()
def test_scores_are_those_of_the_whole_transcripts(decoder):
    model, encoded = neural(decoder)
    frames = torch.tensor([14, 1, 7, 0, 13, 14, 2, 5])
    lm = TransformerLM(9, 16, layers=1, heads=2, hidden=32).double().eval()
    options = {"ctc_weight": 0.3, "lm": lm, "lm_weight": 0.4, "temperature_lm": 1.2}
    searcher = AttentionSearcher(beam_size=5, topk=5, **options)
    together = searcher(model, encoded, frames)
    log_probs = model.ctc_log_probs(encoded)
    for row, count in enumerate(frames.tolist()):
        alone = searcher(model, encoded[row : row + 1, :count], frames[row : row + 1])[0]
        assert_same(together[row], [(h.score, tuple(h.tokens)) for h in alone])
        for found in together[row] if count else []:
            path = torch.tensor([[0, *found.tokens, 0]])
            memory = encoded[row : row + 1, :count], frames[row : row + 1]
            attention = model.decoder(path[:, :-1], *memory).log_softmax(-1)
            fused = (lm(path[:, :-1]) / 1.2).log_softmax(-1)
            att, lang = (part[0].gather(1, path[0, 1:, None]).squeeze(1) for part in (attention, fused))
            ctc = ctc_log_prob(log_probs[row, :count], found.tokens)
            expected = (0.7 * att.sum() + 0.3 * ctc + 0.4 * lang.sum()).item() / (len(found.tokens) + 1)
            assert found.score == pytest.approx(expected, abs=1e-8)
            assert found.log_probs == pytest.approx(att.tolist(), abs=1e-8)


@pytest.mark.parametrize("decoder", NEURAL)
def test_a_wide_beam_finds_every_transcript_of_a_real_decoder(decoder):
    model, encoded = neural(decoder)
    searcher = AttentionSearcher(beam_size=700, topk=90, using_eos_threshold=False, coverage_penalty=0.0)
    found = searcher(model, encoded[:2, :2], torch.tensor([2, 2]))
    for row in range(2):
        assert_same(found[row], Reference(model, encoded[row, :2], searcher, V=9).every_transcript()[:90])


@pytest.mark.parametrize("decoder", NEURAL)
def test_attention_that_jumps_is_dropped_unless_nothing_else_is_left(decoder):
    model, encoded = neural(decoder)
    frames = torch.full((8,), 14)
    free, bound, tight = (
        AttentionSearcher(using_max_attn_shift=shift > 0, max_attn_shift=max(1, shift))(model, encoded, frames)
        for shift in (0, 14, 1)
    )
    assert bound == free
    assert tight != free
    assert all(math.isfinite(hypotheses[0].score) for hypotheses in tight)


def test_what_needs_attention_weights_asks_for_them():
    frames = torch.tensor([3])
    for options in ({"using_max_attn_shift": True}, {"coverage_penalty": 0.5}):
        with pytest.raises(ModelError, match="TableDecoder does not tell where it looks"):
            AttentionSearcher(**options)(Recogniser(4), random_frames(1, 3, 4), frames)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("decoder", NEURAL)
def test_decoders_in_half_precision(decoder, dtype):
    model, encoded = neural(decoder)
    frames, lm = torch.full((8,), 14), TransformerLM(9, 16, layers=1, heads=2, hidden=32).eval()
    searcher = AttentionSearcher(ctc_weight=0.3, lm=lm, lm_weight=0.4, coverage_penalty=0.1)
    exact = searcher(model.float(), encoded.float(), frames)
    lm.to(dtype)
    rounded = searcher(model.to(dtype), encoded.to(dtype), frames)
    assert [one.score for (one,) in rounded] == pytest.approx([one.score for (one,) in exact], abs=0.05)


class HalfRecogniser(Recogniser):
    """Gives its CTC output in half precision."""

    def ctc_log_probs(self, encoded):
        return encoded.half()


def test_half_precision_is_searched_in_single_precision():
    model, log_probs = HalfRecogniser(5), random_frames(1, 300, 5)
    found = AttentionSearcher(ctc_weight=0.5, max_decode_ratio=0.05)(model, log_probs, torch.tensor([300]))
    assert found[0][0].score == pytest.approx(
        AttentionSearcher(ctc_weight=0.5, max_decode_ratio=0.05)(
            Recogniser(5), log_probs.half().float(), torch.tensor([300])
        )[0][0].score,
        abs=1e-3,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, "beam_size .* at least 1, got 0"),
        ({"beam_size": 2, "topk": 3}, "topk must be at most beam_size"),
        ({"ctc_weight": 1.2}, "ctc_weight must be between 0 and 1, got 1.2"),
        ({"lm_weight": 0.1}, "lm_weight is 0.1, but no lm"),
        ({"max_decode_ratio": 0.0}, "max_decode_ratio must be above min_decode_ratio"),
        ({"min_decode_ratio": -0.1}, "min_decode_ratio"),
        ({"eos_threshold": 0.5}, "eos_threshold"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature_lm": 0.0}, "temperature_lm must be above 0"),
        ({"scorer_beam_scale": -1}, "scorer_beam_scale"),
        ({"coverage_penalty": -1}, "coverage_penalty"),
        ({"max_attn_shift": 0}, "max_attn_shift"),
        ({"length_bonus": 0.5}, "length_normalization: False"),
    ],
)
def test_impossible_options_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        AttentionSearcher(**options)


def test_models_that_do_not_fit_are_refused():
    log_probs, frames = random_frames(1, 3, 4), torch.tensor([3])
    with pytest.raises(ModelError, match="Identity has no decoder"):
        AttentionSearcher()(nn.Identity(), log_probs, frames)
    with pytest.raises(ModelError, match="TableLM predicts 7 tokens, but the recogniser has 4"):
        AttentionSearcher(lm=TableLM(7), lm_weight=0.5)(Recogniser(4), log_probs, frames)
    model = Recogniser(4)
    model.ctc_log_probs = lambda encoded: encoded[..., :3]
    with pytest.raises(ModelError, match="the decoder predicts 4 tokens, but CTC 3"):
        AttentionSearcher(ctc_weight=0.5)(model, log_probs, frames)


def test_an_n_gram_adds_to_a_neural_language_model():
    model, log_probs, frames = Recogniser(5), random_frames(1, 6, 5), torch.tensor([6])
    first, second, options = TableLM(5), TableLM(5, seed=3), {"length_normalization": False}
    ngram = ScorerBuilder({"ngram": 0.4}, [NgramScorer(second)])
    found = AttentionSearcher(lm=first, lm_weight=0.3, scorer=ngram, topk=3, **options)(model, log_probs, frames)[0]
    attention = model.decoder.start(log_probs, frames)
    for one in found:
        rows = [step_log_probs(model.decoder, attention, one.tokens)]
        rows += [step_log_probs(lm, lm.start(1, torch.device("cpu")), one.tokens) for lm in (first, second)]
        path = [*one.tokens, 0]
        parts = [sum(row[token] for row, token in zip(said, path, strict=True)) for said in rows]
        assert one.score == pytest.approx(parts[0] + 0.3 * parts[1] + 0.4 * parts[2], abs=1e-9)
