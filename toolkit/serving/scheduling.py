"""Which windows are recognised next, and together: start-time fair queueing (Goyal, Vin and Cheng 1996) of jobs.

A window is due at its job's start tag, in seconds of virtual time, which each window of the job moves on by its
length. Virtual time runs as fast as each of the jobs that wait would be served if all were served alike; a job that
comes starts now. So a short one is not behind the windows of a long one, and a long one has its share in a flood of
short ones.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

LOOKED_AT = 32  # jobs, for the rest of a batch: what bounds the cost
UNLIKE, UNLIKE_S = 2.0, 1.0  # windows are alike up to this ratio, or this difference, of their lengths


class Window(NamedTuple):
    """Something to be recognised, of so many seconds."""

    seconds: float
    content: Any


@dataclass(eq=False)
class _Flow:
    """A job in the queue: its next window, and when that is due.

    Of jobs that are as urgent the one that came first is first. A change of ``turn`` makes entries in heaps obsolete.
    """

    name: Hashable
    group: Hashable
    windows: Iterator[Window]
    next: Window | None  # none is left
    urgency: tuple[bool, float]  # not live; start tag
    number: int
    long: bool = False
    turn: int = 0

    @property
    def live(self) -> bool:
        """Whether it is before those that are not, and takes nothing of their shares."""
        return not self.urgency[0]

    def entry(self) -> tuple[tuple[bool, float], int, int, _Flow]:
        return self.urgency, self.number, self.turn, self


class FairQueue:
    """Jobs with windows that wait; nothing here knows of clocks or processes. Costs grow with the jobs' logarithm."""

    def __init__(self) -> None:
        self._flows: dict[Hashable, _Flow] = {}
        self._due: list[tuple] = []  # heaps of entries: of all, and of those that can be in one batch
        self._groups: dict[Hashable, list[tuple]] = {}
        self._sizes = Counter[Hashable]()  # jobs of each group
        self._live = 0  # jobs
        self._deadlines: list[tuple[float, int, _Flow]] = []
        self._numbers = itertools.count()
        self._now = self._progress = 0.0  # virtual time, and what the batch that is computed will add to it

    def __len__(self) -> int:
        return len(self._flows)

    def __contains__(self, name: Hashable) -> bool:
        return name in self._flows

    def add(
        self,
        name: Hashable,
        windows: Iterator[Window],
        *,
        group: Hashable = None,
        deadline: float = math.inf,
        live: bool = False,
    ) -> bool:
        """Take on a job, whose windows are asked for as they are needed; False when it has none.

        Only windows of one ``group`` are in a batch. ``live`` jobs are before all others, whose shares and virtual time
        are of what is left.
        """
        first = next(windows, None)
        if first is None:
            return False
        flow = _Flow(name, group, windows, first, (not live, 0.0 if live else self._now), next(self._numbers))
        self._flows[name] = flow
        self._sizes[group] += 1
        self._live += live
        self._push(flow)
        if deadline < math.inf:
            heapq.heappush(self._deadlines, (deadline, flow.number, flow))
        return True

    def cancel(self, name: Hashable) -> None:
        """Forget a job, if it is there."""
        if name in self._flows:
            self._forget(self._flows[name])

    def expired(self, now: float) -> list[Hashable]:
        """The jobs whose deadline is past, which are forgotten."""
        names = []
        while self._deadlines and self._deadlines[0][0] <= now:
            flow = heapq.heappop(self._deadlines)[2]
            if flow.next is not None:
                names.append(flow.name)
                self._forget(flow)
        return names

    def due(self) -> Hashable | None:
        """The job whose window is due, if any waits."""
        flow = self._pop(self._due)
        if flow is None:
            return None
        heapq.heappush(self._due, flow.entry())
        return flow.name

    def take(self, most_s: float, turn_s: float = math.inf) -> list[tuple[Hashable, Window]]:
        """The window that is due, and others of its group and about its length, up to ``most_s`` seconds with padding.

        Of jobs of more than one window there are up to ``turn_s`` seconds, or one window. Windows of a job are in their
        order. Empty when nothing waits.
        """
        self._now, self._progress = self._now + self._progress, 0.0
        first = self._pop(self._due)
        if first is None:
            return []
        batch = _Batch(most_s, turn_s)
        waiting = len(self._flows) - self._live
        self._serve(first, batch)
        entries, skipped = self._groups.get(first.group, []), []
        for _ in range(LOOKED_AT):
            flow = None if batch.full else self._pop(entries)
            if flow is None:
                break
            if batch.has_room(flow):
                self._serve(flow, batch)
            else:
                skipped.append(flow)
        for flow in skipped:
            heapq.heappush(entries, flow.entry())
        self._progress = batch.shared_s / max(1, waiting)
        return batch.windows

    def _serve(self, flow: _Flow, batch: _Batch) -> None:
        """Put the next window of a job into a batch; the job waits with the one after, or is done."""
        window, following = flow.next, next(flow.windows, None)
        flow.long |= following is not None
        batch.add(flow, window)
        if following is None:
            self._forget(flow)
            return
        later, tag = flow.urgency
        flow.next, flow.urgency, flow.turn = following, (later, tag + window.seconds), flow.turn + 1
        self._push(flow)

    def _forget(self, flow: _Flow) -> None:
        del self._flows[flow.name]
        flow.windows, flow.next, flow.turn = iter(()), None, -1
        self._sizes[flow.group] -= 1
        self._live -= flow.live
        if not self._sizes[flow.group]:
            del self._sizes[flow.group], self._groups[flow.group]
        if len(self._deadlines) > 2 * len(self._flows) + LOOKED_AT:
            self._deadlines = [one for one in self._deadlines if one[2].next is not None]
            heapq.heapify(self._deadlines)

    def _push(self, flow: _Flow) -> None:
        heapq.heappush(self._due, flow.entry())
        heapq.heappush(self._groups.setdefault(flow.group, []), flow.entry())

    def _pop(self, entries: list[tuple]) -> _Flow | None:
        """The most urgent job of a heap, without what is obsolete."""
        while entries:
            *_, turn, flow = heapq.heappop(entries)
            if turn == flow.turn:
                return flow
        return None


class _Batch:
    """Windows that are recognised together, and seconds of those that are not live."""

    def __init__(self, most_s: float, turn_s: float) -> None:
        self.windows: list[tuple[Hashable, Window]] = []
        self.shared_s = 0.0
        self._most_s, self._turn_s = most_s, turn_s
        self._shortest, self._longest, self._of_long = math.inf, 0.0, 0

    @property
    def full(self) -> bool:
        """Whether not even another window as long as those it has is to be added."""
        return self._longest * (len(self.windows) + 1) > self._most_s

    def has_room(self, flow: _Flow) -> bool:
        """Whether the next window of a job can be added."""
        shortest, longest = min(self._shortest, flow.next.seconds), max(self._longest, flow.next.seconds)
        if longest > max(UNLIKE * shortest, shortest + UNLIKE_S) or longest * (len(self.windows) + 1) > self._most_s:
            return False
        return not flow.long or longest * (self._of_long + 1) <= self._turn_s

    def add(self, flow: _Flow, window: Window) -> None:
        """Add a window of a job."""
        self.windows.append((flow.name, window))
        self._shortest, self._longest = min(self._shortest, window.seconds), max(self._longest, window.seconds)
        self._of_long += flow.long
        self.shared_s += 0.0 if flow.live else window.seconds
