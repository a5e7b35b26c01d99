"""Our data loading beside Lhotse's and SpeechBrain's: the same manifests and audio, CPU seconds, and what they promise.

Run with OMP_NUM_THREADS=1; nothing is timed before it was checked that no batch of ours exceeds the cap, that no
utterance is lost or repeated, and that audio is the same::

    python benchmarks/dataloading.py              # all rows, with 6 GB in $TMPDIR; writes results/dataloading.md
    python benchmarks/dataloading.py --quick      # a subset in under two minutes, nothing written
    python benchmarks/dataloading.py --only audio --json rows.json
"""

from __future__ import annotations

import warnings

import torch
from side_by_side import report

PARTS = ("sampling", "resuming", "memory", "audio", "shards", "training")


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")  # of the peers
    report("dataloading", __doc__, PARTS, arguments)


if __name__ == "__main__":
    main()
