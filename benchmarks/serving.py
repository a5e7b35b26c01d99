"""Our service beside one that has one request at a time: the same model in the same Transcriber, on the same machine.

    python benchmarks/serving.py                # all rows, half an hour; writes benchmarks/results/serving.md
    python benchmarks/serving.py --quick        # a subset in two minutes, nothing written
    python benchmarks/serving.py --only load --model recipes/AN4/results/ctc --json rows.json
    python benchmarks/serving.py --only soak --soak 3600

Figures are of the clock, so nothing else should run. Clients are a process of their own, and ask on loopback.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from side_by_side import report

PARTS = ("load", "fairness", "soak")
SHIPPED = Path(__file__).parents[1] / "pretrained/an4-small"


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    report("serving", __doc__, PARTS, arguments, add_options=add_options)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of this table."""
    parser.add_argument("--model", default=str(SHIPPED), help="a model's folder (pretrained/an4-small)")
    parser.add_argument("--soak", type=float, default=0.0, metavar="SECONDS", help="of the soak (600; quick: 20)")


if __name__ == "__main__":
    main()
