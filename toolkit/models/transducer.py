"""Transducers (Graves 2012): an encoder, a prediction network over the tokens so far, and a joint network over both.

In every frame the joint network says which token comes next, or, with the blank (token 0), that the next frame is due.
A prediction network has an ``output_size`` P and

    forward(tokens (B, U + 1))         -> (B, U + 1, P)        of each prefix; tokens begin with 0
    start(rows, device)                -> state                before the first token
    step(tokens (N,), state)           -> (N, P), state        of the prefixes with one more token
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from toolkit.errors import ConfigError
from toolkit.models.dropout import SharedDropout
from toolkit.models.recogniser import CTCModel
from toolkit.models.recurrent import RNN_TYPES, rnn_start, rnn_step
from toolkit.models.state import State


class RNNPredictor(nn.Module):
    """Recurrent prediction network: embedding and recurrent layers.

    Parameters
    ----------
    vocab_size : int
        Number of tokens V; token 0 begins a sequence.
    embedding_size, neurons, layers : int
        Sizes of the embedding and of the recurrent layers, and their number.
    rnn_type : {"lstm", "gru"}
        Kind of recurrent layer.
    dropout : float
        After the embedding and after the recurrent layers.
    """

    token_layers: ClassVar[tuple[str, ...]] = ("embedding",)  # with a row for each token

    def __init__(
        self,
        vocab_size: int,
        *,
        embedding_size: int = 128,
        neurons: int = 256,
        layers: int = 1,
        rnn_type: str = "lstm",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.output_size = neurons
        self.embedding = nn.Embedding(vocab_size, embedding_size)
        self.rnn = RNN_TYPES[rnn_type](embedding_size, neurons, layers, batch_first=True)
        self.dropout = SharedDropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, U + 1) that begin with 0 -> (B, U + 1, P)."""
        values, _ = self.rnn(self.dropout(self.embedding(tokens)))
        return self.dropout(values)

    def start(self, rows: int, device: torch.device) -> State:
        """The state before the first token: ``hidden`` (and an LSTM's ``cell``) of shape (rows, layers, neurons)."""
        return rnn_start(self.rnn, rows, device)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Last tokens (N,) and state -> (N, P) and the new state."""
        return rnn_step(self.rnn, self.embedding(tokens), state)


class StatelessPredictor(nn.Module):
    """Prediction network that knows only the last few tokens (Ghodsi et al. 2020): embedding and a causal convolution.

    Parameters
    ----------
    vocab_size : int
        Number of tokens V; token 0 fills the places before the first token.
    size : int
        Of the embedding and the output, P.
    context : int
        Tokens seen.
    dropout : float
        After the embedding.
    """

    token_layers: ClassVar[tuple[str, ...]] = ("embedding",)  # with a row for each token

    def __init__(self, vocab_size: int, size: int = 256, *, context: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.output_size, self.context = size, context
        self.embedding = nn.Embedding(vocab_size, size)
        self.convolution = nn.Conv1d(size, size, context, groups=size)
        self.dropout = SharedDropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, U + 1) that begin with 0 -> (B, U + 1, P)."""
        values = self.dropout(self.embedding(pad(tokens, (self.context - 1, 0))))
        return self.convolution(values.transpose(1, 2)).transpose(1, 2).relu()

    def start(self, rows: int, device: torch.device) -> State:
        """The state before the first token: the ``tokens`` (rows, context - 1) before it."""
        return {"tokens": torch.zeros(rows, self.context - 1, dtype=torch.int64, device=device)}

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Last tokens (N,) and state -> (N, P) and the new state."""
        seen = torch.cat([state["tokens"], tokens.unsqueeze(1)], dim=1)
        values = self.convolution(self.embedding(seen).transpose(1, 2)).squeeze(2).relu()
        return values, {"tokens": seen[:, 1:]}


class Joint(nn.Module):
    """Joint network: frames and prefixes projected to one size, combined, and read by an output layer.

    The projections can be called on their own, once for each frame and once for each prefix of a search.

    Parameters
    ----------
    encoder_size, predictor_size : int
        Sizes D of the encoder's frames and P of the prediction network's output.
    vocab_size : int
        Number of tokens V; token 0 is the blank.
    size : int
        Size J of the projections.
    combine : {"add", "multiply"}
        tanh(frame + prefix) of Graves et al. (2013), or tanh(frame * prefix) of Saon et al. (2021).
    """

    token_layers: ClassVar[tuple[str, ...]] = ("output",)  # with a row for each token

    def __init__(
        self, encoder_size: int, predictor_size: int, vocab_size: int, *, size: int = 256, combine: str = "add"
    ) -> None:
        super().__init__()
        if combine not in ("add", "multiply"):
            raise ConfigError(f"combine must be add or multiply, got {combine!r}")
        self.combine = {"add": torch.add, "multiply": torch.mul}[combine]
        self.frames, self.prefixes = nn.Linear(encoder_size, size), nn.Linear(predictor_size, size)
        self.output = nn.Linear(size, vocab_size)

    def forward(self, frames: Tensor, prefixes: Tensor) -> Tensor:
        """Projected frames (..., J) and prefixes (..., J), broadcast against each other -> logits (..., V)."""
        return self.output(self.combine(frames, prefixes).tanh())


class TransducerModel(CTCModel):
    """Features, encoder, prediction network and joint network, with a CTC output that helps the encoder to learn.

    Parameters
    ----------
    features, encoder, vocab_size, augment
        As in `CTCModel`.
    predictor : Module
        A prediction network, as described above.
    joint_size : int
        Size J of the joint network.
    combine : {"add", "multiply"}
        How the joint network combines frames and prefixes.
    """

    def __init__(
        self,
        features: nn.Module,
        encoder: nn.Module,
        vocab_size: int,
        *,
        predictor: nn.Module,
        joint_size: int = 256,
        combine: str = "add",
        augment: nn.Module | None = None,
    ) -> None:
        super().__init__(features, encoder, vocab_size, augment)
        self.predictor = predictor
        self.joint = Joint(encoder.output_size, predictor.output_size, vocab_size, size=joint_size, combine=combine)

    def forward(self, wavs: Tensor, samples: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Waveforms (B, S), samples (B,), tokens (B, U) -> CTC (B, T, V), frames (B,), and what `project` returns.

        The joint network is left to the loss, which can do it for a few utterances at a time: its output for all
        frames and prefixes, (B, T, U + 1, V), is by far the largest tensor of a training step.
        """
        encoded, frames = self.encode(wavs, samples)
        return self.ctc_log_probs(encoded), frames, *self.project(encoded, tokens)

    def project(self, encoded: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Encoded (B, T, D) and tokens (B, U) -> the joint network's frames (B, T, J) and prefixes (B, U + 1, J)."""
        return self.joint.frames(encoded), self.joint.prefixes(self.predictor(pad(tokens, (1, 0), value=0)))
