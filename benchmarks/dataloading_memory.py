"""Peak memory of a process that samples a large manifest, above what its imports take."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from dataloading_corpus import Corpus, write_corpus
from footprint import footprint
from side_by_side import Row

FIRST = 500  # batches that are read


def rows(quick: bool) -> Iterator[Row]:
    """The index built, and the first batches of an epoch."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = write_corpus(Path(folder) / "cuts.jsonl", 100_000 if quick else 1_000_000)
        ours, lhotse = footprint(sample, corpus.path), footprint(sample_with_lhotse, corpus.path)
        if not ours.answer > 1000 < lhotse.answer:
            raise ValueError("there were no batches")
        yield Row(
            f"peak memory, manifest of {len(corpus.lengths):,} lines, index built, {FIRST} batches",
            "Lhotse DynamicBucketingSampler, no index",
            ours.megabytes,
            lhotse.megabytes,
            goal=None,
            answers_equal=None,
            unit="MB",
            most=400,
        )


def sample(path: Path) -> int:
    """Cuts in the first batches of ours, the index being built first."""
    corpus = Corpus(path, np.empty(0))
    source, sampler = corpus.opened()
    return sum(len([source[number] for number in batch]) for _, batch in islice(sampler, FIRST))


def sample_with_lhotse(path: Path) -> int:
    """Cuts in the first batches of Lhotse's."""
    return sum(len(batch) for batch in islice(Corpus(path, np.empty(0)).lhotse(), FIRST))
