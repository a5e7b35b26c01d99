"""GRU decoder with content and location aware attention (Chorowski et al. 2015)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from toolkit.models.additive_compiled import CHANNELS, energies_of
from toolkit.models.masking import attention_bias, valid_mask
from toolkit.models.state import Shared, State

TOGETHER = 16  # frames whose location features are computed together


def additive_energies(keys: Tensor, queries: Tensor, location: Tensor, *, weight: Tensor, energy: Tensor) -> Tensor:
    """Chorowski et al. 2015, equation 9: energy . tanh(keys + queries + weight location).

    Parameters
    ----------
    keys : (A, T, D)
        One for all hypotheses of an utterance.
    queries : (N, D)
        N = A * K hypotheses.
    location : (N, T, C)
        Features of where each hypothesis looked last.
    weight : (D, C)
    energy : (D,)

    Returns
    -------
    (N, T)
    """
    parts = (keys, queries, location, weight, energy)
    on_cpu = all(part.device.type == "cpu" and part.dtype == torch.float32 for part in parts)
    if torch.is_grad_enabled() or not on_cpu:
        A, _, D = keys.shape
        queries, location = queries.view(A, -1, 1, D), location.unflatten(0, (A, -1))
        return (torch.tanh(keys[:, None] + queries + location @ weight.T) @ energy).flatten(0, 1)
    missing = -weight.shape[1] % CHANNELS
    parts = (keys, queries, pad(location, (0, missing)), pad(weight.T, (0, 0, 0, missing)), energy)
    return torch.from_numpy(energies_of(*(part.detach().contiguous().numpy() for part in parts)))


def location_features(weights: Tensor, kernels: Tensor) -> Tensor:
    """Features of where each hypothesis looked last, weights (N, T) under kernels (C, 1, W), W odd: (N, T, C).

    A convolution of one channel leaves little to multiply at once. So a few frames are computed together, in one
    product of the weights around them with the kernels, each of which stands there once for every frame.
    """
    C, _, W = kernels.shape
    (N, T), span = weights.shape, W + TOGETHER - 1
    shifted = pad(kernels[:, 0], (TOGETHER - 1, TOGETHER - 1)).unfold(1, span, 1)
    bands = shifted.flip(1)  # (C, frame, span)
    around = pad(weights, (W // 2, W // 2 + -T % TOGETHER)).unfold(1, span, TOGETHER)
    features = around.flatten(0, 1) @ bands.permute(2, 1, 0).reshape(span, TOGETHER * C)
    return features.view(N, -1, C)[:, :T]


def attend(energies: Tensor, memory: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Energies (N, T) over memory (A, T, F), bias (A, 1, T) of its padding -> contexts (N, F), weights (N, T)."""
    A, T = memory.shape[:2]
    precise = torch.promote_types(energies.dtype, torch.float32)
    weights = (energies.view(A, -1, T) + bias).softmax(dim=-1, dtype=precise).to(energies.dtype)
    return (weights @ memory).flatten(0, 1), weights.flatten(0, 1)


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
        memory, keys, bias = state["memory"].tensors
        location = location_features(state["weights"], self.location.weight)
        weight, energy = self.location_key.weight, self.energy.weight[0]
        energies = additive_energies(keys, self.query(query), location, weight=weight, energy=energy)
        return attend(energies, memory, bias)


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

    token_layers: ClassVar[tuple[str, ...]] = ("embedding", "output")  # with a row for each token

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
        """The state before the first token, for memory (A, T, F) with (A,) frames; attention begins uniform."""
        mask = valid_mask(frames, memory.size(1))
        bias = attention_bias(frames, memory.size(1), like=memory)[:, 0]
        return {
            "memory": Shared((memory, self.attention.key(memory), bias)),
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
