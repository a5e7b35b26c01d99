"""The layer of a Conformer (Gulati et al. 2020), not normalised at its end."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import glu, pad, silu

from toolkit.errors import ConfigError
from toolkit.models.attention import FeedForward, MultiHeadAttention, rotate
from toolkit.models.dropout import SharedDropout


class ConvolutionModule(nn.Module):
    """Gated pointwise, depthwise over time, pointwise; padding is zeroed before the depthwise part reads it.

    In chunks, a frame sees those after it to the end of its chunk, where zeros begin, and before it as many as ever (Li
    et al. 2023, "Dynamic chunk convolution").
    """

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

    def forward(self, values: Tensor, mask: Tensor, chunk: int | None = None) -> Tensor:
        """(B, T, D) with a (B, T) mask of valid frames, in chunks of so many frames -> (B, T, D)."""
        gated = self.gate(values).masked_fill(~mask.unsqueeze(2), 0.0)
        if chunk is None:
            return self.project(self.depthwise(gated.transpose(1, 2)).transpose(1, 2))
        size = gated.size(1)
        padded = pad(gated, (0, 0, self.reach, -size % chunk))
        windows = padded.unfold(1, self.reach + chunk, chunk).flatten(0, 1)  # (B * chunks, D, reach + chunk)
        mixed = self.mix_chunk(windows).unflatten(0, (len(gated), -1)).flatten(1, 2)
        return self.project(mixed[:, :size])

    @property
    def reach(self) -> int:
        """Frames that the depthwise convolution sees to each side."""
        return self.depthwise.padding[0]

    def gate(self, values: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D): what the depthwise convolution reads."""
        return glu(self.inward(self.norm(values)), dim=-1)

    def mix_chunk(self, window: Tensor) -> Tensor:
        """Gated frames (B, D, reach + T) of the end of a chunk's past and of the chunk -> (B, T, D), convolved."""
        return self.depthwise(window)[:, :, self.reach :].transpose(1, 2)

    def project(self, mixed: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D): what the module adds."""
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

    def forward(
        self, values: Tensor, mask: Tensor, angles: Tensor, *, seen: Tensor, chunk: int | None = None
    ) -> Tensor:
        """(B, T, D) with a (B, T) mask and (T, d / 2) rotary angles -> (B, T, D).

        ``seen``, of a shape like (B, 1, T, T), is true where a frame attends to another; ``chunk`` is the number of
        frames beyond whose multiples the convolution does not see.
        """
        values = values + 0.5 * self.first(values)
        keys, contents, queries = self.project(values)
        values = values + self.attend(rotate(queries, angles), rotate(keys, angles), contents, seen)
        values = values + self.convolution(values, mask, chunk)
        return values + 0.5 * self.last(values)

    def project(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Keys, values and queries (B, heads, T, d) of (B, T, D), not yet turned by position."""
        values = self.attention_norm(values)
        return *self.attention.keys_values(values), self.attention.split(self.attention.query(values))

    def attend(self, queries: Tensor, keys: Tensor, contents: Tensor, seen: Tensor | None) -> Tensor:
        """What attention adds, (B, T, D)."""
        return self.dropout(self.attention.attend(queries, keys, contents, seen))
