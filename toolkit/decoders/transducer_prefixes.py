"""What transducer search computes once: the joint network's projection of every frame and of every prefix."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from toolkit.decoders.scorers import full_precision
from toolkit.errors import ModelError
from toolkit.models.state import select


def project_frames(model: nn.Module, encoded: Tensor) -> Tensor:
    """The joint network's view (B, T, J) of encoded (B, T, D) frames."""
    if not hasattr(model, "joint"):
        raise ModelError(f"{type(model).__name__} has no joint network: search it with another searcher")
    return model.joint.frames(encoded)


def next_token(joint: nn.Module, frames: Tensor, prefixes: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-probabilities (..., V) of blank and tokens after projected frames and prefixes, at least in float32."""
    return (full_precision(joint(frames, prefixes)) / temperature).log_softmax(dim=-1)


class PrefixCache:
    """The prediction network's output and state for the prefixes in N slots, each computed when it gains a token."""

    def __init__(self, model: nn.Module, slots: Tensor) -> None:
        """Begin with the empty prefix in every slot of a beam of the shape and on the device of ``slots`` (B, S)."""
        self.predictor, self.joint = model.predictor, model.joint
        bos = torch.zeros(1, dtype=torch.int64, device=slots.device)
        values, state = self.predictor.step(bos, self.predictor.start(1, slots.device))
        everywhere = bos.expand(slots.numel())
        self.projected = self.joint.prefixes(values)[everywhere]  # (N, J)
        self.state = select(state, everywhere)
        self.offset = torch.arange(len(slots), device=slots.device)[:, None] * slots.shape[1]

    def advance(self, parents: Tensor, tokens: Tensor) -> None:
        """Take the prefixes from the slots ``parents`` (B, S), followed by ``tokens`` (B, S) where these are not 0."""
        index, tokens = (parents + self.offset).flatten(), tokens.flatten()
        self.projected, self.state = self.projected[index], select(self.state, index)
        rows = tokens.nonzero().squeeze(1)
        if len(rows):
            self.extend(rows, tokens[rows])

    def extend(self, rows: Tensor, tokens: Tensor) -> None:
        """Add ``tokens`` (M,) to the prefixes in the slots ``rows`` (M,)."""
        values, state = self.predictor.step(tokens, select(self.state, rows))
        self.projected.index_copy_(0, rows, self.joint.prefixes(values))
        for name, memory in self.state.items():
            memory.index_copy_(0, rows, state[name])
