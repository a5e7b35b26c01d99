"""Ours and a peer on the same input in one process: equal answers first, then CPU seconds, then their ratio."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

REPEATS = 5
SLOW = 10.0  # CPU seconds: a peer that takes longer is timed SLOW_REPEATS times
SLOW_REPEATS = 2


@dataclass(frozen=True)
class Row:
    """One line of a table of ratios; times are medians of CPU seconds for the whole input."""

    name: str
    peer_name: str
    ours: float
    peer: float
    goal: float  # the ratio aimed at
    answers_equal: bool | None  # None where nothing is to be compared
    note: str = ""

    @property
    def ratio(self) -> float:
        """How many times as long the peer takes."""
        return self.peer / self.ours


def compare(
    name: str,
    ours: Callable[[], Any],
    peer: Callable[[], Any],
    *,
    peer_name: str,
    goal: float,
    same: Callable[[Any, Any], bool],
    repeats: int = REPEATS,
    peer_repeats: int | None = None,
    note: str = "",
) -> Row:
    """Both answers compared, then both timed, in turns so that a busy machine disturbs both alike.

    Both are timed ``repeats`` times, a slow peer less often, or ``peer_repeats`` times; the row's note says how often.

    Raises
    ------
    ValueError
        The answers differ: a ratio of two different things says nothing.
    """
    if not same(ours(), peer()):
        raise ValueError(f"{name}: ours and {peer_name} answer differently; nothing was timed")
    ours_times, peer_times = [], []
    for turn in range(repeats):
        ours_times.append(cpu_seconds(ours))
        if turn < (peer_repeats or (SLOW_REPEATS if peer_times and peer_times[0] > SLOW else repeats)):
            peer_times.append(cpu_seconds(peer))
    note = "; ".join(filter(None, [note, f"peer timed {len(peer_times)} times"]))
    return Row(name, peer_name, statistics.median(ours_times), statistics.median(peer_times), goal, True, note)


def cpu_seconds(work: Callable[[], Any]) -> float:
    """CPU time, of all threads, that one call takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


def markdown(rows: list[Row]) -> str:
    """The rows as a table."""
    lines = ["| search | peer | ours (s) | peer (s) | ratio | goal | |", "|---|---|--:|--:|--:|--:|---|"]
    for row in rows:
        figures = f"{row.ours:.4f} | {row.peer:.4f} | {row.ratio:.1f} x | {row.goal:g} x"
        lines.append(f"| {row.name} | {row.peer_name} | {figures} | {row.note} |")
    return "\n".join(lines)
