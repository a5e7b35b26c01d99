"""GRU decoder with content and location aware attention (Chorowski et al. 2015)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from toolkit.models.masking import valid_mask
from toolkit.models.state import State


class LocationAwareAttention(nn.Module):
    """Where to listen next, from what was heard (content) and where the last look was (location); Chorowski eq. 9."""

    def __init__(
        self, memory_size: int, query_size: int, size: int, *, channels: int = 10, kernel_size: int = 51
    ) -> None:
        super().__init__()
        self.key, self.query = nn.Linear(memory_size, size), nn.Linear(query_size, size, bias=False)
        self.location = nn.Conv1d(1, channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.location_key = nn.Linear(channels, size, bias=False)
        self.energy = nn.Linear(size, 1, bias=False)

    def forward(self, query: Tensor, state: State) -> tuple[Tensor, Tensor]:
        """Query (N, Q) -> context (N, F) and attention weights (N, T)."""
        location = self.location_key(self.location(state["weights"].unsqueeze(1)).transpose(1, 2))
        energies = self.energy(torch.tanh(state["keys"] + self.query(query).unsqueeze(1) + location)).squeeze(2)
        weights = energies.float().masked_fill(~state["mask"], -torch.inf).softmax(dim=-1).to(energies.dtype)
        return torch.bmm(weights.unsqueeze(1), state["memory"]).squeeze(1), weights


class AttentionalGRUDecoder(nn.Module):
    """Tokens so far and encoded speech -> the next token.

    Parameters
    ----------
    vocab_size : int
        Number of tokens V; token 0 begins and ends a sequence.
    memory_size : int
        Size F of the encoder's frames.
    embedding_size, neurons, attention_size : int
        Sizes of the token embedding, the GRU and the attention space.
    dropout : float
        Of the embedding and before the output layer.
    """

    def __init__(
        self,
        vocab_size: int,
        memory_size: int,
        *,
        embedding_size: int = 128,
        neurons: int = 256,
        attention_size: int = 256,
        dropout: float = 0.15,
    ) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.embedding = nn.Embedding(vocab_size, embedding_size)
        self.attention = LocationAwareAttention(memory_size, neurons, attention_size)
        self.cell = nn.GRUCell(embedding_size + memory_size, neurons)
        self.dropout = nn.Dropout(dropout)
        self.merge = nn.Linear(neurons + memory_size, neurons)
        self.output = nn.Linear(neurons, vocab_size)

    def forward(self, tokens: Tensor, memory: Tensor, frames: Tensor) -> Tensor:
        """Tokens (B, U) that begin with 0, memory (B, T, F) with (B,) frames -> logits (B, U, V) of each next token."""
        state, outputs = self.start(memory, frames), []
        embedded = self.dropout(self.embedding(tokens))
        for position in range(tokens.size(1)):
            output, state = self._advance(embedded[:, position], state)
            outputs.append(output)
        return self.output(self.dropout(torch.stack(outputs, dim=1)))

    def start(self, memory: Tensor, frames: Tensor) -> State:
        """The state before the first token, for memory (N, T, F) with (N,) frames; attention begins uniform."""
        mask = valid_mask(frames, memory.size(1))
        return {
            "memory": memory,
            "keys": self.attention.key(memory),
            "mask": mask,
            "weights": mask.to(memory.dtype) / frames.clamp_min(1).unsqueeze(1),
            "hidden": memory.new_zeros(memory.size(0), self.cell.hidden_size),
            "context": memory.new_zeros(memory.size(0), memory.size(2)),
        }

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Last tokens (N,) and state -> log-probabilities (N, V) of the next token, and the new state."""
        output, state = self._advance(self.embedding(tokens), state)
        return self.output(output).log_softmax(dim=-1), state

    def _advance(self, embedded: Tensor, state: State) -> tuple[Tensor, State]:
        """One step for embedded tokens (N, E) -> merged output (N, neurons), new state."""
        hidden = self.cell(torch.cat([embedded, state["context"]], dim=1), state["hidden"])
        context, weights = self.attention(hidden, state)
        merged = torch.tanh(self.merge(torch.cat([hidden, context], dim=1)))
        return merged, {**state, "hidden": hidden, "context": context, "weights": weights}
