"""Sound as it comes, cut into utterances: what is said between pauses, known as soon as the pause is long enough."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from toolkit.inference.segments import quietest
from toolkit.inference.speech import Detector

MARGIN_S = 0.2  # of quiet kept around speech: a line is not to come later for more
AROUND_S = 30.0  # what is heard is compared with; a fan that is switched on is noise after most of it
STEP_FRAMES = 4  # heard at once, of about 40 ms: the same frames whatever the pieces that sound comes in
LOOK_BACK_S = 1.0  # held of quiet: after a loud word, quieter ones before it may turn out to be noise, or speech
LEAST_SPEECH_S = 0.1  # of loud frames make an utterance: less is a click


class Utterance(NamedTuple):
    """A part (S,) of the sound, the sample that it begins at, and whether a pause ended it."""

    start: int
    wav: Tensor
    paused: bool


class Utterances:
    """Hears one recording as it comes, and cuts it where nobody speaks.

    Parameters
    ----------
    speech
        Says where somebody speaks.
    longest_s
        An utterance that is as long is cut where it is quietest in its second half.
    pause_s
        Of quiet end an utterance.
    """

    def __init__(self, speech: Detector, *, longest_s: float, pause_s: float) -> None:
        self._speech, self._frame = speech, speech.frame
        self._longest, self._pause, self._margin, self._around, self._look_back = (
            self._frames(seconds) for seconds in (longest_s, pause_s, MARGIN_S, AROUND_S, LOOK_BACK_S)
        )
        self._least = max(1, self._frames(LEAST_SPEECH_S))
        room = max(self._longest, self._look_back) + self._pause + 2 * STEP_FRAMES
        self._wav, self._held, self._start = torch.zeros(room * self._frame), 0, 0  # samples
        self._levels, self._before = np.zeros(0), np.zeros(0)
        self._open = False  # somebody speaks since the first sample that is held
        self._end = 0  # of speech: the frame after its last, of those held

    def feed(self, block: Tensor) -> list[Utterance]:
        """The utterances that the next samples (S,) end."""
        ended, step = [], STEP_FRAMES * self._frame
        while len(block):
            part = block[: step - (self._start + self._held) % step]
            self._wav[self._held : self._held + len(part)] = part
            self._held, block = self._held + len(part), block[len(part) :]
            if (self._start + self._held) % step == 0:
                ended += self._hear(self._wav[self._held - step : self._held])
        return ended

    def finish(self) -> list[Utterance]:
        """The last utterance, where somebody speaks at the end."""
        left = (self._start + self._held) % (STEP_FRAMES * self._frame)
        if left:
            self._hear(self._wav[self._held - left : self._held])
        ended = self._hear(torch.zeros(0))
        return ended or ([self._until(self._end + self._margin, paused=False)] if self._open else [])

    def current(self) -> Utterance | None:
        """The utterance that has begun, up to its last sound of speech so far."""
        return self._until(self._end + self._margin, paused=False) if self._open else None

    def _hear(self, part: Tensor) -> list[Utterance]:
        """The utterance that the next step's samples end; nothing of them is the end of the recording."""
        self._levels = np.concatenate([self._levels, self._speech.feed(part)])
        loud = self._levels - self._speech.threshold(np.concatenate([self._before, self._levels]))
        spoken = np.flatnonzero(loud > 0)
        if not self._open:
            if len(spoken) < self._least:
                self._forget(len(self._levels) - self._look_back)
                return []
            begin = max(0, int(spoken[0]) - self._margin)
            self._forget(begin)
            loud, spoken, self._open = loud[begin:], spoken - begin, True
        self._end = int(spoken[-1]) + 1 if len(spoken) else self._end
        if len(loud) - self._end >= self._pause:
            return [self._cut(self._end + min(self._margin, self._pause // 2), paused=True)]
        if len(loud) >= self._longest:
            return [self._cut(quietest(loud[: self._longest]), paused=False)]
        return []

    def _cut(self, frames: int, *, paused: bool) -> Utterance:
        """So many frames as an utterance, which are then forgotten."""
        ended = self._until(frames, paused=paused)
        self._forget(frames)
        self._open, self._end = not paused, max(0, self._end - frames)
        return ended

    def _until(self, frames: int, *, paused: bool) -> Utterance:
        return Utterance(self._start, self._wav[: min(frames * self._frame, self._held)].clone(), paused)

    def _forget(self, frames: int) -> None:
        """Begin so many frames later."""
        if frames <= 0:
            return
        self._before = np.concatenate([self._before, self._levels[:frames]])[-self._around :]
        samples = frames * self._frame
        self._wav[: self._held - samples] = self._wav[samples : self._held].clone()
        self._levels, self._start, self._held = self._levels[frames:], self._start + samples, self._held - samples

    def _frames(self, seconds: float) -> int:
        return round(seconds * self._speech.sample_rate / self._frame)
