"""A recording as it is recognised: windows, cut as they are asked for, and what they say when put together in order.

Windows of many recordings can be recognised in one batch (`Recognition.hear`), as a service does it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor

from toolkit.decoders.hypothesis import Hypothesis
from toolkit.inference.long_audio import Counted
from toolkit.inference.segments import Segment
from toolkit.inference.timing import with_frames
from toolkit.inference.windows import Output

if TYPE_CHECKING:
    from toolkit.inference.recognition import Recognition


class Piece(NamedTuple):
    """What may be said from a sample of the recording on, best first."""

    start: int
    hypotheses: list[Hypothesis]


class Recording:
    """A recording whose windows are each recognised by themselves.

    Attributes
    ----------
    windows
        Where somebody speaks, cut one after the other.
    long
        Whether it is too long to be heard whole.
    alone
        Whether a window can only be heard after the one before, and not in a batch with those of other recordings.
    """

    alone: ClassVar[bool] = False

    def __init__(self, blocks: Counted, windows: Iterable[Segment], *, long: bool) -> None:
        self._blocks, self.windows, self.long = blocks, iter(windows), long

    @property
    def samples(self) -> int:
        """How many there are, as far as windows are cut: all, when there is no other window."""
        return self._blocks.samples

    def said(self, window: Segment, hypotheses: list[Hypothesis]) -> list[Piece]:
        """The pieces that are known with what is said in the next window."""
        return [Piece(window.start, hypotheses)]

    def end(self) -> list[Piece]:
        """Those that are known with no other window to come."""
        return []


class MergedRecording(Recording):
    """A long recording whose windows' CTC output is merged, and searched from pause to pause."""

    def __init__(self, asr: Recognition, blocks: Counted) -> None:
        super().__init__(blocks, asr.overlapping_windows(blocks), long=True)
        self._asr, self._merger = asr, asr.merger()

    def output(self, window: Segment, log_probs: Tensor) -> list[Piece]:
        """The pieces that are known with the CTC output (T, V) of the next window."""
        start = window.start // self._asr.frame_samples
        return self._searched(self._merger.feed(Output(start, log_probs, window.continues)))

    def end(self) -> list[Piece]:
        """The last piece."""
        return self._searched(self._merger.end())

    @torch.inference_mode()
    def _searched(self, parts: Iterable[tuple[int, Tensor]]) -> list[Piece]:
        pieces = []
        for start, log_probs in parts:
            stream = self._asr.search.stream()
            stream.feed(log_probs)
            best, *others = stream.finish()
            pieces.append(Piece(start * self._asr.frame_samples, [with_frames(best, log_probs), *others]))
        return pieces
