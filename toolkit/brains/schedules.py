"""Learning-rate schedules that are called at every step."""

from __future__ import annotations

import math


class WarmupCosine:
    """Linear warm-up over steps, then half a cosine over epochs down to a fraction of the peak.

    Parameters
    ----------
    lr : float
        Peak learning rate.
    warmup_steps : int
        Optimizer steps until the peak.
    number_of_epochs : int
        Epoch at whose end the cosine reaches its lowest point.
    final_fraction : float
        Lowest learning rate as a fraction of the peak.
    """

    def __init__(self, lr: float, warmup_steps: int, number_of_epochs: int, final_fraction: float = 0.01) -> None:
        self.lr, self.warmup_steps = lr, warmup_steps
        self.number_of_epochs, self.final_fraction = number_of_epochs, final_fraction

    def __call__(self, step: int, epoch: int) -> float:
        """The learning rate of optimizer step ``step`` (from 1), which falls into ``epoch`` (from 1)."""
        warm = min(1.0, step / max(1, self.warmup_steps))
        progress = min(1.0, (epoch - 1) / max(1, self.number_of_epochs))
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        return self.lr * warm * (self.final_fraction + (1 - self.final_fraction) * cosine)
