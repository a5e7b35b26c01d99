"""Attention's energies and features, against the equations they stand for."""

import pytest
import torch

from toolkit.models.location_attention import additive_energies, location_features


@pytest.mark.parametrize("size", [1.0, 30.0])
@pytest.mark.parametrize("channels", [0, 3, 8])
def test_compiled_energies_are_those_of_the_equation(channels, size):
    torch.manual_seed(0)
    keys, queries, location = size * torch.randn(3, 7, 40), torch.randn(15, 40), torch.randn(15, 7, channels)
    weight, energy = torch.randn(40, channels), torch.randn(40)
    inner = keys.double().repeat_interleave(5, 0) + queries[:, None] + (location @ weight.T).double()
    expected = (torch.tanh(inner) @ energy.double()).float()
    with torch.no_grad():
        found = additive_energies(keys, queries, location, weight=weight, energy=energy)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(additive_energies(keys, queries, location, weight=weight, energy=energy), found)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_what_the_compiled_code_does_not_take_goes_by_the_equation(dtype):
    torch.manual_seed(0)
    keys, queries, location = torch.randn(2, 7, 8), torch.randn(6, 8), torch.randn(6, 7, 3)
    weight, energy = torch.randn(8, 3), torch.randn(8)
    parts = [part.to(dtype) for part in (keys, queries, location)]
    with torch.no_grad():
        found = additive_energies(*parts, weight=weight.to(dtype), energy=energy.to(dtype))
        expected = additive_energies(keys, queries, location, weight=weight, energy=energy)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, atol=0.15 if dtype == torch.bfloat16 else 1e-5, rtol=0.05)


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
