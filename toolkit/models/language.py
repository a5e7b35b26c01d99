"""Language models over the recogniser's tokens. Token 0 begins and ends a sentence."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from toolkit.models.recurrent import RNN_TYPES, rnn_start, rnn_step
from toolkit.models.state import State
from toolkit.models.transformer import TransformerDecoder


class RNNLM(nn.Module):
    """Recurrent language model: embedding, recurrent layers, output layer.

    Parameters
    ----------
    vocab_size : int
        Number of tokens V.
    embedding_size, neurons, layers : int
        Sizes of the embedding and of the recurrent layers, and their number.
    rnn_type : {"lstm", "gru"}
        Kind of recurrent layer.
    dropout : float
        After the embedding, between layers and before the output.
    """

    token_layers: ClassVar[tuple[str, ...]] = ("embedding", "output")  # with a row for each token

    def __init__(
        self,
        vocab_size: int,
        *,
        embedding_size: int = 128,
        neurons: int = 256,
        layers: int = 1,
        rnn_type: str = "lstm",
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.embedding = nn.Embedding(vocab_size, embedding_size)
        between = dropout if layers > 1 else 0.0
        self.rnn = RNN_TYPES[rnn_type](embedding_size, neurons, layers, batch_first=True, dropout=between)
        self.dropout, self.output = nn.Dropout(dropout), nn.Linear(neurons, vocab_size)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, U) that begin with 0 -> logits (B, U, V) of each next token."""
        values, _ = self.rnn(self.dropout(self.embedding(tokens)))
        return self.output(self.dropout(values))

    def start(self, rows: int, device: torch.device) -> State:
        """The state before the first token: ``hidden`` (and an LSTM's ``cell``) of shape (rows, layers, neurons)."""
        return rnn_start(self.rnn, rows, device)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Last tokens (N,) and state -> log-probabilities (N, V) of the next token, and the new state."""
        values, state = rnn_step(self.rnn, self.embedding(tokens), state)
        return self.output(values).log_softmax(dim=-1), state


class TransformerLM(TransformerDecoder):
    """Transformer language model: a Transformer decoder without a memory. Parameters as there."""

    def start(self, rows: int, device: torch.device) -> State:
        """The state before the first token, ``keys`` and ``values`` (N, layers, heads, U, d) for (rows,) sentences.

        These grow by a position a step. Hypotheses may differ in length, so this is for frame-synchronous search.
        """
        heads = self.layers[0].self_attention.heads
        empty = self.output.weight.new_zeros(rows, len(self.layers), heads, 0, self.head_size, device=device)
        return {"keys": empty, "values": empty}

    def start_tree(self, rows: int, device: torch.device) -> State:
        """The state before the first token where all hypotheses stay of one length: faster, as they share tokens."""
        return {"tree": self._tree(rows, device)}
