"""Convolutional front ends that shorten the sequence of features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from toolkit.errors import ConfigError
from toolkit.models.dropout import SharedDropout
from toolkit.models.masking import strided_length, zero_padding

KERNEL = 3


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
    causal : bool
        An output frame sees nothing beyond the ``strides`` feature frames that are its own time.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        channels: Sequence[int] = (32, 32),
        strides: Sequence[int] = (2, 2),
        dropout: float = 0.1,
        causal: bool = False,
    ) -> None:
        super().__init__()
        if causal and max(strides) > KERNEL:
            raise ConfigError(f"cnn_strides: {list(strides)}: strides of causal convolutions are {KERNEL} at most")
        self.strides, self.output_size, self.causal = list(strides), output_size, causal
        inputs, bands = [1, *channels[:-1]], input_size
        padding = (0 if causal else 1, 1)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, o, KERNEL, stride=(s, 2), padding=padding)
            for i, o, s in zip(inputs, channels, strides, strict=True)
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
        for index, stride in enumerate(self.strides):
            frames = strided_length(frames, stride)
            if self.causal:
                maps = pad(maps, (0, 0, KERNEL - stride, 0))
            maps = self.channel_dropout(zero_padding(self.convolve(index, maps), frames).permute(0, 3, 1, 2))
        return zero_padding(self.project(maps), frames), frames

    def convolve(self, index: int, maps: Tensor) -> Tensor:
        """One convolution, normalised and activated: (B, C, T, F) -> (B, ceil(T / stride), ceil(F / 2), C').

        Where it is causal, the first KERNEL - stride of the T frames are those before, and count for nothing.
        """
        if self.causal:
            maps = pad(maps, (0, 0, 0, self.strides[index] - 1))
        return self.activation(self.norms[index](self.convolutions[index](maps).permute(0, 2, 3, 1)))

    def project(self, maps: Tensor) -> Tensor:
        """The last convolution's (B, C, T, F) -> (B, T, output_size)."""
        return self.projection(maps.permute(0, 2, 3, 1).flatten(2))
