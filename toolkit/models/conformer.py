"""Conformer encoder (Gulati et al. 2020) with rotary positions and masks that keep padding out.

Layers are not normalised at their ends but once, after the last: the gradient reaches the first unchanged, which learns
sooner from little speech.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import glu, silu

from toolkit.errors import ConfigError
from toolkit.models.attention import FeedForward, MultiHeadAttention, rotary_angles, rotate
from toolkit.models.convolution import ConvFrontEnd
from toolkit.models.dropout import SharedDropout
from toolkit.models.masking import valid_mask


class ConvolutionModule(nn.Module):
    """Gated pointwise, depthwise over time, pointwise; padding is zeroed before the depthwise part reads it."""

    def __init__(self, size: int, kernel_size: int, dropout: float) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ConfigError(
                f"kernel_size must be odd, so that a frame is in the middle of what it sees: {kernel_size}"
            )
        self.norm, self.inward = nn.LayerNorm(size), nn.Linear(size, 2 * size)
        self.depthwise = nn.Conv1d(size, size, kernel_size, padding=kernel_size // 2, groups=size)
        self.depth_norm, self.outward = nn.LayerNorm(size), nn.Linear(size, size)
        self.dropout = SharedDropout(dropout)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D) with a (B, T) mask of valid frames -> (B, T, D)."""
        gated = glu(self.inward(self.norm(values)), dim=-1).masked_fill(~mask.unsqueeze(2), 0.0)
        mixed = self.depthwise(gated.transpose(1, 2)).transpose(1, 2)
        return self.dropout(self.outward(silu(self.depth_norm(mixed))))


class ConformerLayer(nn.Module):
    """Half feed-forward, self-attention, convolution, half feed-forward, each added to what it reads."""

    def __init__(self, size: int, heads: int, hidden: int, *, kernel_size: int, dropout: float) -> None:
        super().__init__()
        self.first, self.last = FeedForward(size, hidden, dropout), FeedForward(size, hidden, dropout)
        self.attention_norm = nn.LayerNorm(size)
        self.attention = MultiHeadAttention(size, heads)
        self.convolution = ConvolutionModule(size, kernel_size, dropout)
        self.dropout = SharedDropout(dropout)

    def forward(self, values: Tensor, mask: Tensor, angles: Tensor) -> Tensor:
        """(B, T, D) with a (B, T) mask and (T, d / 2) rotary angles -> (B, T, D)."""
        values = values + 0.5 * self.first(values)
        values = values + self.dropout(self._attend(self.attention_norm(values), mask, angles))
        values = values + self.convolution(values, mask)
        return values + 0.5 * self.last(values)

    def _attend(self, values: Tensor, mask: Tensor, angles: Tensor) -> Tensor:
        keys, contents = self.attention.keys_values(values)
        queries = rotate(self.attention.split(self.attention.query(values)), angles)
        return self.attention.attend(queries, rotate(keys, angles), contents, mask[:, None, None, :])


class Conformer(nn.Module):
    """Strided convolutions, then Conformer layers: (B, T, F) -> (B, T', output_size).

    Parameters
    ----------
    input_size : int
        Size F of a feature vector.
    output_size : int
        Model size D.
    layers, heads, hidden : int
        Number of layers, attention heads, size inside the feed-forward parts.
    kernel_size : int
        Of the depthwise convolution, odd, in frames.
    cnn_channels, cnn_strides : sequence of int
        Of the convolutional front end; the product of the strides shortens the sequence.
    dropout : float
        Everywhere.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int = 144,
        *,
        layers: int = 6,
        heads: int = 4,
        hidden: int = 576,
        kernel_size: int = 15,
        cnn_channels: Sequence[int] = (32, 32),
        cnn_strides: Sequence[int] = (2, 2),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.output_size, self.head_size = output_size, output_size // heads
        self.front_end = ConvFrontEnd(
            input_size, output_size, channels=cnn_channels, strides=cnn_strides, dropout=dropout
        )
        self.layers = nn.ModuleList(
            ConformerLayer(output_size, heads, hidden, kernel_size=kernel_size, dropout=dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(output_size)

    def forward(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, F) with (B,) frames -> (B, T', output_size) with (B,) shorter frames."""
        values, frames = self.front_end(features, frames)
        mask = valid_mask(frames, values.size(1))
        angles = rotary_angles(torch.arange(values.size(1), device=values.device), self.head_size)
        for layer in self.layers:
            values = layer(values, mask, angles)
        return self.norm(values), frames
