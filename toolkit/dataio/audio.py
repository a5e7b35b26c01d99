"""Audio files as the waveforms that models expect: one channel, one sample rate."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor
from torchaudio.functional import resample

from toolkit.dataio.containers import decode_audio, header_seconds
from toolkit.errors import AudioError


def load_audio(path: str | Path, sample_rate: int = 16000, *, longest: float = math.inf) -> Tensor:
    """Waveform (S,) float32 of an audio file of any container, rate and channel count, of at most ``longest`` seconds.

    Channels are averaged, which keeps the level of a voice that is on all of them.

    Raises
    ------
    AudioError
        Names the file and why: missing, empty, not audio, zero samples, cut off, or too long.
    """
    if longest < math.inf and (seconds := header_seconds(path)) > longest:
        raise AudioError(f"{path}: {seconds:.0f} s long; cut it into files of at most {longest:.0f} s first")
    samples, rate = decode_audio(path)
    mono = torch.from_numpy(samples.mean(axis=0))
    if rate == sample_rate:
        return mono
    # torchaudio's kernel grows with both terms of the ratio: 22051 Hz to 16000 Hz would take 6 GB.
    ratio = Fraction(sample_rate, rate).limit_denominator(1000)
    return resample(mono, ratio.denominator, ratio.numerator)
