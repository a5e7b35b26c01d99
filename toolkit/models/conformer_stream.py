"""A Conformer's output for features that arrive chunk by chunk: that of the whole, masked alike.

Each layer keeps what its next chunk needs, of constant size: keys and values of the chunks still in mind, and the
frames that its convolution reaches back to.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from toolkit.models.attention import rotary_angles, rotate
from toolkit.models.chunks import Context
from toolkit.models.conformer_layer import ConformerLayer
from toolkit.models.convolution import KERNEL, ConvFrontEnd


class ConformerStream:
    """The encoded frames of utterances whose features arrive chunk by chunk.

    Parameters
    ----------
    front_end, layers, norm
        Of a `toolkit.models.conformer.Conformer` that was trained with chunks, whose ``stream`` makes this.
    context : Context
        What a frame sees.

    Attributes
    ----------
    chunk_features
        Feature frames of a chunk.
    """

    def __init__(
        self,
        front_end: ConvFrontEnd,
        layers: Iterable[ConformerLayer],
        norm: nn.LayerNorm,
        context: Context,
    ) -> None:
        self.chunk_features = context.chunk_frames * math.prod(front_end.strides)
        self._front_end, self._norm = _FrontEndStream(front_end), norm
        kept = None if context.left_chunks is None else context.left_chunks * context.chunk_frames
        self._layers = [_LayerStream(layer, kept) for layer in layers]

    def feed(self, features: Tensor) -> Tensor:
        """The features (B, T, F) of the next chunk, shorter only if it is the last -> (B, ceil(T / strides), D)."""
        values = self._front_end.feed(features)
        for layer in self._layers:
            values = layer.feed(values)
        return self._norm(values)


class _FrontEndStream:
    """A causal front end, and of each convolution the frames that it still sees."""

    def __init__(self, front_end: ConvFrontEnd) -> None:
        self._front_end, self._past = front_end, [None] * len(front_end.strides)

    def feed(self, features: Tensor) -> Tensor:
        """(B, T, F), T a multiple of the strides except at the end -> (B, ceil(T / strides), D)."""
        maps = features.unsqueeze(1)
        for index, stride in enumerate(self._front_end.strides):
            reach = KERNEL - stride
            past = self._past[index]
            known = pad(maps, (0, 0, reach, 0)) if past is None else _after(past, maps)
            self._past[index] = known[:, :, known.size(2) - reach :]
            maps = self._front_end.convolve(index, known).permute(0, 3, 1, 2)
        return self._front_end.project(maps)


class _LayerStream:
    """A layer, with the keys and values (B, heads, T, d) it attends to, and the end of what its convolution has seen.

    Keys are kept as they were before their positions turned them, as positions are counted anew for each chunk: only
    differences matter, and numbers stay small.
    """

    def __init__(self, layer: ConformerLayer, kept: int | None) -> None:
        self._layer, self._kept = layer, kept
        weights = layer.attention_norm.weight
        self._keys = self._contents = layer.attention.split(weights.new_zeros(1, 0, len(weights)))
        self._gated = weights.new_zeros(1, len(weights), layer.convolution.reach)

    def feed(self, values: Tensor) -> Tensor:
        """(B, T, D) of a chunk -> (B, T, D)."""
        values = values + 0.5 * self._layer.first(values)
        values = values + self._attend(values)
        values = values + self._convolve(values)
        return values + 0.5 * self._layer.last(values)

    def _attend(self, values: Tensor) -> Tensor:
        keys, contents, queries = self._layer.project(values)
        keys, contents = _after(self._keys, keys), _after(self._contents, contents)
        size = keys.size(2)
        first = 0 if self._kept is None else max(0, size - self._kept)
        self._keys, self._contents = keys[:, :, first:], contents[:, :, first:]
        angles = rotary_angles(torch.arange(size, device=keys.device), keys.size(3))
        queries = rotate(queries, angles[size - queries.size(2) :])
        return self._layer.attend(queries, rotate(keys, angles), contents, None)

    def _convolve(self, values: Tensor) -> Tensor:
        convolution = self._layer.convolution
        window = _after(self._gated, convolution.gate(values).transpose(1, 2))
        self._gated = window[:, :, window.size(2) - convolution.reach :]
        return convolution.project(convolution.mix_chunk(window))


def _after(past: Tensor, new: Tensor) -> Tensor:
    """What is new, after the past, along the third dimension; at first the past is one row of zeros or of nothing."""
    return torch.cat([past.expand(len(new), *past.shape[1:]), new], dim=2)
