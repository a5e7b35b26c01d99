"""Our searchers beside their peers: the same weights, the same options, equal answers, the ratio of CPU times.

Run with OMP_NUM_THREADS=1, so that CPU time is work and not waiting::

    python benchmarks/decoding.py              # all rows; writes benchmarks/results/decoding.md
    python benchmarks/decoding.py --quick      # a subset in under two minutes, nothing written
    python benchmarks/decoding.py --only ctc --json rows.json
"""

from __future__ import annotations

import torch
from side_by_side import report

PARTS = ("attention", "ctc", "transducer")


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    report("decoding", __doc__, PARTS, arguments)


if __name__ == "__main__":
    main()
