"""Long audio in segments that end where nobody speaks, so that each can be recognised alone, in constant memory.

Where somebody speaks is told by the level of the sound, against the quiet and the loud parts of the minute around.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEVEL_S = 0.01  # what a level is measured in: within a frame of 80 ms, a t may be all there is
AROUND_S = 60.0  # what a level is compared with
# Of the way, in decibels, from the quiet parts' level to the loud parts': below, noise is heard as words (0.2: 1 % more
# WER on AN4, joined), and much above, quiet words as noise.
SPEECH_SHARE = 0.3
LEAST_RANGE_DB = 6.0  # less between quiet and loud is one sound, all of which is heard
SILENCE_DB = -80.0  # of full scale: below is nothing in any recording

# Of quiet end a segment. On AN4, joined, which spells with pauses between letters, 0.4 to 0.6 are as good as to know
# where the utterances end, and 0.8 are worse by 1 % WER, as a segment then is of many speakers.
PAUSE_S = 0.6
MARGIN_S = 0.2  # of quiet kept around speech: consonants are quiet, and more of it costs words of the transducer


class Segment(NamedTuple):
    """A part (S,) of audio, the sample that it begins at, and whether it overlaps with the end of the one before."""

    start: int
    wav: Tensor
    continues: bool


def segments(
    blocks: Iterable[Tensor], sample_rate: int, *, frame: int, longest_s: float, overlap_s: float = 0.0
) -> Iterator[Segment]:
    """Segments of audio that comes in blocks (S,), in each of which somebody speaks; a minute is held at most.

    They begin at multiples of ``frame`` samples. Where nobody pauses for ``longest_s`` seconds, a segment ends there
    and the next begins ``overlap_s`` seconds before; without overlap it ends where it is quietest, as the next begins.
    """
    longest, overlap, pause, margin, around = (
        round(seconds * sample_rate / frame) for seconds in (longest_s, overlap_s, PAUSE_S, MARGIN_S, AROUND_S)
    )
    parts = max(1, round(frame / sample_rate / LEVEL_S))
    held, levels, before = torch.zeros(0), np.zeros(0), np.zeros(0)
    start, continues = 0, False
    for block in _and_the_end(blocks):
        held = torch.cat([held, block])
        levels = np.concatenate(
            [levels, levels_of(held[len(levels) * frame :], frame, parts=parts, last=not len(block))]
        )
        while len(levels) >= longest or (len(levels) and not len(block)):
            loud = levels - speech_level(np.concatenate([before, levels]))
            loud[0] = max(loud[0], float(continues))
            end = cut = pause_after(loud[:longest], pause) or (None if len(levels) >= longest else len(levels))
            if cut is None:
                end, cut = (longest, longest - overlap) if overlap else (quietest(loud[:longest], pause),) * 2
            spoken = np.flatnonzero(loud[:end] > 0)
            if len(spoken):
                first, last = max(0, spoken[0] - margin) * frame, min(end, spoken[-1] + 1 + margin) * frame
                yield Segment(start + int(first), held[first:last], continues)
            continues = cut < end
            before = np.concatenate([before, levels[:cut]])[-around:]
            held, levels, start = held[cut * frame :], levels[cut:], start + cut * frame


def levels_of(wav: Tensor, frame: int, *, parts: int, last: bool) -> NDArray[np.float64]:
    """Decibels of full scale (T,) of the loudest part of each frame of a waveform (S,); ``last`` may be incomplete."""
    count = -(-len(wav) // frame) if last else len(wav) // frame
    wav = torch.nn.functional.pad(wav[: count * frame], (0, max(0, count * frame - len(wav))))
    powers = wav.view(count, frame)[:, : frame // parts * parts].unflatten(1, (parts, -1)).double().square().mean(dim=2)
    return 10 * powers.amax(dim=1).clamp_min(1e-12).log10().numpy()


def speech_level(levels: NDArray[np.float64]) -> float:
    """The level, in decibels, above which a sound is speech, from the levels (T,) around it."""
    quiet, loud = np.percentile(levels, [10, 95])
    if loud - quiet < LEAST_RANGE_DB:
        return SILENCE_DB
    return max(SILENCE_DB, quiet + SPEECH_SHARE * (loud - quiet))


def pause_after(loud: NDArray[np.float64], pause: int) -> int | None:
    """How many of the frames (T,), loud where positive, are before the middle of the first pause; None without one.

    Quiet before speech is a part of its own, but for its last frames.
    """
    spoken = np.flatnonzero(loud > 0)
    first = int(spoken[0]) if len(spoken) else len(loud)
    if first >= pause:
        return max(1, first - pause // 2)
    ends = np.flatnonzero(np.diff(np.append(spoken, len(loud))) > pause)
    return int(spoken[ends[0]]) + 1 + pause // 2 if len(ends) else None


def quietest(loud: NDArray[np.float64], pause: int) -> int:
    """The quietest place in the second half of frames (T,)."""
    half, width = len(loud) // 2, max(1, min(pause // 3, len(loud) // 4))
    means = np.convolve(loud[half:], np.full(width, 1 / width), mode="valid")
    return half + int(means.argmin()) + (width + 1) // 2


def _and_the_end(blocks: Iterable[Tensor]) -> Iterator[Tensor]:
    """The blocks that are not empty, and then one that is."""
    yield from (block for block in blocks if len(block))
    yield torch.zeros(0)
