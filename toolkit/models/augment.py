"""Augmentation of features, in training only."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class VocalTractWarp(nn.Module):
    """Features as of a speaker with a longer or shorter vocal tract (Jaitly & Hinton 2013).

    Every utterance has its frequencies multiplied by a factor of its own, drawn evenly from 1 - strength to
    1 + strength. Mel bands between two are interpolated; beyond the outermost, it is repeated.

    Parameters
    ----------
    sample_rate, n_mels, f_min
        As of the `toolkit.models.features.LogMel` that made the features.
    strength : float
        Largest change of a frequency, as a fraction of it.
    """

    def __init__(self, sample_rate: int, n_mels: int, *, f_min: float = 20.0, strength: float = 0.1) -> None:
        super().__init__()
        self.strength = strength
        self.low, high = _mel(f_min), _mel(sample_rate / 2)
        self.step = (high - self.low) / (n_mels + 1)  # between the centres of neighbouring bands
        centres = self.low + self.step * torch.arange(1, n_mels + 1)
        self.register_buffer("hertz", 700 * (10 ** (centres / 2595) - 1), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, F) -> (B, T, F); unchanged outside training."""
        if not self.training:
            return features
        factors = 1 + self.strength * (2 * torch.rand(len(features), 1, device=features.device) - 1)
        return interpolate_bands(features, self.positions(factors))

    def positions(self, factors: Tensor) -> Tensor:
        """(B, 1) factors -> (B, F) positions among the bands, 0 to F - 1, that each band is read from."""
        mels = 2595 * torch.log10(1 + self.hertz / factors / 700)
        return ((mels - self.low) / self.step - 1).clamp(0, len(self.hertz) - 1)


def interpolate_bands(features: Tensor, positions: Tensor) -> Tensor:
    """(B, T, F) read at (B, F) positions between bands, linearly."""
    below = positions.floor().long().clamp_max(features.size(2) - 2)
    share = (positions - below).unsqueeze(1)
    shape = features.shape
    lower = features.gather(2, below.unsqueeze(1).expand(shape))
    upper = features.gather(2, (below + 1).unsqueeze(1).expand(shape))
    return lower + share * (upper - lower)


def _mel(hertz: float) -> float:
    """HTK's mel scale."""
    return 2595 * math.log10(1 + hertz / 700)
