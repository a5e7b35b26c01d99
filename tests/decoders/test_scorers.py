"""The CTC prefix scorer against sums over every path, and the contract that all scorers keep."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from toolkit.decoders.scorers import CTCPrefixScorer, StepScorer, soften
from toolkit.errors import ModelError

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


@settings(max_examples=40, deadline=None)
@given(
    shape=st.sampled_from([(1, 3), (2, 4), (5, 3), (8, 2), (4, 4)]),
    seed=st.integers(0, 10_000),
    scale=st.sampled_from([0.0, 1.0, 6.0]),
    holes=st.floats(0.0, 0.4),
)
def test_prefix_scores_are_sums_over_all_transcripts_with_that_prefix(shape, seed, scale, holes):
    log_probs = random_log_probs(*shape, seed=seed, scale=scale)
    T, V = shape
    hole = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < holes
    hole[:, seed % V] = False
    log_probs = log_probs.masked_fill(hole, -INF).log_softmax(-1)  # what follows a prefix is taken to sum to 1
    totals = transcript_probabilities(log_probs)
    scorer = CTCPrefixScorer(log_probs[None], torch.tensor([T]))
    state, prefixes = scorer.start(torch.tensor([0])), [()]
    sums = [0.0]
    for _ in range(min(T + 1, 4)):
        candidates = torch.arange(1, V).expand(len(prefixes), V - 1)
        scores, ends = scorer.score(state, candidates), scorer.end(state)
        assert not torch.isnan(scores).any()
        for row, prefix in enumerate(prefixes):
            new = [log(prefix_probability(totals, (*prefix, c))) for c in range(1, V)]
            expected = [value - sums[row] if value > -INF else -INF for value in new]
            assert scores[row].tolist() == pytest.approx(expected, abs=1e-8)
            whole = log(totals.get(prefix, 0.0))
            assert ends[row].item() == pytest.approx(whole - sums[row] if whole > -INF else -INF, abs=1e-8)
        parents = torch.arange(len(prefixes)).repeat_interleave(V - 1)
        tokens = torch.arange(1, V).repeat(len(prefixes))
        state = scorer.advance(state, parents, tokens)
        prefixes = [(*prefix, c) for prefix in prefixes for c in range(1, V)]
        sums = [log(prefix_probability(totals, prefix)) for prefix in prefixes]


def test_hypotheses_of_a_batch_score_as_they_do_alone():
    log_probs, frames = random_log_probs(3, 9, 5), torch.tensor([9, 4, 0])
    together = CTCPrefixScorer(log_probs, frames)
    state = together.start(torch.tensor([1, 0, 2]))
    candidates = torch.tensor([[1, 4], [2, 2], [3, 1]])
    for parents, tokens in [([0, 1, 2], [1, 2, 3]), ([1, 0, 1], [2, 3, 4])]:
        state = together.advance(state, torch.tensor(parents), torch.tensor(tokens))
    for row, (utterance, prefix) in enumerate([(0, (2, 2)), (1, (1, 3)), (0, (2, 4))]):
        count = frames[utterance : utterance + 1]
        alone = CTCPrefixScorer(log_probs[utterance : utterance + 1, : count.item()], count)
        single = alone.start(torch.tensor([0]))
        for token in prefix:
            single = alone.advance(single, torch.tensor([0]), torch.tensor([token]))
        expected = alone.score(single, candidates[row : row + 1])
        torch.testing.assert_close(together.score(state, candidates)[row : row + 1], expected)
        torch.testing.assert_close(together.end(state)[row : row + 1], alone.end(single))


def test_without_frames_only_the_empty_transcript_is_possible():
    scorer = CTCPrefixScorer(torch.zeros(1, 0, 4), torch.tensor([0]))
    state = scorer.start(torch.tensor([0]))
    assert scorer.end(state).tolist() == [0.0]
    assert scorer.score(state, torch.tensor([[1, 2, 3]])).tolist() == [[-INF] * 3]
    state = scorer.advance(state, torch.tensor([0]), torch.tensor([2]))
    assert scorer.end(state).tolist() == [-INF]


def test_whole_transcripts_score_as_the_ctc_loss():
    log_probs, tokens = random_log_probs(1, 40, 6), [3, 3, 1, 5, 5, 2]
    scorer = CTCPrefixScorer(log_probs, torch.tensor([40]))
    state, total = scorer.start(torch.tensor([0])), 0.0
    for token in tokens:
        total += scorer.score(state, torch.tensor([[token]])).item()
        state = scorer.advance(state, torch.tensor([0]), torch.tensor([token]))
    total += scorer.end(state).item()
    loss = nn.functional.ctc_loss(log_probs.transpose(0, 1), torch.tensor([tokens]), [40], [6], reduction="sum")
    assert total == pytest.approx(-loss.item(), abs=1e-9)


class Counter(nn.Module):
    """Likes the token after the last one, and remembers how many it was shown."""

    def step(self, tokens, state):
        logits = nn.functional.one_hot((tokens + 1) % 5, 5).half() * 4
        return logits.log_softmax(-1), {"count": state["count"] + 1}


def test_a_step_scorer_remembers_its_hypotheses():
    scorer = StepScorer(Counter(), vocabulary=5)
    state = scorer.start({"count": torch.zeros(2)}, 2, torch.device("cpu"))
    state = scorer.advance(state, torch.tensor([1, 1, 0]), torch.tensor([1, 2, 4]))
    assert state.memory["count"].tolist() == [2, 2, 2]
    assert state.log_probs.dtype == torch.float32
    high, low = state.log_probs[0].max().item(), state.log_probs[0].min().item()
    scores = scorer.score(state, torch.tensor([[2, 3], [2, 3], [2, 3]]))
    assert scores.tolist() == [[high, low], [low, high], [low, low]]
    assert scorer.end(state).tolist() == [low, low, high]


def test_a_step_scorer_refuses_another_vocabulary():
    with pytest.raises(ModelError, match="Counter predicts 5 tokens, but the recogniser has 6"):
        StepScorer(Counter(), vocabulary=6).start({"count": torch.zeros(1)}, 1, torch.device("cpu"))


def test_softening_keeps_the_impossible_impossible():
    softened = soften(torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.0, 0.0]]).log(), 2.0).exp()
    expected = torch.tensor([[1 / (1 + 3**0.5), 3**0.5 / (1 + 3**0.5), 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(softened, expected)
