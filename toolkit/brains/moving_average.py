"""The exponential moving average of a model's weights over the steps of training (Polyak and Juditsky 1992)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.errors import ConfigError


class MovingAverage:
    """Two sets of a model's weights, trained ones and their average, of which the model has one and this the other.

    In training the model has the trained ones; what is evaluated, ranked and saved as the model is the average.

    Parameters
    ----------
    model : nn.Module
        Parameters that are trained and buffers of floating-point numbers are averaged, others are the model's.
    decay : float
        Share of the average that remains at a step, at most ``(1 + step) / (10 + step)``: or else a short run's would
        be mostly the weights that training began with.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if isinstance(decay, bool) or not isinstance(decay, (int, float)) or not 0 < decay < 1:
            raise ConfigError(f"ema_decay: expected a number between 0 and 1, such as 0.999, not {decay!r}")
        self.decay, self.is_used = decay, False
        state = model.state_dict(keep_vars=True)
        shared = {id(tensor): (name, tensor) for name, tensor in state.items() if _changes(tensor)}
        self.names, self.tensors = zip(*shared.values(), strict=True)
        self.others = [tensor.detach().clone() for tensor in self.tensors]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step of the optimizer, of which this is number ``step``, from 1 on."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.others, self.tensors, 1 - decay)

    @torch.no_grad()
    def use(self, *, wanted: bool) -> None:
        """Give the model the average, or the weights that are trained; nothing where it has them."""
        if wanted != self.is_used:
            for tensor, other in zip(self.tensors, self.others, strict=True):
                held = tensor.clone()
                tensor.copy_(other)
                other.copy_(held)
            self.is_used = wanted

    def save(self, path: Path) -> None:
        """Save the weights that the model does not have."""
        state: dict[str, Any] = {"is_used": self.is_used, "others": dict(zip(self.names, self.others, strict=True))}
        torch.save(state, path)

    @torch.no_grad()
    def load(self, path: Path, _: bool) -> None:
        """Load them; the model has those beside which they were saved, and where it was frozen then, both are these."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        loaded: dict[str, Tensor] = state["others"]
        for name, tensor, other in zip(self.names, self.tensors, self.others, strict=True):
            other.copy_(loaded.get(name, tensor))
        self.is_used = state["is_used"]


def _changes(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and (tensor.requires_grad or not isinstance(tensor, nn.Parameter))
