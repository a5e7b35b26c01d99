"""Convolutional front ends that shorten the sequence of features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from toolkit.models.dropout import SharedDropout
from toolkit.models.masking import strided_length, zero_padding


class ConvFrontEnd(nn.Module):
    """2-D convolutions over time and frequency, then a projection: (B, T, F) -> (B, ceil(T / strides), output_size).

    Parameters
    ----------
    input_size : int
        Size F of a feature vector.
    output_size : int
        Size of an output frame.
    channels : sequence of int
        Output channels of each convolution (kernel 3 x 3).
    strides : sequence of int
        Stride in time of each convolution; in frequency every one halves the bands.
    dropout : float
        Probability for whole channels after each convolution, and for the output.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        channels: Sequence[int] = (32, 32),
        strides: Sequence[int] = (2, 2),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.strides, self.output_size = list(strides), output_size
        inputs, bands = [1, *channels[:-1]], input_size
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, o, 3, stride=(s, 2), padding=1) for i, o, s in zip(inputs, channels, strides, strict=True)
        ).to(memory_format=torch.channels_last)  # as normalisation wants them: nothing is copied in between
        self.norms = nn.ModuleList()
        for size in channels:
            bands = (bands + 1) // 2
            self.norms.append(nn.LayerNorm([bands, size]))
        self.activation, self.channel_dropout = nn.GELU(), nn.Dropout2d(dropout)
        self.projection = nn.Sequential(nn.Linear(channels[-1] * bands, output_size), SharedDropout(dropout))

    def forward(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, F) with (B,) frames -> (B, T', output_size) with (B,) frames; padding is zero before each layer."""
        maps = zero_padding(features, frames).unsqueeze(1)  # (B, C, T, F)
        for convolution, norm, stride in zip(self.convolutions, self.norms, self.strides, strict=True):
            frames = strided_length(frames, stride)
            maps = self.activation(norm(convolution(maps).permute(0, 2, 3, 1)))  # (B, T, F, C)
            maps = self.channel_dropout(zero_padding(maps, frames).permute(0, 3, 1, 2))
        return zero_padding(self.projection(maps.permute(0, 2, 3, 1).flatten(2)), frames), frames
