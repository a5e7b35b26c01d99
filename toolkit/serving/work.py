"""What a model process works at: files, window by window, and live speech."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolkit.inference.live import Excerpt, Live, LiveUtterances
from toolkit.inference.recordings import Piece
from toolkit.inference.segments import Segment
from toolkit.inference.transcriber import Transcriber
from toolkit.inference.transcript import Heard
from toolkit.serving.messages import OpenLive, Told, Transcribe
from toolkit.serving.scheduling import Window

BLOCK_S = 10.0  # of raw samples, in memory; and of quiet, before others have their turn: Silero hears it in 0.04 s
EARLY_S = 5.0  # that speech may be faster than it is spoken, as after a stall of the network, and still be live
SAMPLE_BYTES = 2  # of live speech


@dataclass
class File:
    """A file that is transcribed."""

    job: Transcribe
    asr: Transcriber

    def __post_init__(self) -> None:
        samples = round(BLOCK_S * self.asr.sample_rate)
        self.recording = self.asr.recording(blocks_of(self.job.samples, samples))
        self._heard = 0  # samples
        self._error: Exception | None = None  # that there was in cutting windows

    @property
    def model(self) -> str:
        """The name of what it is heard by."""
        return self.job.model

    @property
    def group(self) -> Hashable:
        """What else can be in a batch with it."""
        alone = self.job.alone or self.recording.alone
        return self.job.number if alone else (self.job.model, self.job.nbest, self.job.hotwords)

    def windows(self) -> Iterator[Window]:
        """What is to be recognised; without content where there is nothing to it but quiet that was listened to.

        An error is raised by `told`, after the last window.
        """
        end, block = 0, BLOCK_S * self.asr.sample_rate
        try:
            for one in self.recording.windows:
                samples = len(one.wav) or one.start - end
                if len(one.wav) or samples >= block:
                    end = one.start + len(one.wav)
                    yield Window(samples / self.asr.sample_rate, one if len(one.wav) else None)
        except Exception as error:
            self._error = error

    def told(self, segment: Segment | None, pieces: list[Piece], *, last: bool) -> Iterator[Told]:
        """What is said in the pieces that are known with a segment, part by part; after the last segment, the rest."""
        if last and self._error is not None:
            raise self._error
        if segment is not None:
            self._heard = segment.start + len(segment.wav)
        pieces = pieces + self.recording.end() if last else pieces
        parts = [[piece] for piece in pieces] or ([[]] if last else [])
        for place, part in enumerate(parts, 1):
            over = last and place == len(parts)
            samples = self.recording.samples if over else self._heard
            yield Told(self.job.number, self.asr.written(part, self.job.name, samples), over=over)


@dataclass
class Session:
    """Live speech."""

    opened: OpenLive
    asr: Transcriber
    live: Live
    odd: bytes = b""  # half a sample
    fed: int = 0  # bytes
    taken: int = 0  # of them, as the engine knows
    spoken: float = 0.0  # when its speaker would have said all of them, at the earliest

    @property
    def number(self) -> int:
        """Of the session."""
        return self.opened.number

    @property
    def model(self) -> str:
        """The name of what it is heard by."""
        return self.opened.model

    @property
    def early(self) -> bool:
        """Whether it comes faster than anybody speaks, as from a file: then it is before nobody."""
        return self.spoken - time.monotonic() > EARLY_S

    @property
    def recording(self) -> Session:
        """What is told what the model says: itself."""
        return self

    @property
    def alone(self) -> bool:
        """As of a recording."""
        return not isinstance(self.live, LiveUtterances)

    @property
    def group(self) -> Hashable:
        """What else can be in a batch with it."""
        return self.number if self.alone else (self.model, None, ())

    def feed(self, samples: bytes) -> None:
        """Take 16-bit samples."""
        self.fed += len(samples)
        self.spoken = max(self.spoken, time.monotonic()) + len(samples) / (SAMPLE_BYTES * self.opened.sample_rate)
        samples = self.odd + samples
        whole = len(samples) // SAMPLE_BYTES * SAMPLE_BYTES
        self.odd = samples[whole:]
        self.live.feed(torch.from_numpy(np.frombuffer(samples[:whole], "<i2").astype(np.float32) / 2**15))

    def window(self) -> Window | None:
        """What is to be recognised now."""
        excerpt = self.live.wanted()
        return None if excerpt is None else Window(len(excerpt.wav) / self.asr.sample_rate, excerpt)

    def understood(self, excerpt: Excerpt, computed: list[Any] | None) -> list[Heard]:
        """The lines that are known with what the model says of an excerpt, or with one that is heard alone."""
        return self.live.hear(excerpt) if self.alone else self.live.understood(excerpt, computed)

    def told(self, excerpt: Excerpt, lines: list[Heard], *, last: bool) -> Iterator[Told]:  # noqa: ARG002
        """Lines, one by one."""
        return (Told(self.number, line) for line in lines)


def blocks_of(file: Path, samples: int) -> Iterator[Tensor]:
    """Blocks (S,) of so many raw samples of a file."""
    with file.open("rb") as opened:
        while len(block := np.fromfile(opened, np.float32, samples)):
            yield torch.from_numpy(block)
