"""What a model process works at: files, window by window, and live speech."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolkit.inference.live import Excerpt, Live
from toolkit.inference.recordings import Piece
from toolkit.inference.segments import Segment
from toolkit.inference.transcriber import Transcriber
from toolkit.inference.transcript import Heard
from toolkit.serving.messages import Told, Transcribe
from toolkit.serving.scheduling import Window

BLOCK_S = 10.0  # of raw samples, in memory


@dataclass
class File:
    """A file that is transcribed."""

    job: Transcribe
    asr: Transcriber

    def __post_init__(self) -> None:
        samples = round(BLOCK_S * self.asr.sample_rate)
        self.recording = self.asr.recording(blocks_of(self.job.samples, samples))
        self._heard = 0  # samples

    @property
    def group(self) -> Hashable:
        """What else can be in a batch with it."""
        alone = self.job.alone or self.recording.alone
        return self.job.number if alone else (self.job.model, self.job.nbest, self.job.hotwords)

    def windows(self) -> Iterator[Window]:
        """What is to be recognised."""
        return (Window(len(one.wav) / self.asr.sample_rate, one) for one in self.recording.windows)

    def told(self, segment: Segment | None, pieces: list[Piece], *, last: bool) -> Iterator[Told]:
        """What is said in the pieces that are known with a segment, part by part; after the last segment, the rest."""
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

    number: int
    model: str
    asr: Transcriber
    live: Live
    odd: bytes = b""  # half a sample
    fed: int = 0  # bytes
    taken: int = 0  # of them, as the engine knows

    @property
    def recording(self) -> Session:
        """What `Transcriber.hear` tells what is said: itself."""
        return self

    @property
    def alone(self) -> bool:
        """As of a recording."""
        return not self.live.batched

    @property
    def group(self) -> Hashable:
        """What else can be in a batch with it."""
        return self.number if self.alone else (self.model, None, ())

    def feed(self, samples: bytes) -> None:
        """Take 16-bit samples."""
        self.fed += len(samples)
        samples = self.odd + samples
        whole = len(samples) // 2 * 2
        self.odd = samples[whole:]
        self.live.feed(torch.from_numpy(np.frombuffer(samples[:whole], "<i2").astype(np.float32) / 2**15))

    def window(self) -> Window | None:
        """What is to be recognised now."""
        excerpt = self.live.wanted()
        return None if excerpt is None else Window(len(excerpt.wav) / self.asr.sample_rate, excerpt)

    def said(self, excerpt: Excerpt, hypotheses: list[Any]) -> list[Heard]:
        """The lines that are known with what is said in an excerpt."""
        return self.live.understood(excerpt, hypotheses)

    def heard(self, excerpt: Excerpt) -> list[Heard]:
        """The same of one that is recognised alone."""
        return self.live.hear(excerpt)

    def told(self, excerpt: Excerpt, lines: list[Heard], *, last: bool) -> Iterator[Told]:  # noqa: ARG002
        """Lines, one by one."""
        return (Told(self.number, line) for line in lines)


def blocks_of(file: Path, samples: int) -> Iterator[Tensor]:
    """Blocks (S,) of so many raw samples of a file."""
    with file.open("rb") as opened:
        while len(block := np.fromfile(opened, np.float32, samples)):
            yield torch.from_numpy(block)
