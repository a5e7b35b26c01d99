"""Scorers of label-synchronous search, and what builds them into one."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from toolkit.decoders.attention import AttentionSearcher
from toolkit.decoders.ctc_prefix import CTCScorer
from toolkit.decoders.language_scorers import LanguageModelScorer, RNNLMScorer
from toolkit.decoders.scorer_builder import ScorerBuilder
from toolkit.decoders.scorers import CoverageScorer, Extension, LengthScorer, SearchStart, StepScorer, soften
from toolkit.errors import ConfigError, ModelError
from toolkit.models.language import RNNLM, TransformerLM
from toolkit.models.transformer import TransformerDecoder


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


@pytest.mark.parametrize(
    "lm",
    [
        lambda: RNNLM(7, embedding_size=6, neurons=8, layers=2),
        lambda: RNNLM(7, embedding_size=6, neurons=8, rnn_type="gru"),
        lambda: TransformerLM(7, 16, layers=2, heads=2, hidden=32),
    ],
)
@torch.no_grad()
def test_a_language_model_scores_every_hypothesis_by_its_own_tokens(lm):
    torch.manual_seed(0)
    lm, generator = lm().eval(), torch.Generator().manual_seed(1)
    scorer = LanguageModelScorer(lm, temperature=1.3)
    state = scorer.start(SearchStart(nn.Identity(), torch.zeros(3, 9, 2), torch.full((3,), 9), 7))
    histories = [[[0]], [[0]], [[0]]]  # of A utterances, K hypotheses each
    for _ in range(25):  # long enough for keys and values to be swept
        flat = [tokens for utterance in histories for tokens in utterance]
        expected = (lm(torch.tensor(flat))[:, -1] / 1.3).log_softmax(-1)
        torch.testing.assert_close(scorer.score(state), expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(scorer.end(state), expected[:, 0], atol=1e-5, rtol=1e-4)
        K = len(histories[0])
        stays = [0, 2] if len(flat[0]) == 12 else list(range(len(histories)))
        slots = torch.randint(K, (len(stays), 4), generator=generator)
        tokens = torch.randint(1, 7, (len(stays), 4), generator=generator)
        parents = (torch.tensor(stays)[:, None] * K + slots).flatten()
        gone = None if len(stays) == len(histories) else torch.tensor(stays)
        state = scorer.advance(state, Extension(parents, tokens.flatten(), gone))
        histories = [
            [[*histories[row][slot], token] for slot, token in zip(*pair, strict=True)]
            for row, pair in zip(stays, zip(slots.tolist(), tokens.tolist(), strict=True), strict=True)
        ]


def test_coverage_is_what_was_attended_to_more_than_enough():
    scorer, attention = CoverageScorer(threshold=0.5), torch.tensor([[0.9, 0.1, 0.0], [0.3, 0.3, 0.4]])
    model = nn.Module()
    model.decoder = nn.Identity()
    search = SearchStart(model, torch.zeros(2, 3, 1), torch.tensor([3, 3]), 5, attention=attention)
    state = scorer.start(search)
    assert scorer.end(state).tolist() == pytest.approx([-0.4, 0.0])
    look = torch.tensor([[0.9, 0.1, 0.0], [0.0, 0.9, 0.1]])
    state = scorer.advance(state, Extension(torch.tensor([0, 0]), torch.tensor([1, 2]), torch.tensor([0]), look))
    assert scorer.score(state).shape == (2, 5)
    assert scorer.score(state)[:, 3].tolist() == pytest.approx([-(1.8 - 0.5) / 2, -(0.4 + 0.5) / 2])
    with pytest.raises(ModelError, match="Identity does not tell where it looks"):
        scorer.start(SearchStart(model, torch.zeros(2, 3, 1), torch.tensor([3, 3]), 5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": {"ctc": 0.4}}, "weights names the scorer 'ctc', which is not given"),
        ({"weights": {"cct": 0.4}, "full_scorers": [CTCScorer()]}, "the scorer 'ctc' has no weight"),
        ({"full_scorers": [CTCScorer()], "partial_scorers": [CTCScorer()]}, "two scorers are called 'ctc'"),
        ({"weights": {"ctc": 1.4}, "full_scorers": [CTCScorer()]}, "weight of ctc must be between 0 and 1"),
        ({"weights": {"length": -1}, "full_scorers": [LengthScorer()]}, "weight of length must be at least 0"),
        ({"full_scorers": [nn.Identity()]}, "is no scorer"),
        ({"scorer_beam_scale": -1}, "scorer_beam_scale"),
    ],
)
def test_scorers_and_weights_that_do_not_belong_together_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        ScorerBuilder(**options)


def test_a_scorer_is_weighted_in_one_place():
    with pytest.raises(ConfigError, match="ctc is weighted by an option of the searcher and in scorer"):
        AttentionSearcher(ctc_weight=0.3, scorer=ScorerBuilder({"ctc": 0.3}, [CTCScorer()]))
    with pytest.raises(ModelError, match="Identity is no language model"):
        RNNLMScorer(nn.Identity())


def test_a_scorer_without_weight_is_not_asked():
    decoder = TransformerDecoder(5, 8, layers=1, heads=2, hidden=8, memory_size=3).eval()
    model = nn.Module()
    model.decoder = decoder
    never = ScorerBuilder({"rnnlm": 0.0}, [RNNLMScorer(RNNLM(99))])  # another vocabulary
    encoded, frames = torch.randn(2, 6, 3), torch.tensor([6, 4])
    found = AttentionSearcher(scorer=never)(model, encoded, frames)
    assert found == AttentionSearcher()(model, encoded, frames)
    assert math.isfinite(found[0][0].score)
