"""Conformer encoder (Gulati et al. 2020) with rotary positions and masks that keep padding out.

Layers are not normalised at their ends but once, after the last: the gradient reaches the first unchanged, which learns
sooner from little speech.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from toolkit.errors import ModelError
from toolkit.models.attention import rotary_angles
from toolkit.models.chunks import EVERYTHING, Chunks
from toolkit.models.conformer_layer import ConformerLayer
from toolkit.models.conformer_stream import ConformerStream
from toolkit.models.convolution import ConvFrontEnd
from toolkit.models.masking import valid_mask


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
    chunks : Chunks, optional
        What a frame sees; the front end is then causal, and speech can be encoded as it comes (`stream`). Without,
        every frame sees all others.
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
        chunks: Chunks | None = None,
    ) -> None:
        super().__init__()
        self.output_size, self.head_size = output_size, output_size // heads
        self.chunks = chunks
        self.front_end = ConvFrontEnd(
            input_size,
            output_size,
            channels=cnn_channels,
            strides=cnn_strides,
            dropout=dropout,
            causal=chunks is not None,
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
        context = self.chunks.context(self.training) if self.chunks else EVERYTHING
        seen, chunk = context.mask(mask), context.chunk_frames
        for layer in self.layers:
            values = layer(values, mask, angles, seen=seen, chunk=chunk)
        return self.norm(values), frames

    def stream(self) -> ConformerStream:
        """The same for features that arrive in the chunks of testing.

        Raises
        ------
        ModelError
            There are no chunks.
        """
        if self.chunks is None or self.chunks.testing.chunk_frames is None:
            raise ModelError("this Conformer hears whole utterances: chunks: frames: give a number to stream with")
        return ConformerStream(self.front_end, self.layers, self.norm, self.chunks.testing)
