"""Dropout that drops the same units at every frame of an utterance."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SharedDropout(nn.Module):
    """Dropout with one mask for all time steps of a row (Gal & Ghahramani 2016): (B, T, F) -> (B, T, F).

    It regularises recurrent layers better than a new mask at every step, and drawing (B, 1, F) random numbers costs
    next to nothing, where drawing (B, T, F) takes a fifth of a Conformer's time on a CPU.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, values: Tensor) -> Tensor:
        """Values with units zeroed and the others scaled up; unchanged outside training."""
        if not self.training or self.probability == 0:
            return values
        keep = 1 - self.probability
        mask = torch.rand(values.size(0), 1, *values.shape[2:], device=values.device) < keep
        return values * (mask.to(values.dtype) / keep)

    def extra_repr(self) -> str:
        """What ``print(model)`` shows."""
        return f"p={self.probability}"
