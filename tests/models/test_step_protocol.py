"""Step by step equals all at once: decoders and language models give the searchers what they were trained to give."""

import itertools

import pytest
import torch

from toolkit.errors import ConfigError
from toolkit.models.language import RNNLM, TransformerLM
from toolkit.models.location_attention import AttentionalGRUDecoder
from toolkit.models.state import select
from toolkit.models.transducer import Joint, RNNPredictor, StatelessPredictor
from toolkit.models.transformer import TransformerDecoder

TOKENS = torch.tensor([[0, 3, 1, 4, 1], [0, 5, 9, 2, 6], [0, 5, 3, 5, 8]])


@pytest.mark.parametrize(
    "model",
    [
        lambda: RNNLM(11, embedding_size=6, neurons=8, layers=2),
        lambda: RNNLM(11, embedding_size=6, neurons=8, rnn_type="gru"),
        lambda: TransformerLM(11, 16, layers=2, heads=2, hidden=32),
    ],
)
def test_language_models_step_as_they_were_trained(model):
    torch.manual_seed(0)
    lm = model().eval()
    expected = lm(TOKENS).log_softmax(-1)
    check_steps(lm, lm.start(3, torch.device("cpu")), expected)


@pytest.mark.parametrize(
    "model",
    [
        lambda: TransformerDecoder(11, 16, layers=2, heads=2, hidden=32, memory_size=12),
        lambda: AttentionalGRUDecoder(11, 12, embedding_size=8, neurons=8, attention_size=8),
    ],
)
def test_decoders_step_as_they_were_trained(model):
    torch.manual_seed(0)
    decoder, memory, frames = model().eval(), torch.randn(3, 9, 12), torch.tensor([9, 4, 1])
    expected = decoder(TOKENS, memory, frames).log_softmax(-1)
    check_steps(decoder, decoder.start(memory, frames), expected)


@pytest.mark.parametrize(
    "model",
    [
        lambda: RNNPredictor(11, embedding_size=6, neurons=8, layers=2),
        lambda: RNNPredictor(11, embedding_size=6, neurons=8, rnn_type="gru"),
        lambda: StatelessPredictor(11, 8),
        lambda: StatelessPredictor(11, 8, context=1),
    ],
)
def test_prediction_networks_step_as_they_were_trained(model):
    torch.manual_seed(0)
    predictor = model().eval()
    check_steps(predictor, predictor.start(3, torch.device("cpu")), predictor(TOKENS))


@pytest.mark.parametrize(("combine", "expected"), [("add", torch.add), ("multiply", torch.mul)])
def test_joint_combines_every_frame_with_every_prefix(combine, expected):
    torch.manual_seed(0)
    joint, frames, prefixes = Joint(5, 6, 11, size=4, combine=combine), torch.randn(7, 5), torch.randn(3, 6)
    logits = joint(joint.frames(frames)[:, None], joint.prefixes(prefixes))
    for t, u in itertools.product(range(7), range(3)):
        hidden = torch.tanh(expected(joint.frames(frames[t]), joint.prefixes(prefixes[u])))
        torch.testing.assert_close(logits[t, u], joint.output(hidden))


def test_a_joint_network_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="combine must be add or multiply, got 'concat'"):
        Joint(5, 6, 11, combine="concat")


@torch.no_grad()
def check_steps(model, state, expected):
    """Also when hypotheses change places half-way, as they do in a beam."""
    order = torch.arange(3)
    for position in range(TOKENS.size(1)):
        log_probs, state = model.step(TOKENS[order, position], state)
        torch.testing.assert_close(log_probs, expected[order, position], atol=1e-5, rtol=1e-4)
        if position == 2:
            order = torch.tensor([2, 0, 1])
            state = select(state, order, order)
