"""Recurrent encoders: CRDNN, the convolutional, recurrent and dense stack of SpeechBrain's recipes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from toolkit.models.convolution import ConvFrontEnd
from toolkit.models.dropout import SharedDropout
from toolkit.models.state import State

PIECE = 512  # outputs of a layer computed at once, where it has many
WIDE = 4_000_000  # weights of an LSTM of 1000 cells: those of larger ones are multiplied in pieces
RNN_TYPES = {"lstm": nn.LSTM, "gru": nn.GRU}


def rnn_start(rnn: nn.RNNBase, rows: int, device: torch.device) -> State:
    """The state before the first step: ``hidden`` (and an LSTM's ``cell``) of shape (rows, layers, neurons)."""
    shape = rows, rnn.num_layers, rnn.hidden_size
    names = ["hidden", "cell"] if isinstance(rnn, nn.LSTM) else ["hidden"]
    return {name: torch.zeros(shape, device=device, dtype=rnn.weight_hh_l0.dtype) for name in names}


class BidirectionalRNN(nn.Module):
    """Residual bidirectional layers whose backward pass starts at each row's own last frame.

    Each layer adds to its input what it makes of that input normalised: without this, CTC on 40 minutes of speech is
    still on its first plateau when it otherwise recognises half of the words. Rows are reversed within their length
    rather than packed: the answer is that of packed sequences, and torch's fused kernels train it 2.5 times as fast.
    """

    def __init__(self, neurons: int, layers: int, *, kind: str = "lstm", dropout: float = 0.1) -> None:
        super().__init__()
        size = self.size = 2 * neurons
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(layers))
        self.forwards = nn.ModuleList(RNN_TYPES[kind](size, neurons, batch_first=True) for _ in range(layers))
        self.backwards = nn.ModuleList(RNN_TYPES[kind](size, neurons, batch_first=True) for _ in range(layers))
        self.dropout, self.last_norm = SharedDropout(dropout), nn.LayerNorm(size)

    def forward(self, values: Tensor, frames: Tensor) -> Tensor:
        """(B, T, 2 * neurons) with (B,) frames -> the same shape."""
        turned = reversal(frames, values.size(1))
        for norm, ahead, back in zip(self.norms, self.forwards, self.backwards, strict=True):
            normed = norm(values)
            reverse, _ = back(take_frames(normed, turned))
            values = values + self.dropout(torch.cat([ahead(normed)[0], take_frames(reverse, turned)], dim=2))
        return self.last_norm(values)


def reversal(frames: Tensor, size: int) -> Tensor:
    """(B,) frames -> (B, size) the frame to take at each position so that a row is reversed and its padding stays."""
    positions = torch.arange(size, device=frames.device).expand(frames.size(0), size)
    last = frames.unsqueeze(1) - 1
    return torch.where(positions <= last, last - positions, positions)


def take_frames(values: Tensor, positions: Tensor) -> Tensor:
    """(B, T, F) re-ordered in time by (B, T) positions."""
    return values.gather(1, positions.unsqueeze(2).expand(values.shape))


class CRDNN(nn.Module):
    """Convolutions that shorten time, bidirectional recurrent layers, dense layers.

    The encoder of SpeechBrain's CRDNN recipes, with strided convolutions in the place of pooling and with masks,
    so that a row's output does not depend on its padding.

    Parameters
    ----------
    input_size : int
        Size F of a feature vector.
    cnn_channels, cnn_strides : sequence of int
        Output channels and stride in time of each convolution; the product of the strides shortens the sequence.
    rnn_neurons, rnn_layers : int
        Cells in each direction, and layers.
    rnn_type : {"lstm", "gru"}
        Kind of recurrent layer.
    dnn_neurons, dnn_blocks : int
        Size and number of the dense layers on top (0 blocks: none).
    dropout : float
        Between all layers.
    """

    def __init__(
        self,
        input_size: int,
        *,
        cnn_channels: Sequence[int] = (32, 32),
        cnn_strides: Sequence[int] = (2, 2),
        rnn_neurons: int = 256,
        rnn_layers: int = 3,
        rnn_type: str = "lstm",
        dnn_neurons: int = 256,
        dnn_blocks: int = 1,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.front_end = ConvFrontEnd(
            input_size, 2 * rnn_neurons, channels=cnn_channels, strides=cnn_strides, dropout=dropout
        )
        self.rnn = BidirectionalRNN(rnn_neurons, rnn_layers, kind=rnn_type, dropout=dropout)
        blocks, size = [], self.rnn.size
        for _ in range(dnn_blocks):
            blocks += [nn.Linear(size, dnn_neurons), nn.LayerNorm(dnn_neurons), nn.GELU(), SharedDropout(dropout)]
            size = dnn_neurons
        self.dnn, self.output_size = nn.Sequential(*blocks), size

    def forward(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, F) with (B,) frames -> (B, T', output_size) with (B,) shorter frames."""
        values, frames = self.front_end(features, frames)
        return self.dnn(self.rnn(values, frames)), frames


def rnn_step(rnn: nn.RNNBase, values: Tensor, state: State) -> tuple[Tensor, State]:
    """One step of a batch-first GRU or LSTM: values (N, F) -> outputs (N, H), state of (N, layers, H).

    The same as calling the module on a sequence of one, in a third of the time on a CPU: oneDNN re-packs all weights
    at every call, which for a step costs more than the step.
    """
    cell = _cell(rnn)
    columns = []
    for layer in range(rnn.num_layers):
        carried = [part[:, layer] for part in state.values()]
        weights = (getattr(rnn, f"{name}_l{layer}", None) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        new = cell(values, carried if len(carried) > 1 else carried[0], *weights)
        columns.append(new if len(carried) > 1 else (new,))
        values = columns[-1][0]
    stacked = (torch.stack(parts, dim=1) for parts in zip(*columns, strict=True))
    return values, dict(zip(state, stacked, strict=True))


def _cell(rnn: nn.RNNBase) -> Callable[..., Tensor | tuple[Tensor, ...]]:
    """The cell of torch; on a CPU, one of many million weights in pieces."""
    if rnn.weight_hh_l0.is_cuda or rnn.weight_hh_l0.numel() < WIDE:
        return torch.lstm_cell if isinstance(rnn, nn.LSTM) else torch.gru_cell
    return lstm_in_pieces if isinstance(rnn, nn.LSTM) else gru_in_pieces


def lstm_in_pieces(
    values: Tensor, carried: Sequence[Tensor], w_ih: Tensor, w_hh: Tensor, *biases: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Values (N, F) and carried hidden and cell (N, H) -> the new ones: `torch.lstm_cell`."""
    gates = linear_in_pieces(values, w_ih, biases[0]) + linear_in_pieces(carried[0], w_hh, biases[1])
    enter, keep, new, leave = gates.chunk(4, dim=1)
    cell = keep.sigmoid() * carried[1] + enter.sigmoid() * new.tanh()
    return leave.sigmoid() * cell.tanh(), cell


def gru_in_pieces(values: Tensor, hidden: Tensor, w_ih: Tensor, w_hh: Tensor, *biases: Tensor | None) -> Tensor:
    """Values (N, F) and hidden (N, H) -> the new hidden (N, H): `torch.gru_cell`."""
    below = linear_in_pieces(values, w_ih, biases[0]).chunk(3, dim=1)
    before = linear_in_pieces(hidden, w_hh, biases[1]).chunk(3, dim=1)
    reset, update = (below[0] + before[0]).sigmoid(), (below[1] + before[1]).sigmoid()
    new = (below[2] + reset * before[2]).tanh()
    return new + update * (hidden - new)


def linear_in_pieces(values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`torch.nn.functional.linear`, a few outputs at once: MKL takes up to 1.7 times as long for all of 8192.

    Measured for the 40 rows of a search with 2048 inputs, on one core.
    """
    pieces = (nn.functional.linear(values, piece) for piece in weight.split(PIECE))
    together = torch.cat(list(pieces), dim=1)
    return together if bias is None else together + bias
