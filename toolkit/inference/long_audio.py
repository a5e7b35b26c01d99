"""Audio that may be long: what is short is taken whole, what is not comes block by block."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from toolkit.inference.segments import Segment
from toolkit.inference.silero import Silero
from toolkit.inference.speech import Detector, Levels

SILENCE = 1.5 / 2**15  # in 16 bits, no sample above is nothing but rounding

# Who says where somebody speaks, by the name that `asr transcribe --vad` has for it.
DETECTORS: dict[str, Callable[[int, int], Detector]] = {"energy": Levels, "silero": Silero}

# Batches after which freed memory is given back: a minute each, it grows by 5 MB each, and giving back takes 0.1 s.
GIVE_BACK_EVERY = 5


@dataclass(frozen=True)
class LongAudio:
    """How audio is heard that is too long to be heard whole; all in seconds.

    Attributes
    ----------
    whole_s
        Audio up to this length is heard whole. LibriSpeech's longest utterance has 35 seconds.
    window_s, overlap_s
        For CTC: length of the windows on what is said without a pause, and how much of one is in the next, too.
    segment_s
        For attention and transducers: how long a segment between pauses may be.
    pause_s
        Of quiet end a segment. With more of it a segment is of several sentences or speakers, of which models that were
        trained with one at a time lose words; with less, words are cut. See ``benchmarks/joined.py``.
    speech
        Makes, for a sample rate and the samples of a frame, who says where somebody speaks: one of `DETECTORS`.
    """

    whole_s: float = 40.0
    window_s: float = 24.0
    overlap_s: float = 8.0
    segment_s: float = 20.0
    pause_s: float = 0.4
    speech: Callable[[int, int], Detector] = Levels


class Counted:
    """Blocks (S,), and how many samples there were so far."""

    def __init__(self, blocks: Iterable[Tensor], samples: int = 0) -> None:
        self.blocks, self.samples = blocks, samples

    def __iter__(self) -> Iterator[Tensor]:
        for block in self.blocks:
            self.samples += len(block)
            yield block


def take(blocks: Iterator[Tensor], most: float) -> tuple[Tensor, Iterator[Tensor] | None]:
    """All blocks as one waveform (S,), and None; of more than ``most`` samples, its beginning and the rest."""
    taken, samples = [], 0
    for block in blocks:
        taken.append(block)
        samples += len(block)
        if samples > most:
            return torch.cat(taken), blocks
    return torch.cat([torch.zeros(0), *taken]), None


def batches_of(segments: Iterable[Segment], most: float) -> Iterator[list[Segment]]:
    """Segments in batches of at most ``most`` samples, padding included; a longer one is a batch of its own.

    Empty ones are in no batch.
    """
    batch: list[Segment] = []
    made = 0
    for segment in segments:
        if not len(segment.wav):
            continue
        longest = max(len(one.wav) for one in [*batch, segment])
        if batch and longest * (len(batch) + 1) > most:
            yield batch
            batch, made = [], made + 1
            if made % GIVE_BACK_EVERY == 0:
                give_back_memory()
        batch.append(segment)
    if batch:
        yield batch


def give_back_memory() -> None:
    """Return freed memory to the system, which glibc does only where no small block that lives on lies behind it.

    Batches of many sizes, with what they said between them, would take 400 MB more in an hour than in ten minutes.
    """
    with suppress(AttributeError, OSError, TypeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def is_sound(wav: Tensor) -> bool:
    """Whether a waveform (S,) holds more than digital silence, in which some models hear words."""
    return bool(len(wav)) and wav.abs().max().item() > SILENCE
