"""Waveforms to features: log-mel energies normalised within each utterance, or the samples as they are."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from toolkit.models.masking import valid_mask, zero_padding


class LogMel(nn.Module):
    """Log-mel energies, mean and variance normalised over each utterance's own frames.

    Parameters
    ----------
    sample_rate : int
        Of the waveforms, in Hz.
    n_mels : int
        Number of mel bands: the size F of a feature vector.
    window, hop : float
        Analysis window and step, in seconds.
    f_min : float
        Lower edge of the lowest band, in Hz; the highest ends at half the sample rate.
    per_band : bool
        False: one mean and variance for all bands, for single words: what a band has in a few tenths of a second is
        the vowel more than the microphone.
    """

    FLOOR = 1e-8  # about -80 dB below full scale: digital silence stays finite

    def __init__(
        self,
        sample_rate: int = 16000,
        n_mels: int = 80,
        *,
        window: float = 0.025,
        hop: float = 0.01,
        f_min: float = 20.0,
        per_band: bool = True,
    ) -> None:
        super().__init__()
        self.sample_rate, self.output_size = sample_rate, n_mels
        self.averaged = (1,) if per_band else (1, 2)
        self.window_samples, self.hop_samples = round(window * sample_rate), round(hop * sample_rate)
        self.n_fft = 1 << (self.window_samples - 1).bit_length()
        self.past_samples = self.n_fft // 2  # of a frame that lie before its step
        bands = melscale_fbanks(self.n_fft // 2 + 1, f_min, sample_rate / 2, n_mels, sample_rate, None, "htk")
        self.register_buffer("bands", bands, persistent=False)
        self.register_buffer("window", torch.hann_window(self.window_samples), persistent=False)

    def frames_of(self, samples: Tensor) -> Tensor:
        """Whole frames that (B,) whole samples give: one for every step that begins inside the audio."""
        return torch.div(samples + self.hop_samples - 1, self.hop_samples, rounding_mode="floor")

    def forward(self, wavs: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms (B, S) with (B,) samples -> features (B, T, F) with (B,) frames.

        Frame t is centred on sample t * hop; outside the audio there are zeros, so that a row's features do not depend
        on its padding.
        """
        with torch.autocast(wavs.device.type, enabled=False):
            wavs = zero_padding(wavs.float(), samples)
            frames = self.frames_of(samples)
            begun = nn.functional.pad(wavs, (self.past_samples, 0))
            return self._normalise(self.log_energies(begun, int(frames.max())), frames), frames

    def log_energies(self, wavs: Tensor, frames: int) -> Tensor:
        """(B, S), of which the first sample is the first frame's -> (B, frames, F); after the last there are zeros."""
        needed = (frames - 1) * self.hop_samples + self.n_fft
        padded = nn.functional.pad(wavs, (0, max(0, needed - wavs.size(1))))[:, :needed]
        spectrum = torch.stft(
            padded, self.n_fft, self.hop_samples, self.window_samples, self.window, center=False, return_complex=True
        )
        power = torch.view_as_real(spectrum).square().sum(-1).transpose(1, 2)
        return (power @ self.bands).clamp_min(self.FLOOR).log()

    def _normalise(self, features: Tensor, frames: Tensor) -> Tensor:
        """Zero mean and unit variance for each utterance (and band), over valid frames only."""
        mask = valid_mask(frames, features.size(1)).unsqueeze(2).expand_as(features)
        count = mask.sum(self.averaged, keepdim=True).clamp_min(1)
        mean = (features * mask).sum(self.averaged, keepdim=True) / count
        variance = ((features - mean).square() * mask).sum(self.averaged, keepdim=True) / count
        return ((features - mean) / (variance + 1e-5).sqrt()).masked_fill(~mask, 0.0)


class Waveform(nn.Module):
    """The samples themselves, for encoders that hear them (`toolkit.models.wav2vec2`)."""

    def forward(self, wavs: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms (B, S) with (B,) samples -> the same, with zeros in the place of padding."""
        return zero_padding(wavs.float(), samples), samples
