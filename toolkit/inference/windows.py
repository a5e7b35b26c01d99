"""CTC output of long audio, merged from windows that overlap where nobody pauses.

A window's frames near its edges lack context. Where two windows overlap, the output changes from one to the other in
the frame where both are surest that no token is spoken, so that no token falls between them and none is in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from toolkit.inference.segments import quietest

UNHEARD = -30.0  # log-probability of a token where nobody seemed to speak: a quiet word may be there all the same


class Output(NamedTuple):
    """CTC output (T, V) of a segment, the frame that it begins at, and whether it overlaps with the one before."""

    start: int
    log_probs: Tensor
    continues: bool


def merged(outputs: Iterable[Output], longest: int) -> Iterator[tuple[int, Tensor]]:
    """CTC output (T, V) of all that is said without a pause, and the frame that it begins at.

    What is much longer than ``longest`` frames is cut where no token is spoken.
    """
    held, start = None, 0
    for output in outputs:
        if held is None or not output.continues:
            if held is not None:
                yield start, held
            held, start = output.log_probs, output.start
            continue
        begin = output.start - start
        common = min(len(held) - begin, len(output.log_probs))
        cut = seam(held[begin : begin + common], output.log_probs[:common])
        held = torch.cat([held[: begin + cut], output.log_probs[cut:]])
        if len(held) > 2 * longest:
            cut = quietest(-held[:longest, 0].double().cpu().numpy(), longest)
            yield start, held[:cut]
            held, start = held[cut:], start + cut
    if held is not None:
        yield start, held


def laid_out(parts: Sequence[tuple[int, Tensor]], frames: int, vocab_size: int) -> Tensor:
    """CTC output (T, V) of at least so many frames, from parts and their first frames; between them is blank."""
    frames = max([frames, *(start + len(part) for start, part in parts)])
    whole = torch.full((frames, vocab_size), UNHEARD)
    whole[:, 0] = 0.0
    for start, part in parts:
        whole[start : start + len(part)] = part.cpu()
    return whole


def seam(one: Tensor, other: Tensor) -> int:
    """The frame, in the middle half of what two windows (T, V) share, in which both are surest of a blank."""
    if len(one) < 4:
        return len(one) // 2
    blank = (one[:, 0] + other[:, 0]).double()
    # of three frames: a change beside a token is as bad as one within
    means = torch.nn.functional.avg_pool1d(blank[None], 3, stride=1, padding=1, count_include_pad=False)[0]
    quarter = len(blank) // 4
    return quarter + int(means[quarter : len(blank) - quarter].argmax())
