"""Attention energies block by block, as in searching, against all at once, as in training."""

import pytest
import torch

from toolkit.models import location_attention
from toolkit.models.location_attention import additive_energies


@pytest.mark.parametrize("block", [1, 200, 10**9])
def test_blocks_make_no_difference(block, monkeypatch):
    monkeypatch.setattr(location_attention, "BLOCK", block)
    torch.manual_seed(0)
    keys, queries, location = torch.randn(3, 7, 8), torch.randn(15, 8), torch.randn(15, 7, 4)
    weight, energy = torch.randn(8, 4), torch.randn(8)
    expected = torch.tanh(keys.repeat_interleave(5, 0) + queries[:, None] + location @ weight.T) @ energy
    with torch.no_grad():
        found = additive_energies(keys, queries, location, weight=weight, energy=energy)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(additive_energies(keys, queries, location, weight=weight, energy=energy), expected)
