"""Copies at other speeds, room reverberation, noise and channels, as transforms that Lhotse applies when a cut is read.

What happens to a cut is drawn from (seed, epoch, cut id) alone: neither the number of workers nor a resumption changes
it, and every epoch draws anew.
"""

from __future__ import annotations

import functools
import io
import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import methodcaller
from pathlib import Path

import numpy as np
import soundfile
import torch
from lhotse import AudioSource, Recording
from lhotse.augmentation.utils import FastRandomRIRGenerator
from lhotse.cut import Cut
from lhotse.dataset.dataloading import resolve_seed
from torchaudio.functional import resample

from toolkit.dataio.channel import Channel
from toolkit.dataio.concatenation import at_level
from toolkit.dataio.config import DataConfig
from toolkit.dataio.containers import decode_audio
from toolkit.dataio.indexed import Concatenated, Indexed, Mapped
from toolkit.dataio.noises import list_audio, read_noises
from toolkit.dataio.reshape import Reshape
from toolkit.errors import AudioError

SPEEDS = (0.9, 1.1)

# A room takes 30 ms to simulate, as long as reading an utterance, and is used again. Collections of recorded ones have
# about as many.
SIMULATED_ROOMS = 512

# Below this, what is left of an utterance after one noise is not worth the beginning of the next (seconds).
_SHORTEST_NOISE_S = 0.05


def with_speed_copies(cuts: Indexed[Cut]) -> Indexed[Cut]:
    """The cuts and a copy of each at 0.9 and 1.1 of its speed (Ko et al. 2015), ids with ``_sp0.9`` or ``_sp1.1``.

    All have the sampling rate of the first.
    """
    rate = cuts[0].sampling_rate
    copies = []
    for speed in SPEEDS:
        lengths = np.floor(cuts.lengths * rate / speed + 0.5) / rate  # a whole number of samples, as Lhotse rounds it
        copies.append(Mapped(cuts, methodcaller("perturb_speed", speed), lengths))
    return Concatenated([cuts, *copies])


@dataclass(frozen=True)
class Augmentation:
    """Another part of long cuts or silence beside short ones; reverberation, noise and a channel of some of them.

    Attributes
    ----------
    seed
        Of all that is random.
    shape
        Bounds of the duration.
    level
        Of the audio before all else (dB), None for its own.
    impulse_responses
        Of rooms: files, or the numbers of simulated ones.
    rir_prob
        Share of the cuts that are reverberated.
    noises, noise_mix_prob, noise_snr
        Noises, share of the cuts that are noisy, and the range of their ratio (dB).
    channel
        What comes last.
    """

    seed: int
    shape: Reshape = field(default_factory=Reshape)
    level: float | None = None
    impulse_responses: Sequence[Path | int] = ()
    rir_prob: float = 0.0
    noises: tuple[Cut, ...] = ()
    noise_mix_prob: float = 0.0
    noise_snr: tuple[float, float] = (10.0, 20.0)
    channel: Channel = field(default_factory=Channel)

    @classmethod
    def from_config(cls, config: DataConfig) -> Augmentation:
        """What the configuration asks for; its files are listed, and noises probed, here."""
        seed = resolve_seed(config.seed)
        level = config.db_norm if config.concatenate_samples else None
        effects, codecs = tuple(config.effects or ()), tuple(config.codecs or ())
        channel = Channel(seed, effects, config.effect_prob, codecs=codecs, codec_prob=config.codec_prob)
        plain = cls(seed, replace(Reshape.from_config(config), seed=seed), level, channel=channel)
        if config.rir_enabled:
            responses = list_audio(config.rir_path, "rir") if config.rir_path is not None else range(SIMULATED_ROOMS)
            plain = replace(plain, impulse_responses=responses, rir_prob=config.rir_prob)
        if config.noise_path is not None:
            noises, share, snr = read_noises(config.noise_path), config.noise_mix_prob, config.noise_snr
            plain = replace(plain, noises=noises, noise_mix_prob=share, noise_snr=snr)
        return plain

    def __call__(self, cut: Cut, epoch: int) -> Cut:
        """The cut as this epoch hears it; same id, and the duration that it was planned with.

        What is no cut stays as it is.
        """
        if not isinstance(cut, Cut):
            return cut
        cut = self.shape(cut, epoch)
        if self.level is not None:
            cut = at_level(cut, self.level)
        if self.impulse_responses or self.noises:
            cut = self._among_noises(cut, epoch)
        return self.channel(cut, epoch)

    def _among_noises(self, cut: Cut, epoch: int) -> Cut:
        """The cut in a room, with noise, or neither."""
        rng = random.Random(f"{self.seed}/{epoch}/{cut.id}")
        if self.impulse_responses and rng.random() < self.rir_prob:
            response = impulse_response(rng.choice(self.impulse_responses), cut.sampling_rate)
            cut = cut.reverb_rir(response, affix_id=False, rir_channels=[0])
        if self.noises and rng.random() < self.noise_mix_prob:
            cut = self._mix(cut, rng)
        return cut

    def _mix(self, cut: Cut, rng: random.Random) -> Cut:
        """Noises one after the other until the end of the cut, each from a random place, at one ratio."""
        snr, end, position = rng.uniform(*self.noise_snr), cut.duration, 0.0
        while end - position > _SHORTEST_NOISE_S:
            noise = rng.choice(self.noises)
            noise = noise if noise.sampling_rate == cut.sampling_rate else noise.resample(cut.sampling_rate)
            length = min(noise.duration, end - position)
            part = noise.truncate(offset=rng.uniform(0.0, noise.duration - length), duration=length, preserve_id=True)
            cut = cut.mix(part, offset_other_by=position, snr=snr, preserve_id="left")
            position += length
        return cut


@functools.lru_cache(maxsize=SIMULATED_ROOMS)
def impulse_response(source: Path | int, sample_rate: int) -> Recording:
    """The first channel of a room impulse response, made once: at the rate of the speech, its main peak upwards.

    Lhotse aligns speech with the largest value; of a response recorded with reversed polarity that is not its peak.

    Parameters
    ----------
    source
        Its file, or the number of a simulated room (Luo and Yu 2022, as Lhotse has it).
    sample_rate
        Of the speech (Hz).
    """
    if isinstance(source, Path):
        samples, rate = decode_audio(source)
        response = resample(torch.from_numpy(samples[0]), rate, sample_rate).numpy()
    else:
        response = _simulate(source, sample_rate)
    peak = response[np.abs(response).argmax()]
    if peak == 0:
        raise AudioError(f"{source}: a silent impulse response")
    file = io.BytesIO()
    soundfile.write(file, response / peak, sample_rate, format="WAV", subtype="FLOAT")
    audio = AudioSource("memory", [0], file.getvalue())
    name = source.name if isinstance(source, Path) else f"room-{source}"
    return Recording(name, [audio], sample_rate, len(response), len(response) / sample_rate)


def _simulate(room: int, sample_rate: int) -> np.ndarray:
    """Impulse response (S,) float32 of a simulated room."""
    # Besides its own seeds Lhotse's generator draws from torch's; and it asks NumPy to round a tensor.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.manual_seed(room)
        return FastRandomRIRGenerator(sr=sample_rate, room_seed=room, source_seed=room)()[0]
