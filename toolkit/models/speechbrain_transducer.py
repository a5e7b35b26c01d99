"""SpeechBrain's prediction and joint networks under the contract of `toolkit.models.transducer`, with their weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from toolkit.errors import ModelError
from toolkit.models.recurrent import rnn_start, rnn_step
from toolkit.models.state import State


class SpeechBrainPredictor(nn.Module):
    """An embedding, an ``LSTM`` or ``GRU``, and what follows it.

    Parameters
    ----------
    layers : sequence of Module
        ``decode_network_lst`` of SpeechBrain's searcher: ``[embedding, recurrent layers, projections ...]``.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        embedding, recurrent, *others = layers
        if not isinstance(getattr(recurrent, "rnn", None), (nn.LSTM, nn.GRU)):
            raise ModelError(
                f"decode_network_lst: expected an embedding and an LSTM or GRU, got {type(recurrent).__name__} second"
            )
        self.embedding, self.recurrent, self.others = embedding, recurrent, nn.Sequential(*others)

    def start(self, rows: int, device: torch.device) -> State:
        """The state before the first token: ``hidden`` (and an LSTM's ``cell``) of shape (rows, layers, neurons)."""
        return rnn_start(self.recurrent.rnn, rows, device)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Last tokens (N,) and state -> (N, P) and the new state."""
        values, state = rnn_step(self.recurrent.rnn, self.embedding(tokens), state)
        return self.others(values), state


class SpeechBrainJoint(nn.Module):
    """A ``Transducer_joint`` and the output layers; frames and prefixes are projected already.

    Parameters
    ----------
    joint : speechbrain.nnet.transducer.transducer_joint.Transducer_joint
    outputs : sequence of Module
        ``classifier_network`` of SpeechBrain's searcher.
    """

    def __init__(self, joint: nn.Module, outputs: Sequence[nn.Module]) -> None:
        super().__init__()
        self.joint, self.outputs = joint, nn.Sequential(*outputs)
        self.frames, self.prefixes = nn.Identity(), nn.Identity()

    def forward(self, frames: Tensor, prefixes: Tensor) -> Tensor:
        """Frames (..., J) and prefixes (..., J), broadcast against each other -> logits (..., V)."""
        if self.joint.joint == "sum":
            return self.outputs(self.joint.nonlinearity(frames + prefixes))
        both = torch.cat([*torch.broadcast_tensors(frames, prefixes)], dim=-1)
        both = both if self.joint.joint_network is None else self.joint.joint_network(both)
        return self.outputs(self.joint.nonlinearity(both))
