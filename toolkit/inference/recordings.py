"""A recording as it is recognised: windows, cut as they are asked for, and what they say when put together in order.

Windows of many recordings can be recognised in one batch (`Recognition.hear`), as a service does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from toolkit.decoders.hypothesis import Hypothesis
from toolkit.inference.long_audio import Counted
from toolkit.inference.segments import Segment
from toolkit.inference.timing import with_frames
from toolkit.inference.windows import Merger, Output


class Piece(NamedTuple):
    """What may be said from a sample of the recording on, best first."""

    start: int
    hypotheses: list[Hypothesis]


class Recording:
    """A recording whose windows are each recognised by themselves.

    Attributes
    ----------
    windows
        Where somebody speaks, cut one after the other; of what is long, an empty one where a quiet part ends.
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

    def understood(self, window: Segment, computed: list[Hypothesis]) -> list[Piece]:
        """The pieces that are known with what the model says of the next window, once of each."""
        return [Piece(window.start, computed)]

    def end(self) -> list[Piece]:
        """Those that are known with no other window to come."""
        return []


class MergedRecording(Recording):
    """A long recording whose windows' CTC output is merged, and searched from pause to pause.

    Parameters
    ----------
    windows
        They overlap where nobody pauses, and begin at multiples of ``frame_samples``.
    longest
        Frames that are searched at once, about.
    search
        Begins a search of CTC output that comes in chunks.
    """

    def __init__(
        self,
        blocks: Counted,
        windows: Iterable[Segment],
        *,
        longest: int,
        frame_samples: int,
        search: Callable[[], Any],
    ) -> None:
        super().__init__(blocks, windows, long=True)
        self._merger, self._frame_samples, self._search = Merger(longest), frame_samples, search

    def understood(self, window: Segment, computed: Tensor) -> list[Piece]:
        """The pieces that are known with the CTC output (T, V) of the next window."""
        start = window.start // self._frame_samples
        return self._searched(self._merger.feed(Output(start, computed, window.continues)))

    def end(self) -> list[Piece]:
        """The last piece."""
        return self._searched(self._merger.end())

    @torch.inference_mode()
    def _searched(self, parts: Iterable[tuple[int, Tensor]]) -> list[Piece]:
        pieces = []
        for start, log_probs in parts:
            search = self._search()
            search.feed(log_probs)
            best, *others = search.finish()
            pieces.append(Piece(start * self._frame_samples, [with_frames(best, log_probs), *others]))
        return pieces
