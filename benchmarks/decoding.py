"""Our searchers beside their peers: the same weights, the same options, equal answers, the ratio of CPU times.

Run with OMP_NUM_THREADS=1, so that CPU time is work and not waiting::

    python benchmarks/decoding.py              # all rows; writes benchmarks/results/decoding.md
    python benchmarks/decoding.py --quick      # a subset in under two minutes, nothing written
    python benchmarks/decoding.py --only ctc --json rows.json
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from side_by_side import Row, markdown

PARTS = ("attention", "ctc", "transducer")  # a module each: decoding_<part>.py, with rows(quick) -> Iterator[Row]
RESULTS = Path(__file__).parent / "results/decoding.md"


def main(arguments: list[str] | None = None) -> None:
    """Print a row as soon as it is measured, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a subset in under two minutes")
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows there")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = measure([options.only] if options.only else list(PARTS), quick=options.quick)
    print(markdown(rows))
    if options.json:
        fields = [asdict(row) | {"ratio": row.ratio} for row in rows]
        options.json.write_text(json.dumps(fields, indent=1))
    if not (options.quick or options.only):
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(above_table() + markdown(rows) + "\n")


def above_table() -> str:
    """What somebody wrote above the table, which is kept."""
    written = RESULTS.read_text() if RESULTS.exists() else ""
    return written[: written.index("| search |")] if "| search |" in written else written


def measure(parts: list[str], *, quick: bool) -> list[Row]:
    """The rows of these parts, printed while they are measured."""
    rows = []
    for part in parts:
        for row in importlib.import_module(f"decoding_{part}").rows(quick):
            print(f"{row.name} | {row.peer_name}: {row.ratio:.1f} x (goal {row.goal:g} x)", file=sys.stderr, flush=True)
            rows.append(row)
    return rows


if __name__ == "__main__":
    main()
