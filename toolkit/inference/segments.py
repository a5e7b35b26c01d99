"""Long audio in segments that end where nobody speaks, so that each can be recognised alone, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toolkit.inference.speech import Detector

AROUND_S = 60.0  # what is heard is compared with
BLOCK_S = 10.0  # audio is looked at in, however it comes
# The mean of so much is speech or not: clicks and breaths would end pauses, and stops within words begin them.
SMOOTH_S = 0.2
# Of quiet is kept around speech, as models know it from their utterances: of AN4's 593 words for validation, four
# transducers lose 2 more on average where utterances are cut closer (0.2 s), or 7 (0.1 s); a breath may be a word.
MARGIN_S = 0.3


class Segment(NamedTuple):
    """A part (S,) of audio, the sample that it begins at, and whether it overlaps with the end of the one before."""

    start: int
    wav: Tensor
    continues: bool


def segments(
    blocks: Iterable[Tensor], speech: Detector, *, longest_s: float, pause_s: float, overlap_s: float = 0.0
) -> Iterator[Segment]:
    """Segments of audio that comes in blocks (S,), in each of which somebody speaks; a minute is held at most.

    They begin at multiples of the detector's frame, and end in pauses of more than ``pause_s`` seconds. Where nobody
    pauses for ``longest_s`` seconds, a segment ends there and the next begins ``overlap_s`` seconds before; without
    overlap it ends where it is quietest, as the next begins. Of a part in which nobody speaks there is an empty segment
    at its end: who serves others, too, has not to wait for speech.
    """
    frame = speech.frame
    longest, overlap, pause, margin, around, smooth = (
        round(seconds * speech.sample_rate / frame)
        for seconds in (longest_s, overlap_s, pause_s, min(MARGIN_S, pause_s), AROUND_S, SMOOTH_S)
    )
    held, levels, before = torch.zeros(0), np.zeros(0), np.zeros(0)
    start, continues = 0, False
    for block in _and_the_end(even(blocks, round(BLOCK_S * speech.sample_rate))):
        held = torch.cat([held, block])
        levels = np.concatenate([levels, speech.feed(block)])
        while len(levels) >= longest or (len(levels) and not len(block)):
            heard = means(np.concatenate([before, levels]), smooth)
            loud = (heard - speech.threshold(heard))[len(before) :]
            loud[0] = max(loud[0], float(continues))
            cut, continuing = pause_after(loud[:longest], pause), False
            if cut is not None:
                end = min(cut + margin, len(loud))
            elif len(loud) < longest:
                end = cut = len(loud)
            elif overlap:
                end, cut, continuing = longest, longest - overlap, True
            else:
                end = cut = quietest(loud[:longest])
            spoken = np.flatnonzero(loud[:end] > 0)
            if len(spoken):
                first, last = max(0, spoken[0] - margin) * frame, min(end, spoken[-1] + 1 + margin) * frame
                yield Segment(start + int(first), held[first:last], continues)
            continues = continuing
            before = np.concatenate([before, levels[:cut]])[-around:]
            held, levels, start = held[cut * frame :], levels[cut:], start + cut * frame
            if not len(spoken):
                yield Segment(start, held[:0], continues=False)


def pause_after(loud: NDArray[np.float64], pause: int) -> int | None:
    """How many of the frames (T,), loud where positive, are before the first pause; None without one.

    Quiet before speech is a part of its own, but for as much of it as a pause.
    """
    spoken = np.flatnonzero(loud > 0)
    first = int(spoken[0]) if len(spoken) else len(loud)
    if first > pause:
        return first - pause
    ends = np.flatnonzero(np.diff(np.append(spoken, len(loud))) > pause)
    return int(spoken[ends[0]]) + 1 if len(ends) else None


def quietest(loud: NDArray[np.float64]) -> int:
    """The place in the second half of frames (T,) that is quietest, itself and on average with those around it."""
    half = len(loud) // 2
    return half + int(sum(means(loud, width) for width in (1, 3, 9, 27))[half:].argmin())


def means(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """The mean of each of the values (T,) and those around it, ``width`` in all, or one more."""
    reach = width // 2
    return np.convolve(np.pad(values, reach, mode="edge"), np.full(2 * reach + 1, 1 / (2 * reach + 1)), mode="valid")


def even(blocks: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """The same samples in blocks (S,) of so many, the last of which may be shorter."""
    held = torch.zeros(0)
    for block in blocks:
        held = torch.cat([held, block]) if len(held) else block
        whole = len(held) - len(held) % size
        yield from held[:whole].split(size) if whole else ()
        held = held[whole:]
    if len(held):
        yield held


def _and_the_end(blocks: Iterable[Tensor]) -> Iterator[Tensor]:
    """The blocks, and then one that is empty."""
    yield from blocks
    yield torch.zeros(0)
