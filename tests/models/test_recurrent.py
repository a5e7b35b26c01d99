"""A step of a recurrent layer, in one piece and in pieces, is the layer itself on a sequence of one."""

import pytest
import torch
from torch import nn

from toolkit.models import recurrent
from toolkit.models.recurrent import rnn_start, rnn_step


@pytest.mark.parametrize("wide", [0, 10**9])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@torch.no_grad()
def test_a_step_is_a_sequence_of_one(kind, bias, wide, monkeypatch):
    monkeypatch.setattr(recurrent, "WIDE", wide)
    monkeypatch.setattr(recurrent, "PIECE", 7)
    torch.manual_seed(0)
    rnn = kind(6, 10, num_layers=2, batch_first=True, bias=bias)
    values = torch.randn(5, 3, 6)
    state = rnn_start(rnn, 5, torch.device("cpu"))
    for position, expected in enumerate(rnn(values)[0].unbind(dim=1)):
        found, state = rnn_step(rnn, values[:, position], state)
        torch.testing.assert_close(found, expected)
