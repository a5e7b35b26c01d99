"""The CTC prefix score against sums over every path."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from toolkit.decoders.ctc_prefix import CTCScorer
from toolkit.decoders.scorers import Extension, SearchStart
from toolkit.errors import ConfigError, ModelError

INF = math.inf


def random_log_probs(*shape, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(*shape, generator=generator, dtype=torch.float64)).log_softmax(-1)


def transcript_probabilities(log_probs):
    """{transcript: probability} over all paths through (T, V)."""
    T, V = log_probs.shape
    rows, totals = log_probs.exp().tolist(), defaultdict(float)
    for path in itertools.product(range(V), repeat=T):
        transcript = tuple(token for token, _ in itertools.groupby(path) if token != 0)
        totals[transcript] += math.prod(row[token] for row, token in zip(rows, path, strict=True))
    return totals


def prefix_probability(totals, prefix):
    return sum(p for transcript, p in totals.items() if transcript[: len(prefix)] == prefix)


def log(probability):
    return math.log(probability) if probability > 0 else -INF


def start(scorer, log_probs, frames, *, eos=0):
    """The state of one empty hypothesis for each utterance of a CTC output (B, T, V)."""
    model = SimpleNamespace(ctc_log_probs=lambda encoded: encoded)
    return scorer.start(SearchStart(model, log_probs, frames, log_probs.shape[2], eos_index=eos))


def extend(scorer, state, hypotheses, tokens, utterances=None):
    extension = Extension(torch.tensor(hypotheses), torch.tensor(tokens), utterances)
    return scorer.advance(state, extension)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.sampled_from([(1, 3), (2, 4), (5, 3), (8, 2), (4, 4)]),
    seed=st.integers(0, 10_000),
    scale=st.sampled_from([0.0, 1.0, 6.0, 400.0]),
    holes=st.floats(0.0, 0.4),
)
def test_prefix_scores_are_sums_over_all_transcripts_with_that_prefix(shape, seed, scale, holes):
    log_probs = random_log_probs(*shape, seed=seed, scale=scale)
    T, V = shape
    hole = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < holes
    hole[:, seed % V] = False
    log_probs = log_probs.masked_fill(hole, -INF).log_softmax(-1)  # what follows a prefix is taken to sum to 1
    totals = transcript_probabilities(log_probs) if scale < 100 else None  # beyond, probabilities underflow
    scorer = CTCScorer()
    state, prefixes = start(scorer, log_probs[None], torch.tensor([T])), [()]
    sums = [0.0]
    for _ in range(min(T + 1, 4)):
        candidates = torch.arange(1, V).expand(len(prefixes), V - 1)
        scores, ends, everything = scorer.score(state, candidates), scorer.end(state), scorer.score(state)
        torch.testing.assert_close(everything[:, 1:], scores, atol=1e-8, rtol=1e-10)
        torch.testing.assert_close(everything[:, 0], ends)
        assert not torch.isnan(scores).any()
        for row, prefix in enumerate(prefixes if totals else []):
            new = [log(prefix_probability(totals, (*prefix, c))) for c in range(1, V)]
            expected = [value - sums[row] if value > -INF else -INF for value in new]
            assert scores[row].tolist() == pytest.approx(expected, abs=1e-8)
            whole = log(totals.get(prefix, 0.0))
            assert ends[row].item() == pytest.approx(whole - sums[row] if whole > -INF else -INF, abs=1e-8)
        parents = torch.arange(len(prefixes)).repeat_interleave(V - 1)
        tokens = torch.arange(1, V).repeat(len(prefixes))
        state = scorer.advance(state, Extension(parents, tokens))
        prefixes = [(*prefix, c) for prefix in prefixes for c in range(1, V)]
        sums = [log(prefix_probability(totals, prefix)) for prefix in prefixes] if totals else []


def test_hypotheses_of_a_batch_score_as_they_do_alone():
    log_probs, frames = random_log_probs(3, 9, 5), torch.tensor([9, 4, 2])
    scorer = CTCScorer()
    state = start(scorer, log_probs, frames)
    state = extend(scorer, state, [0, 0, 1, 1, 2, 2], [1, 2, 3, 4, 1, 2])
    state = extend(scorer, state, [1, 0, 4, 5], [2, 3, 4, 4], torch.tensor([0, 2]))  # utterance 1 is done
    for row, (utterance, prefix) in enumerate([(0, (2, 2)), (0, (1, 3)), (2, (1, 4)), (2, (2, 4))]):
        count = frames[utterance : utterance + 1]
        single = start(scorer, log_probs[utterance : utterance + 1, : count.item()], count)
        for token in prefix:
            single = extend(scorer, single, [0], [token])
        torch.testing.assert_close(scorer.score(state)[row], scorer.score(single)[0])
        torch.testing.assert_close(scorer.end(state)[row], scorer.end(single)[0])


def test_blank_apart_from_eos_never_follows():
    log_probs, scorer = random_log_probs(1, 6, 5), CTCScorer(blank_index=0)
    state = start(scorer, log_probs, torch.tensor([6]), eos=2)
    state = extend(scorer, state, [0], [3])
    scores = scorer.score(state)[0]
    assert scores[0] == -INF
    assert scores[2] == scorer.end(state)[0]
    assert scorer.score(state, torch.tensor([[0, 1]]))[0].tolist() == [-INF, pytest.approx(scores[1].item())]


def test_single_precision_agrees_where_probabilities_underflow():
    log_probs, scorer = random_log_probs(1, 30, 6, scale=60.0), CTCScorer()
    exact, single = (start(scorer, values, torch.tensor([30])) for values in (log_probs, log_probs.float()))
    for token in (1, 4, 4, 2):
        assert exact.table.probabilities.float().eq(0).any()  # what a sum of probabilities would lose
        torch.testing.assert_close(scorer.score(single).double(), scorer.score(exact), atol=2e-3, rtol=1e-5)
        exact, single = (extend(scorer, state, [0], [token]) for state in (exact, single))


def test_without_frames_only_the_empty_transcript_is_possible():
    scorer = CTCScorer()
    state = start(scorer, torch.zeros(1, 0, 4), torch.tensor([0]))
    assert scorer.score(state).tolist() == [[0.0, -INF, -INF, -INF]]
    assert scorer.score(state, torch.tensor([[1, 2, 3]])).tolist() == [[-INF] * 3]
    state = extend(scorer, state, [0], [2])
    assert scorer.end(state).tolist() == [-INF]


def test_whole_transcripts_score_as_the_ctc_loss():
    log_probs, tokens = random_log_probs(1, 40, 6), [3, 3, 1, 5, 5, 2]
    scorer, total = CTCScorer(), 0.0
    state = start(scorer, log_probs, torch.tensor([40]))
    for token in tokens:
        total += scorer.score(state)[0, token].item()
        state = extend(scorer, state, [0], [token])
    total += scorer.end(state).item()
    loss = nn.functional.ctc_loss(log_probs.transpose(0, 1), torch.tensor([tokens]), [40], [6], reduction="sum")
    assert total == pytest.approx(-loss.item(), abs=1e-9)


def test_what_does_not_fit_is_refused():
    log_probs = random_log_probs(1, 6, 5)
    with pytest.raises(ConfigError, match="ctc_window_size must be 0"):
        CTCScorer(ctc_window_size=20)
    with pytest.raises(ConfigError, match="eos_index is 0 in the searcher, but 2 in CTCScorer"):
        start(CTCScorer(eos_index=2), log_probs, torch.tensor([6]))
    with pytest.raises(ModelError, match="the decoder predicts 5 tokens, but CTC 7"):
        start(CTCScorer(nn.Linear(5, 7).double()), log_probs, torch.tensor([6]))
