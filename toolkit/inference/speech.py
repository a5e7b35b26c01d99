"""Where somebody speaks: by the level of the sound, against the quiet and the loud parts of the minute around."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEVEL_S = 0.01  # what a level is measured in: within a frame of 80 ms, a t may be all there is
# Of the way, in decibels, from the quiet parts' level to the loud parts': below, pauses are not found (0.3: 1 % more
# WER on AN4, joined), and above, words are cut.
SPEECH_SHARE = 0.4
LEAST_RANGE_DB = 6.0  # less between quiet and loud is one sound, all of which is heard
SILENCE_DB = -80.0  # of full scale: below is nothing in any recording


class Detector(Protocol):
    """Hears one recording, and says of each frame of so many samples how much it is like speech.

    It is made for a sample rate, in Hz, and the samples of a frame.
    """

    sample_rate: int
    frame: int

    def feed(self, block: Tensor) -> NDArray[np.float64]:
        """How much the frames (T,) that the next samples (S,) complete are like speech; an empty block is the end.

        Then the last frame may be incomplete.
        """

    def threshold(self, around: NDArray[np.float64]) -> float:
        """What is speech is above, from what `feed` said of the frames (T,) around."""


class Levels:
    """A `Detector` that needs no model: decibels of full scale."""

    def __init__(self, sample_rate: int, frame: int) -> None:
        self.sample_rate, self.frame = sample_rate, frame
        self._parts = max(1, round(frame / sample_rate / LEVEL_S))
        self._rest = torch.zeros(0)

    def feed(self, block: Tensor) -> NDArray[np.float64]:
        """Decibels of the loudest part of each frame (T,) that the next samples (S,) complete."""
        wav = torch.cat([self._rest, block])
        count = len(wav) // self.frame if len(block) else -(-len(wav) // self.frame)
        self._rest = wav[count * self.frame :]
        wav = torch.nn.functional.pad(wav[: count * self.frame], (0, max(0, count * self.frame - len(wav))))
        parts = wav.view(count, self.frame)[:, : self.frame // self._parts * self._parts]
        powers = parts.unflatten(1, (self._parts, -1)).double().square().mean(dim=2)
        return 10 * powers.amax(dim=1).clamp_min(10 ** (SILENCE_DB / 10)).log10().numpy()

    def threshold(self, around: NDArray[np.float64]) -> float:
        """The level above which a sound is speech, from the levels (T,) around it."""
        quiet, loud = np.percentile(around, [10, 95])
        if loud - quiet < LEAST_RANGE_DB:
            return SILENCE_DB
        return max(SILENCE_DB, quiet + SPEECH_SHARE * (loud - quiet))


class LiveLevels(Levels):
    """`Levels` of sound that has only begun: what was loud in the last minute may have been no speech yet."""

    def threshold(self, around: NDArray[np.float64]) -> float:
        """The level above which a sound is speech: in any case clearly above the quiet that was before it."""
        sounds = around[around > SILENCE_DB]  # a microphone that is being opened gives zeros
        if not len(sounds):
            return SILENCE_DB
        quiet, loud = np.percentile(sounds, [10, 95])
        return quiet + max(LEAST_RANGE_DB, SPEECH_SHARE * (loud - quiet))
