"""Batches of data that can only be read from its beginning: HuggingFace's streams, shards behind pipes, own iterators.

Every process reads the whole stream in the same order and makes the same batches, of which each takes its share and
loads the audio of no other: so nothing is lost or repeated, all ranks get as many, and a run goes on at any batch with
any number of workers, once what lies before it in its epoch is read again. Data without end is one epoch: a run that
has had a million batches of it reads those again. ``force_finite: true`` makes an epoch of each pass, so that at most
one pass is; what costs too much even so needs an index.

What has an index and is blended with such a stream is drawn by number, and built by those who use it alone, unless its
tokens have to be counted.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from lhotse import CutSet
from lhotse.dataset.sampling.base import SamplingConstraint
from lhotse.dataset.sampling.dynamic_bucketing import DynamicBucketer, FixedBucketBatchSizeConstraint

from toolkit.dataio.bins import duration_bins
from toolkit.dataio.blend import Blend, on_sources, sources_of
from toolkit.dataio.config import DataConfig
from toolkit.dataio.cut_audio import bytes_in_memory
from toolkit.dataio.draws import EveryExample
from toolkit.dataio.epochs import NO_FULL_BATCH, SeekableSampler
from toolkit.dataio.indexed import Indexed, Unbuilt
from toolkit.dataio.length_filters import BucketingFilter
from toolkit.dataio.preparation import Filtered
from toolkit.dataio.sampling import constraint_of
from toolkit.errors import DataError

# Audio that waits in the buffers of a process (bytes): 10,000 utterances of a tar would be 4.6 GB and 30 s.
_BUFFERED_BYTES = 256 << 20

# Examples whose audio tells how many these are, where no bins have to be found.
_LOOKED_AT = 16

Batches = Iterator[list[Any]]


class StreamSampler(SeekableSampler):
    """(epoch, examples) of each batch of a stream on this rank.

    Parameters
    ----------
    examples
        What :func:`~toolkit.dataio.preparation.prepare_cuts` made, with at least one stream among its sources.
    config
        Its configuration, with seeds that are numbers.
    where
        Its name, for messages.
    rank, world_size
        The place of this process among those that share the batches.
    """

    def __init__(self, examples: CutSet, config: DataConfig, where: str, *, rank: int = 0, world_size: int = 1) -> None:
        super().__init__()
        data = sources_of(examples)
        self.endless = isinstance(data, Blend) and not data.finite
        self.config, self.where, self.rank, self.world_size = config, where, rank, world_size
        if isinstance(constraint_of(config), FixedBucketBatchSizeConstraint):
            filters = {"bucket_duration_bins": BucketingFilter(constraint_of(config))}
            examples = on_sources(examples, partial(Filtered, filters=filters, where=where))
        self.examples = examples
        self.bins, self.buffered = self._look()

    def batches(self, epoch: int, skipped: int = 0) -> Iterator[tuple[int, list[Any]]]:
        """(epoch, examples) from batch number ``skipped`` of ``epoch`` on."""
        return islice(self._passes(epoch), skipped, None)

    def _passes(self, epoch: int) -> Iterator[tuple[int, list[Any]]]:
        """All batches of an epoch; of what is endless but ends, those of the epochs after it, too."""
        while True:
            is_empty = True
            for batches in in_rounds(self._all(epoch), self.world_size, drop_last=self.config.drop_last):
                is_empty = False
                yield epoch, batches[self.rank]
            if not self.endless:
                return
            if is_empty:
                raise DataError(NO_FULL_BATCH)
            epoch += 1

    def count(self, epoch: int) -> int:  # noqa: ARG002 (of no epoch)
        """Nobody knows.

        Raises
        ------
        TypeError
            Always.
        """
        what = "endless data" if self.endless else "what can only be read from its beginning"
        raise TypeError(f"{self.where}: {what} has no known number of batches")

    def _all(self, epoch: int) -> Batches:
        """The batches of all ranks."""
        _begin(self.examples, epoch)
        rng, constraint = random.Random(f"{self.config.seed}/{epoch}"), constraint_of(self.config)
        examples, shuffle = iter(self.examples), self.config.shuffle
        if not self.config.use_bucketing:
            if shuffle and self.config.shuffle_buffer_size is not None:
                examples = shuffled(examples, rng, min(self.buffered, self.config.shuffle_buffer_size))
            return filled(examples, constraint, drop_last=self.config.drop_last)
        bucketer = DynamicBucketer(
            examples,
            duration_bins=self.bins,
            world_size=1,
            constraint=constraint,
            drop_last=self.config.drop_last,
            buffer_size=min(self.buffered, self.config.bucket_buffer_size),
            shuffle=shuffle,
            rng=rng,
            bucket_rng=random.Random(rng.random()),
            concurrent=False,  # hangs when reading fails
        )
        return map(list, bucketer)

    def _look(self) -> tuple[list[Any], int]:
        """Ends of the bins, and how many examples fit the buffers.

        Raises
        ------
        DataError
            There is no example.
        """
        given = self.config.bucket_duration_bins
        estimated = given is None and self.config.use_bucketing
        lengths, total, constraint = [], 0, constraint_of(self.config)
        wanted = self.config.num_cuts_for_bins_estimate if estimated else _LOOKED_AT
        _begin(self.examples, 0)
        for example in islice(self.examples, wanted):
            lengths.append(constraint.measure_length(example) if estimated else 0.0)
            total += bytes_in_memory(example)
            if total > _BUFFERED_BYTES:
                break
        if not lengths:
            raise DataError(f"{self.where}: holds no example")
        fitting = max(1, _BUFFERED_BYTES * len(lengths) // max(total, 1))
        if estimated:
            return duration_bins(np.array(lengths), self.config.num_buckets).tolist(), fitting
        return getattr(constraint, "max_seq_len_buckets", given or []), fitting


class Streamed:
    """The examples of an Indexed as a stream, in another order in each pass where ``shuffle`` is set.

    ``lazily``, they are :class:`~toolkit.dataio.indexed.Unbuilt`: what a run has had, or what another rank has, costs
    no more than its number.
    """

    def __init__(self, source: Indexed[Any], *, shuffle: bool, seed: int, lazily: bool = False) -> None:
        self.source, self.shuffle, self.lazily = source, shuffle, lazily
        self.draw = EveryExample(len(source), seed=seed, pieces=source.pieces)
        self.passes = 0

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Any]:
        order = self.draw(self.passes).numbers if self.shuffle else range(len(self.source))
        self.passes += 1
        return (self._example(int(number)) for number in order)

    def _example(self, number: int) -> Any:
        return Unbuilt(self.source, number) if self.lazily else self.source[number]


def _begin(data: Any, epoch: int) -> None:
    """Have readers that shuffle anew in each pass begin with the pass of an epoch, in whatever process.

    Readers of other people's are told by ``set_epoch``, where they have it, as Lhotse's of shards.
    """
    if isinstance(data, Streamed):
        data.passes = epoch
    elif hasattr(data, "set_epoch"):
        data.set_epoch(epoch)
    elif type(data).__module__.startswith(("lhotse.", "toolkit.")):
        inner = (getattr(data, name, None) for name in ("data", "source", "iterator"))
        for one in [*inner, *getattr(data, "sources", ()), *getattr(data, "iterators", ())]:
            _begin(one, epoch)


def shuffled(examples: Iterable[Any], rng: random.Random, size: int) -> Iterator[Any]:
    """The examples in about random order, by a buffer that is filled while its first ones are used already."""
    buffer: list[Any] = []
    for number, example in enumerate(examples):
        buffer.append(example)
        if len(buffer) >= size or number % 2:
            place = rng.randrange(len(buffer))
            buffer[place], buffer[-1] = buffer[-1], buffer[place]
            yield buffer.pop()
    rng.shuffle(buffer)
    yield from buffer


def filled(examples: Iterable[Any], constraint: SamplingConstraint, *, drop_last: bool) -> Batches:
    """Batches of the examples as they come, each as full as it can be; the last one, with ``drop_last``, if it is."""
    batch: list[Any] = []
    constraint.reset()
    for example in examples:
        constraint.add(example)
        if constraint.exceeded() and batch:
            yield batch
            constraint.reset()
            constraint.add(example)
            batch = []
        batch.append(example)
    if batch and (not drop_last or constraint.close_to_exceeding()):
        yield batch


def in_rounds(batches: Batches, size: int, *, drop_last: bool) -> Iterator[list[list[Any]]]:
    """``size`` batches at a time; the largest of the last full round are halved where too few are left over.

    With ``drop_last`` those are left out. Only where all are of one example, some come twice.
    """
    held: list[list[Any]] = []
    while taken := list(islice(batches, size)):
        if len(taken) == size:
            if held:
                yield held
            held = taken
            continue
        if not drop_last:
            held = _halved([*held, *taken], -(-(len(held) + len(taken)) // size) * size)
    yield from (held[first : first + size] for first in range(0, len(held), size))


def _halved(batches: list[list[Any]], count: int) -> list[list[Any]]:
    """So many batches of the examples of fewer."""
    batches, whole = list(batches), len(batches)
    while len(batches) < count:
        largest = max(range(len(batches)), key=lambda number: len(batches[number]))
        batch = batches[largest]
        if len(batch) > 1:
            batches[largest : largest + 1] = [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
        else:
            batches.append(batches[len(batches) % whole])
    return batches
