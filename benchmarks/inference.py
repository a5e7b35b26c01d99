"""Our transcribers beside SpeechBrain's: one model folder loaded by both, equal transcripts, the ratio of CPU times.

Run with OMP_NUM_THREADS=1, so that CPU time is work and not waiting::

    python benchmarks/inference.py              # all rows, half an hour; writes benchmarks/results/inference.md
    python benchmarks/inference.py --quick      # a subset in under two minutes, nothing written
    python benchmarks/inference.py --only files --json rows.json
"""

from __future__ import annotations

import torch
from side_by_side import report

PARTS = ("start", "files", "streaming", "long")


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    report("inference", __doc__, PARTS, arguments)


if __name__ == "__main__":
    main()
