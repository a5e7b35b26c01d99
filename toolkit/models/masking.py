"""Masks from whole-number lengths, so that padding never changes an answer (trap 3 of the design)."""

from __future__ import annotations

import torch
from torch import Tensor


def valid_mask(lengths: Tensor, size: int) -> Tensor:
    """(B,) lengths -> (B, size) bool, true where a position holds data rather than padding."""
    return torch.arange(size, device=lengths.device) < lengths.unsqueeze(1)


def attention_bias(lengths: Tensor, size: int, *, like: Tensor) -> Tensor:
    """(B,) lengths -> (B, 1, 1, size) to add to attention scores: 0, and -inf on padding."""
    return like.new_zeros(len(lengths), 1, 1, size).masked_fill(~valid_mask(lengths, size)[:, None, None], -torch.inf)


def zero_padding(values: Tensor, lengths: Tensor) -> Tensor:
    """Values (B, T, ...) with everything past each row's length set to zero."""
    mask = valid_mask(lengths, values.size(1))
    return values.masked_fill(~mask.view(*mask.shape, *[1] * (values.dim() - 2)), 0.0)


def strided_length(lengths: Tensor, stride: int) -> Tensor:
    """Frames left by a convolution of odd kernel, padding (kernel - 1) / 2 and this stride: ceil(length / stride)."""
    return torch.div(lengths + stride - 1, stride, rounding_mode="floor")
