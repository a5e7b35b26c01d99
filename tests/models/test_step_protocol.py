"""Step by step equals all at once: decoders and language models give the searchers what they were trained to give."""

import pytest
import torch

from toolkit.models.language import RNNLM, TransformerLM
from toolkit.models.location_attention import AttentionalGRUDecoder
from toolkit.models.state import select
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
