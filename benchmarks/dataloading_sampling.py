"""Sampling beside Lhotse's DynamicBucketingSampler and SpeechBrain's DynamicBatchSampler."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from dataloading_corpus import BUCKETS, CAP, Batches, Corpus, corpora, numbers
from side_by_side import Row, compare
from speechbrain.dataio.sampler import DynamicBatchSampler

from toolkit.dataio.line_index import LineIndex

LHOTSE, SPEECHBRAIN = "Lhotse DynamicBucketingSampler", "SpeechBrain DynamicBatchSampler"
RANKS = 8


def rows(quick: bool) -> Iterator[Row]:
    """Padding and time of an epoch, and of its first batch."""
    logging.disable(logging.INFO)
    with corpora(*([30_000] if quick else [100_000, 1_000_000])) as (corpus, *larger):
        yield from padding(corpus)
        for one in (corpus, *larger):
            yield first_batch(one)
        yield from epochs(corpus, repeats=1 if quick else 3)


def epochs(corpus: Corpus, repeats: int) -> Iterator[Row]:
    """Whole epochs, with cuts built and without, and the index, which is built once."""
    cuts = f"{len(corpus.lengths):,} cuts"

    def ours() -> list[list[int]]:
        return [batch for _, batch in corpus.sampler()]

    def same(one: Batches, other: Batches) -> bool:
        return corpus.check(one, ours=True) and corpus.check(other, ours=False)

    for name, peer, goal, note in (
        (LHOTSE, lambda: numbers(corpus.lhotse()), 50, "Lhotse cannot but build them"),
        (SPEECHBRAIN, lambda: list(speechbrain(corpus)), None, "it has the durations in memory, ours reads the index"),
    ):
        about = {"peer_name": name, "goal": goal, "same": same, "peer_repeats": repeats, "note": note}
        yield compare(f"an epoch of {cuts}, none built", ours, peer, **about)
    for world_size in (1, RANKS):
        if not ranks_share(corpus, world_size):
            raise ValueError(f"{world_size} ranks do not share the cuts")
        yield compare(
            f"an epoch of {cuts}, all built" + (f", one of {RANKS} ranks" if world_size > 1 else ""),
            lambda world_size=world_size: build(corpus, world_size),
            lambda world_size=world_size: sum(map(len, corpus.lhotse(rank=0, world_size=world_size))),
            peer_name=LHOTSE,
            goal=2 * world_size,
            same=lambda one, other: one > 0 < other,
            repeats=repeats,
        )
    yield index(corpus, repeats)


def padding(corpus: Corpus) -> Iterator[Row]:
    """How much is padded, and how far the cap is exceeded."""
    ours, lhotse = [batch for _, batch in corpus.sampler()], numbers(corpus.lhotse())
    if not corpus.check(ours, ours=True):
        raise ValueError("ours exceed the cap, or lose or repeat a cut")
    peers = {LHOTSE: lhotse, SPEECHBRAIN: list(speechbrain(corpus))}
    for name, theirs in peers.items():
        padded = corpus.padding(ours), corpus.padding(theirs)
        yield Row(f"padding, {BUCKETS} buckets", name, *padded, None, None, unit="%", most=1.8)
        largest = max(corpus.padded(ours)), max(corpus.padded(theirs))
        yield Row(f"largest batch, cap {CAP:g} s", name, *largest, None, None, most=CAP)


def speechbrain(corpus: Corpus) -> DynamicBatchSampler:
    """SpeechBrain's sampler, with the durations in memory."""
    return DynamicBatchSampler(
        corpus.lengths, CAP, BUCKETS, lengths_list=corpus.lengths.tolist(), shuffle=True, batch_ordering="random"
    )


def first_batch(corpus: Corpus) -> Row:
    """From the paths to the first batch of cuts."""

    def ours() -> list[str]:
        source, sampler = corpus.opened()
        return [source[number].id for number in next(iter(sampler))[1]]

    return compare(
        f"first batch of {len(corpus.lengths):,} cuts",
        ours,
        lambda: [cut.id for cut in next(iter(corpus.lhotse()))],
        peer_name=LHOTSE,
        goal=5,
        most=0.2,
        same=lambda one, other: len(one) > 0 < len(other),
        note="index present",
    )


def build(corpus: Corpus, world_size: int) -> int:
    """The number of the cuts of the first rank, which are built batch after batch."""
    source, sampler = corpus.opened(rank=0, world_size=world_size)
    return sum(len([source[number] for number in batch]) for _, batch in sampler)


def ranks_share(corpus: Corpus, world_size: int) -> bool:
    """Whether the ranks have every cut once, in as many batches each."""
    samplers = [corpus.sampler(rank=rank, world_size=world_size) for rank in range(world_size)]
    batches = [batch for sampler in samplers for _, batch in sampler]
    return len({len(sampler) for sampler in samplers}) == 1 and corpus.check(batches, ours=True)


def index(corpus: Corpus, repeats: int) -> Row:
    """What is paid once for a manifest."""
    seconds = corpus.source().lengths

    def scan() -> LineIndex:
        for cache in corpus.path.parent.glob(f"{corpus.path.name}.*.npz"):
            cache.unlink()
        return corpus.source().index

    return compare(
        f"the index of {len(seconds):,} cuts, once",
        scan,
        lambda: [cut.duration for cut in corpus.lhotse().cuts[0]],
        peer_name="one pass of Lhotse over the manifest",
        goal=None,
        same=lambda ours, theirs: ours.lengths.tolist() == theirs == seconds.tolist(),
        repeats=repeats,
    )
