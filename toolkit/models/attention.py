"""Multi-head attention with rotary positions, shared by encoders, decoders and language models."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from toolkit.errors import ConfigError
from toolkit.models.dropout import SharedDropout


def rotary_angles(positions: Tensor, size: int) -> Tensor:
    """Positions (..., T) -> angles (..., T, size / 2), 1 to 1 / 10000 radian a step (Su et al. 2021, equation 15)."""
    rates = 10000 ** (-torch.arange(0, size, 2, device=positions.device, dtype=torch.float32) / size)
    return positions.float().unsqueeze(-1) * rates


def rotate(values: Tensor, angles: Tensor) -> Tensor:
    """Values (..., T, D) with each pair (i, i + D / 2) turned by its position's angle (T, D / 2)."""
    cos, sin = angles.cos().to(values.dtype), angles.sin().to(values.dtype)
    first, second = values.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


def attention_weights(queries: Tensor, keys: Tensor, bias: Tensor) -> Tensor:
    """Queries (B, heads, U, d), keys (B, heads, T, d), bias added to the scores -> weights (B, heads, U, T)."""
    scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-2, -1)
    return (scores + bias).softmax(dim=-1)


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention whose projections can be called on their own, which is what a cache needs.

    Parameters
    ----------
    size : int
        Of queries and of the output.
    heads : int
        Number of heads; the size must be a multiple of twice as many.
    memory_size : int, optional
        Size of the vectors attended to, where it is not ``size``.

    Raises
    ------
    ConfigError
        The heads do not divide the size.
    """

    def __init__(self, size: int, heads: int, *, memory_size: int | None = None) -> None:
        super().__init__()
        if size % (2 * heads):  # rotary positions turn pairs
            raise ConfigError(f"heads: {heads} heads of an even size cannot share a model size of {size}")
        self.heads = heads
        self.query = nn.Linear(size, size)
        self.key_value = nn.Linear(memory_size or size, 2 * size)
        self.output = nn.Linear(size, size)

    def split(self, values: Tensor) -> Tensor:
        """(B, T, D) -> (B, heads, T, D / heads)."""
        return values.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, memory_size) -> keys and values, each (B, heads, T, D / heads)."""
        keys, values = self.key_value(memory).chunk(2, dim=-1)
        return self.split(keys), self.split(values)

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Queries (B, heads, U, d) over keys and values (B, heads, T, d) -> (B, U, D); mask is true where allowed."""
        return self.merge(scaled_dot_product_attention(queries, keys, values, attn_mask=mask))

    def merge(self, mixed: Tensor) -> Tensor:
        """What the heads found (B, heads, U, d) -> (B, U, D)."""
        return self.output(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Sequential):
    """Two dense layers around a gelu, with layer normalisation before: (B, T, D) -> (B, T, D)."""

    def __init__(self, size: int, hidden: int, dropout: float) -> None:
        layers = [
            nn.Linear(size, hidden),
            nn.GELU(),
            SharedDropout(dropout),
            nn.Linear(hidden, size),
            SharedDropout(dropout),
        ]
        super().__init__(nn.LayerNorm(size), *layers)
