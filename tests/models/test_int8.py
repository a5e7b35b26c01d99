"""Linear layers in int8, against sums in float64 of the same whole numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from toolkit.models import int8
from toolkit.models.conformer import Conformer
from toolkit.models.int8 import Int8Linear, use_int8
from toolkit.tensor_file import from_rows, to_rows

needs_exact = pytest.mark.skipif(not int8.is_exact(), reason="a processor without VNNI multiplies in float")


def by_hand(layer: nn.Linear, values: Tensor) -> Tensor:
    """(N, inputs) -> (N, outputs) of inputs and weights that are rounded to 255 steps in each row."""
    weight, inputs = (from_rows(*to_rows(value)).double() for value in (layer.weight, values))
    return inputs @ weight.t() + (0 if layer.bias is None else layer.bias.double())


@needs_exact
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 48), (5, 7, 48), (2, 0, 48)])
def test_a_layer_multiplies_what_is_rounded(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(1)
    layer = nn.Linear(48, 33, bias=bias)
    values = torch.randn(shape) * torch.logspace(-4, 4, 48)[torch.randperm(48)]
    with torch.no_grad():
        found, expected = Int8Linear(layer)(values), by_hand(layer, values.view(-1, 48)).view(*shape[:-1], 33)
    largest = expected.abs().max().item() if expected.numel() else 0.0
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5 * largest)


def test_the_largest_numbers_do_not_overflow() -> None:
    layer = nn.Linear(1024, 8, bias=False)
    nn.init.constant_(layer.weight, -2.0)
    model = nn.Sequential(layer)
    use_int8(model)
    torch.testing.assert_close(model(torch.full((40, 1024), 3.0)), torch.full((40, 8), -6.0 * 1024))


@needs_exact
def test_a_frame_does_not_depend_on_the_others() -> None:
    torch.manual_seed(1)
    encoder = Conformer(16, output_size=24, cnn_channels=[4, 4], layers=2, heads=2, hidden=48, kernel_size=5).eval()
    values, loud = torch.randn(1, 90, 16), 1000 * torch.randn(1, 200, 16)
    in_float = encoder(values, torch.tensor([90]))[0]
    use_int8(encoder)
    with torch.no_grad():
        alone, frames = encoder(values, torch.tensor([90]))
        batch = torch.cat([torch.cat([values, 9 + torch.zeros(1, 110, 16)], dim=1), loud])
        together, _ = encoder(batch, torch.tensor([90, 200]))
    torch.testing.assert_close(together[0, : frames[0]], alone[0], atol=1e-5, rtol=1e-5)
    assert 0 < (alone - in_float).abs().max() < 0.2


@needs_exact
def test_layers_at_any_depth_are_replaced_and_those_derived_from_linear_are_not() -> None:
    attention = nn.MultiheadAttention(8, 2)
    model = nn.ModuleDict({"deep": nn.Sequential(nn.Sequential(nn.Linear(8, 8))), "attention": attention})
    use_int8(model)
    assert isinstance(model["deep"][0][0], Int8Linear)
    assert type(attention.out_proj) is not Int8Linear
    torch.testing.assert_close(model["deep"][0][0].weight.shape, torch.Size([8, 8]))


def test_where_it_is_not_exact_nothing_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "is_exact", lambda: False)
    model = nn.Sequential(nn.Linear(4, 4))
    use_int8(model)
    assert type(model[0]) is nn.Linear
