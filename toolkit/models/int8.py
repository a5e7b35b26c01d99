"""Linear layers in whole numbers: on a CPU, encoders of large ones are up to twice as fast."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from toolkit.tensor_file import LARGEST, LEAST, from_rows, to_rows


class Int8Linear(nn.Module):
    """A linear layer of int8 weights, a scale for each output, and of inputs that are made int8 as they come.

    Each frame has a scale of its own, and sums of whole numbers are exact: what a frame gives does not depend on the
    batch around it. torch's own dynamic quantisation has one scale for the batch.

    Parameters
    ----------
    layer : nn.Linear
        What is to be computed.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features, self.bias = layer.in_features, layer.out_features, layer.bias
        rows, scale = to_rows(layer.weight)
        self.register_buffer("columns", rows.t())
        self.register_buffer("scale", scale)

    @property
    def weight(self) -> Tensor:
        """The weights (outputs, inputs) as floats."""
        return from_rows(self.columns.t(), self.scale)

    def forward(self, values: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        if values.device.type != "cpu" or not values.numel():
            return linear(values, self.weight.to(values.dtype), self.bias)
        frames = values.reshape(-1, self.in_features).float()
        scale = frames.abs().amax(1, keepdim=True).clamp_min(LEAST) / LARGEST
        sums = torch._int_mm((frames / scale).round_().to(torch.int8), self.columns)
        outputs = sums.float().mul_(scale).mul_(self.scale)
        if self.bias is not None:
            outputs += self.bias
        return outputs.view(*values.shape[:-1], self.out_features)


@cache
def is_exact() -> bool:
    """Whether this processor multiplies int8 exactly.

    One without VNNI instructions adds two products in 16 bits, where 2 * 127 * 127 with what oneDNN adds has no place.
    """
    largest = torch.full((64, 64), LARGEST, dtype=torch.int8)
    return torch.backends.mkldnn.is_available() and bool((torch._int_mm(largest, largest) == 64 * LARGEST**2).all())


def use_int8(module: nn.Module) -> None:
    """Compute the linear layers of a module in int8, where that is exact; they can no longer be trained.

    Recurrent layers stay: frame by frame, their products are too small to gain.
    """
    for name, child in module.named_children() if is_exact() else ():
        if type(child) is nn.Linear:  # of those derived from it, other code reads the weights
            setattr(module, name, Int8Linear(child))
        else:
            use_int8(child)
