"""Ours and a peer on the same input in one process: equal answers first, then CPU seconds, then their ratio.

A table of ratios has a script, `<table>.py`, and parts of it, `<table>_<part>.py` with `rows(quick) -> Iterator[Row]`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

REPEATS = 5
SLOW = 10.0  # CPU seconds: a peer that takes longer is timed SLOW_REPEATS times
SLOW_REPEATS = 2


@dataclass(frozen=True)
class Row:
    """One line of a table of ratios; times are medians of CPU seconds for the whole input, unless it says more."""

    name: str
    peer_name: str
    ours: float
    peer: float
    goal: float | None  # the ratio aimed at
    answers_equal: bool | None  # None where nothing is to be compared
    note: str = ""
    unit: str = "s"
    most: float | None = None  # aimed at for ours, in that unit
    more_is_better: bool = False  # of what is done in a second

    @property
    def ratio(self) -> float:
        """How many times as much the peer takes, or ours does."""
        return self.ours / self.peer if self.more_is_better else self.peer / self.ours

    @property
    def aim(self) -> str:
        """The goal in words."""
        at_most = None if self.most is None else f"at most {self.most:g} {self.unit}"
        return ", ".join(filter(None, [at_most, None if self.goal is None else f"{self.goal:g} x"]))


def compare(
    name: str,
    ours: Callable[[], Any],
    peer: Callable[[], Any],
    *,
    peer_name: str,
    goal: float | None,
    same: Callable[[Any, Any], bool],
    repeats: int = REPEATS,
    peer_repeats: int | None = None,
    note: str = "",
    most: float | None = None,
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
    ours_time, peer_time = statistics.median(ours_times), statistics.median(peer_times)
    return Row(name, peer_name, ours_time, peer_time, goal, True, note, most=most)


def cpu_seconds(work: Callable[[], Any]) -> float:
    """CPU time, of all threads and of the processes that it starts and waits for, that one call takes."""
    began = _cpu_clock()
    work()
    return _cpu_clock() - began


def _cpu_clock() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def report(
    table: str,
    description: str,
    parts: Sequence[str],
    arguments: list[str] | None = None,
    *,
    add_options: Callable[[argparse.ArgumentParser], None] | None = None,
) -> None:
    """The command line of a table: prints a row as soon as it is measured, then all of them.

    Options that a table adds are arguments of its parts, ``rows(quick, **options)``.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a subset in under two minutes")
    parser.add_argument("--only", choices=parts, help="one part")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows there")
    known = {option.dest for option in parser._actions}
    if add_options:
        add_options(parser)
    options = parser.parse_args(arguments)
    more = {name: value for name, value in vars(options).items() if name not in known}
    rows = []
    for part in [options.only] if options.only else parts:
        for row in importlib.import_module(f"{table}_{part}").rows(options.quick, **more):
            print(
                f"{row.name} | {row.peer_name}: {times(row.ratio)} (goal {row.aim or 'none'})",
                file=sys.stderr,
                flush=True,
            )
            rows.append(row)
    print(markdown(rows))
    if options.json:
        fields = [asdict(row) | {"ratio": row.ratio} for row in rows]
        options.json.write_text(json.dumps(fields, indent=1))
    if not (options.quick or options.only):
        results = Path(__file__).parent / f"results/{table}.md"
        results.parent.mkdir(exist_ok=True)
        results.write_text(above_table(results) + markdown(rows) + "\n")


def above_table(results: Path) -> str:
    """What somebody wrote above the table, which is kept."""
    written = results.read_text() if results.exists() else ""
    return re.split(r"^\| ", written, maxsplit=1, flags=re.MULTILINE)[0]


def times(ratio: float) -> str:
    """Finer where goals are close: ``1.25 x``, ``183.3 x``."""
    return f"{ratio:.{2 if ratio < 10 else 1}f} x"


def markdown(rows: list[Row]) -> str:
    """The rows as a table."""
    lines = ["| what | peer | ours | peer's | ratio | goal | |", "|---|---|--:|--:|--:|--:|---|"]
    for row in rows:
        digits = 4 if row.unit == "s" else 1
        figures = " | ".join(f"{value:.{digits}f} {row.unit}" for value in (row.ours, row.peer))
        lines.append(f"| {row.name} | {row.peer_name} | {figures} | {times(row.ratio)} | {row.aim} | {row.note} |")
    return "\n".join(lines)
