"""Transformer decoder with a key/value cache; without a memory it is a language model."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from toolkit.models.attention import FeedForward, MultiHeadAttention, attention_weights, rotary_angles, rotate
from toolkit.models.dropout import SharedDropout
from toolkit.models.key_values import OwnTokens, TokenTree
from toolkit.models.masking import attention_bias, valid_mask
from toolkit.models.state import Shared, State


def causal_mask(size: int, device: torch.device) -> Tensor:
    """(size, size) bool, true where a position may look: at itself and at those before it."""
    return torch.ones(size, size, dtype=torch.bool, device=device).tril()


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

    def look(self, values: Tensor, keys: Tensor, bias: Tensor) -> Tensor:
        """Where the heads look in the memory, on average (B, U, T)."""
        attention = self.cross_attention
        queries = attention.split(attention.query(self.cross_norm(values)))
        return attention_weights(queries, keys, bias).mean(dim=1)


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

    token_layers: ClassVar[tuple[str, ...]] = ("embedding", "output")  # with a row for each token

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
        causal = causal_mask(tokens.size(1), tokens.device)
        for layer in self.layers:
            values = layer.attend_self(values, layer.rotated(values, angles), causal)
            if memory is not None:
                mask = valid_mask(frames, memory.size(1))[:, None, None, :]
                values = layer.attend_memory(values, *layer.cross_attention.keys_values(memory), mask)
            values = values + layer.feed_forward(values)
        return self.output(self.norm(values))

    def start(self, memory: Tensor, frames: Tensor) -> State:
        """The state before the first token, for memory (A, T, F) with (A,) frames, each an utterance to search.

        Keys and values of the memory are one for all hypotheses of an utterance, those of tokens a tree; ``weights``
        (N, T) is where the last layer looks.
        """
        projected = [part.contiguous() for layer in self.layers for part in layer.cross_attention.keys_values(memory)]
        bias = attention_bias(frames, memory.size(1), like=memory)
        return {
            "tree": self._tree(len(memory), memory.device),
            "memory": Shared((bias, *projected)),
            "weights": memory.new_zeros(memory.shape[:2]),
        }

    def _tree(self, rows: int, device: torch.device) -> TokenTree:
        like = self.output.weight.new_zeros(0, device=device)
        return TokenTree(rows, len(self.layers), self.layers[0].self_attention.heads, self.head_size, like=like)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Last tokens (N,) and state -> log-probabilities (N, V) of the next token, and the new state."""
        cache = state["tree"] if "tree" in state else OwnTokens(state["keys"], state["values"])
        angles = rotary_angles(torch.tensor([cache.length], device=tokens.device), self.head_size)
        slots = len(tokens) // max(1, cache.rows)
        values, bias = self.embedding(tokens).view(cache.rows, slots, self.embedding.embedding_dim), cache.grow()
        new = dict(state)
        for index, layer in enumerate(self.layers):
            queries, keys, contents = layer.rotated(values, angles)
            values = layer.attend_self(values, (queries, *cache.append(index, keys, contents)), bias)
            if "memory" in state:
                memory_bias, *projected = state["memory"].tensors
                if layer is self.layers[-1]:
                    new["weights"] = layer.look(values, projected[-2], memory_bias).flatten(0, 1)
                values = layer.attend_memory(values, *projected[2 * index : 2 * index + 2], memory_bias)
            values = values + layer.feed_forward(values)
        log_probs = self.output(self.norm(values)).log_softmax(dim=-1)
        return log_probs.flatten(0, 1), new | cache.state()
