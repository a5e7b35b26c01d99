"""Going on in the middle of an epoch, beside Lhotse's samplers, which replay it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import islice

from dataloading_corpus import Corpus, corpora, numbers
from side_by_side import Row, compare


def rows(quick: bool) -> Iterator[Row]:
    """The next batch after half of an epoch."""
    with corpora(100_000 if quick else 1_000_000) as (corpus,):
        batches = len(corpus.sampler()) // 2
        state = stopped(corpus, batches)
        yield compare(
            f"resuming in the middle of an epoch of {len(corpus.lengths):,} cuts",
            lambda: resumed(corpus, batches),
            lambda: replayed(corpus, state),
            peer_name="Lhotse DynamicBucketingSampler.load_state_dict",
            goal=None,
            most=0.3,
            same=lambda ours, _: ours == expected(corpus, batches),
            peer_repeats=1,
            note="index present; the batch is the one that the uninterrupted epoch has there",
        )


def expected(corpus: Corpus, batches: int) -> list[int]:
    """The batch after the first ``batches`` of an uninterrupted epoch 3."""
    sampler = corpus.sampler()
    sampler.seek(3)
    return next(islice(iter(sampler), batches, None))[1]


def resumed(corpus: Corpus, batches: int) -> list[int]:
    """The same, entered there, its cuts built."""
    source, sampler = corpus.opened()
    sampler.seek(3, batches)
    return [int(source[number].id) for number in next(iter(sampler))[1]]


def stopped(corpus: Corpus, batches: int) -> dict:
    """Lhotse's state after so many batches: that after one, which has counted on, to save the minutes to get there."""
    sampler = corpus.lhotse()
    next(iter(sampler))
    sampler.diagnostics.current_epoch_stats.kept_batches = batches
    return sampler.state_dict()


def replayed(corpus: Corpus, state: dict) -> list[list[int]]:
    """Lhotse's next batch."""
    sampler = corpus.lhotse()
    sampler.load_state_dict(copy.deepcopy(state))
    return numbers([next(iter(sampler))])
