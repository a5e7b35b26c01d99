"""Transformer decoder with a key/value cache; without a memory it is a language model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from toolkit.models.attention import FeedForward, MultiHeadAttention, rotary_angles, rotate
from toolkit.models.dropout import SharedDropout
from toolkit.models.masking import valid_mask
from toolkit.models.state import State


class TransformerDecoderLayer(nn.Module):
    """Causal self-attention, attention to the memory (if there is one), feed-forward; normalised before each part."""

    def __init__(self, size: int, heads: int, hidden: int, *, memory_size: int | None, dropout: float) -> None:
        super().__init__()
        self.self_norm, self.self_attention = nn.LayerNorm(size), MultiHeadAttention(size, heads)
        if memory_size is not None:
            self.cross_norm = nn.LayerNorm(size)
            self.cross_attention = MultiHeadAttention(size, heads, memory_size=memory_size)
        self.feed_forward, self.dropout = FeedForward(size, hidden, dropout), SharedDropout(dropout)

    def rotated(self, values: Tensor, angles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Self-attention's queries, keys and values of (B, U, D), queries and keys turned by position."""
        normed = self.self_norm(values)
        keys, contents = self.self_attention.keys_values(normed)
        queries = self.self_attention.split(self.self_attention.query(normed))
        return rotate(queries, angles), rotate(keys, angles), contents

    def attend_self(self, values: Tensor, projections: tuple[Tensor, Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """Values with the self-attention part added."""
        return values + self.dropout(self.self_attention.attend(*projections, mask))

    def attend_memory(self, values: Tensor, keys: Tensor, contents: Tensor, mask: Tensor) -> Tensor:
        """Values with the attention to the memory's keys and contents added."""
        attention = self.cross_attention
        queries = attention.split(attention.query(self.cross_norm(values)))
        return values + self.dropout(attention.attend(queries, keys, contents, mask))


class TransformerDecoder(nn.Module):
    """Tokens so far (and encoded speech) -> the next token (Vaswani et al. 2017, pre-norm, rotary positions).

    Parameters
    ----------
    vocab_size : int
        Number of tokens V; token 0 begins and ends a sequence.
    size, layers, heads, hidden : int
        Model size D, layers, attention heads, size inside the feed-forward parts.
    memory_size : int, optional
        Size of the encoder's frames; ``None`` makes a language model.
    dropout : float
        Everywhere.
    """

    def __init__(
        self,
        vocab_size: int,
        size: int = 144,
        *,
        layers: int = 4,
        heads: int = 4,
        hidden: int = 576,
        memory_size: int | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.vocab_size, self.head_size = vocab_size, size // heads
        self.embedding = nn.Embedding(vocab_size, size)
        self.dropout = SharedDropout(dropout)
        self.layers = nn.ModuleList(
            TransformerDecoderLayer(size, heads, hidden, memory_size=memory_size, dropout=dropout)
            for _ in range(layers)
        )
        self.norm, self.output = nn.LayerNorm(size), nn.Linear(size, vocab_size)

    def forward(self, tokens: Tensor, memory: Tensor | None = None, frames: Tensor | None = None) -> Tensor:
        """Tokens (B, U) that begin with 0, memory (B, T, F) with (B,) frames -> logits (B, U, V) of each next token."""
        values = self.dropout(self.embedding(tokens))
        angles = rotary_angles(torch.arange(tokens.size(1), device=tokens.device), self.head_size)
        causal = torch.ones(tokens.size(1), tokens.size(1), dtype=torch.bool, device=tokens.device).tril()
        for layer in self.layers:
            values = layer.attend_self(values, layer.rotated(values, angles), causal)
            if memory is not None:
                mask = valid_mask(frames, memory.size(1))[:, None, None, :]
                values = layer.attend_memory(values, *layer.cross_attention.keys_values(memory), mask)
            values = values + layer.feed_forward(values)
        return self.output(self.norm(values))

    def start(self, memory: Tensor, frames: Tensor) -> State:
        """The state before the first token, for memory (N, T, F) with (N,) frames.

        ``keys`` and ``values`` (N, layers, heads, U, d) grow by one position a step; ``memory_*`` stay.
        """
        state = self._empty_cache(memory.size(0), memory)
        projected = [layer.cross_attention.keys_values(memory) for layer in self.layers]
        state["memory_keys"] = torch.stack([keys for keys, _ in projected], dim=1)
        state["memory_values"] = torch.stack([values for _, values in projected], dim=1)
        state["memory_mask"] = valid_mask(frames, memory.size(1))[:, None, None, :]
        return state

    def _empty_cache(self, rows: int, like: Tensor) -> State:
        heads = self.layers[0].self_attention.heads
        empty = like.new_zeros(rows, len(self.layers), heads, 0, self.head_size)
        return {"keys": empty, "values": empty}

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Last tokens (N,) and state -> log-probabilities (N, V) of the next token, and the longer state."""
        position = torch.tensor([state["keys"].size(3)], device=tokens.device)
        angles = rotary_angles(position, self.head_size)
        values = self.embedding(tokens).unsqueeze(1)
        all_keys, all_values = [], []
        for index, layer in enumerate(self.layers):
            queries, keys, contents = layer.rotated(values, angles)
            all_keys.append(torch.cat([state["keys"][:, index], keys], dim=2))
            all_values.append(torch.cat([state["values"][:, index], contents], dim=2))
            values = layer.attend_self(values, (queries, all_keys[-1], all_values[-1]), None)
            if "memory_keys" in state:
                memory = state["memory_keys"][:, index], state["memory_values"][:, index]
                values = layer.attend_memory(values, *memory, state["memory_mask"])
            values = values + layer.feed_forward(values)
        log_probs = self.output(self.norm(values[:, 0])).log_softmax(dim=-1)
        return log_probs, {**state, "keys": torch.stack(all_keys, dim=1), "values": torch.stack(all_values, dim=1)}
