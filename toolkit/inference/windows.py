"""CTC output of long audio, merged from windows that overlap where nobody pauses.

A window's frames near its edges lack context. Where two windows overlap, the output changes from one to the other in
the frame where both are surest that no token is spoken, so that no token falls between them and none is in both.
"""

from __future__ import annotations

from collections.abc import Sequence
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


class Merger:
    """CTC output (T, V) of all that is said without a pause, and the frame it begins at, from that of windows in order.

    What is much longer than ``longest`` frames is cut where no token is spoken.
    """

    def __init__(self, longest: int) -> None:
        self._longest, self._held, self._start = longest, torch.zeros(0, 0), 0

    def feed(self, output: Output) -> list[tuple[int, Tensor]]:
        """What is complete with the output of the next window."""
        if not (len(self._held) and output.continues):
            before = self.end()
            self._held, self._start = output.log_probs, output.start
            return before
        begin = output.start - self._start
        common = min(len(self._held) - begin, len(output.log_probs))
        cut = seam(self._held[begin : begin + common], output.log_probs[:common])
        self._held = torch.cat([self._held[: begin + cut], output.log_probs[cut:]])
        return self._cut() if len(self._held) > 2 * self._longest else []

    def end(self) -> list[tuple[int, Tensor]]:
        """What is left, with no other window to come."""
        left = [(self._start, self._held)] if len(self._held) else []
        self._held = self._held[:0]
        return left

    def _cut(self) -> list[tuple[int, Tensor]]:
        cut = quietest(1 - self._held[: self._longest, 0].exp().double().cpu().numpy())
        done = (self._start, self._held[:cut])
        self._held, self._start = self._held[cut:], self._start + cut
        return [done]


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
