"""Log-mel energies that need no audio beyond their own time, for speech that is still being spoken."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from toolkit.models.features import LogMel
from toolkit.models.masking import valid_mask


class StreamingLogMel(LogMel):
    """Log-mel energies less the mean of those so far, so that loudness and microphone matter little.

    The mean of an utterance begins with what is usual, learned in training and counted as `USUAL_FRAMES` frames, and
    moves to its own frames as they come, which is Kaldi's online normalisation without forgetting. Each band is scaled
    by a number that is learned, too. Frame t ends with its step, at sample (t + 1) * hop.

    Parameters
    ----------
    sample_rate, n_mels, window, hop, f_min
        As of `LogMel`.
    """

    USUAL_FRAMES = 100  # a second: Kaldi's are two, of utterances longer than a spelled name
    # Of 38 minutes of AN4, in natural logs: where learning begins.
    USUAL_MEAN, USUAL_DEVIATION = -6.1, 3.6

    def __init__(
        self,
        sample_rate: int = 16000,
        n_mels: int = 80,
        *,
        window: float = 0.025,
        hop: float = 0.01,
        f_min: float = 20.0,
    ) -> None:
        super().__init__(sample_rate, n_mels, window=window, hop=hop, f_min=f_min)
        # torch.stft puts the window into the middle of n_fft samples
        self.past_samples = (self.n_fft - self.window_samples) // 2 + self.window_samples - self.hop_samples
        self.mean = nn.Parameter(torch.full((n_mels,), self.USUAL_MEAN))
        self.scale = nn.Parameter(torch.full((n_mels,), 1 / self.USUAL_DEVIATION))

    def _normalise(self, features: Tensor, frames: Tensor) -> Tensor:
        outside = ~valid_mask(frames, features.size(1)).unsqueeze(2)
        normed, _ = self.centre(features, features.new_zeros(len(features), features.size(2), dtype=torch.double), 0)
        return normed.masked_fill(outside, 0.0)

    def centre(self, features: Tensor, total: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Log energies (B, T, F) that follow ``count`` frames of sum ``total`` (B, F) -> features, and the new sum.

        In double precision: a sum of a day's frames loses nothing.
        """
        totals = total.unsqueeze(1) + features.double().cumsum(1)
        counts = count + torch.arange(1, features.size(1) + 1, device=features.device).unsqueeze(1)
        means = (self.USUAL_FRAMES * self.mean + totals) / (self.USUAL_FRAMES + counts)
        return (features - means.to(features.dtype)) * self.scale, totals[:, -1]

    def stream(self) -> LogMelStream:
        """The features of waveforms that arrive piece by piece."""
        return LogMelStream(self)


class LogMelStream:
    """Features of waveforms as they arrive: those of the whole, up to rounding."""

    def __init__(self, features: StreamingLogMel) -> None:
        self._features = features
        self._past = features.mean.new_zeros(1, features.past_samples)
        self._total = features.mean.new_zeros(1, features.output_size, dtype=torch.double)
        self._count = 0

    def feed(self, wavs: Tensor) -> Tensor:
        """The next samples (B, S), a multiple of the hop except for the last -> their features (B, T, F)."""
        known = torch.cat([self._past.expand(len(wavs), -1), wavs.float()], dim=1)
        self._past = known[:, wavs.size(1) :]
        normed, self._total = self._features.centre(
            self._features.log_energies(known, -(-wavs.size(1) // self._features.hop_samples)), self._total, self._count
        )
        self._count += normed.size(1)
        return normed
