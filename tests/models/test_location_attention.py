"""Attention's energies and features, computed in blocks, against the equations they stand for."""

import pytest
import torch

from toolkit.models import location_attention
from toolkit.models.location_attention import additive_energies, location_features


@pytest.mark.parametrize("channels", [0, 4])
@pytest.mark.parametrize("block", [1, 200, 10**9])
def test_blocks_make_no_difference(block, channels, monkeypatch):
    monkeypatch.setattr(location_attention, "BLOCK", block)
    torch.manual_seed(0)
    keys, queries, location = torch.randn(3, 7, 8), torch.randn(15, 8), torch.randn(15, 7, channels)
    weight, energy = torch.randn(8, channels), torch.randn(8)
    expected = torch.tanh(keys.repeat_interleave(5, 0) + queries[:, None] + location @ weight.T) @ energy
    with torch.no_grad():
        found = additive_energies(keys, queries, location, weight=weight, energy=energy)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(additive_energies(keys, queries, location, weight=weight, energy=energy), expected)


@pytest.mark.parametrize("frames", [1, 15, 16, 33])
@pytest.mark.parametrize("kernel_size", [1, 5, 51])
def test_location_features_are_a_convolution(kernel_size, frames):
    torch.manual_seed(0)
    weights, kernels = torch.rand(3, frames), torch.randn(4, 1, kernel_size, requires_grad=True)
    expected = torch.conv1d(weights[:, None], kernels, padding=kernel_size // 2).transpose(1, 2)
    found = location_features(weights, kernels)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(part.square().sum(), kernels)[0] for part in (found, expected)]
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-4)
