"""The batches of an epoch as numbers of examples, before any of them is built.

A plan is a function of the lengths, the caps, the seed, the epoch and the rank. It takes 0.1 s for a million examples,
so that a run enters an epoch at any batch by planning it again.

::

    buckets = Buckets.by_length(lengths, Caps(duration=300.0), duration_bins(lengths, 30))
    draw = EveryExample(len(lengths), seed=1)(epoch=0)
    for numbers in plan_batches(draw, buckets, seed=(1, 0), rank=0, world_size=8):
        ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from toolkit.dataio.buckets import ROUNDING, Buckets, Caps, Unsorted


@dataclass(frozen=True)
class Draw:
    """The examples of an epoch in random order, where those of a window lie together in the storage.

    Attributes
    ----------
    numbers
        (M,) int64 examples; infinite data may hold some twice.
    windows
        How many parts of equal size there are for all ranks together; 1 where examples may be read in any order.
    """

    numbers: np.ndarray
    windows: int = 1


def generator(*words: int) -> np.random.Generator:
    """Random numbers that depend on these whole numbers alone, in any process."""
    return np.random.default_rng([word % 2**32 for word in words])  # which wants no negative ones


class Plan(Sequence[np.ndarray]):
    """Batches: ``plan[j]`` is the (B,) int64 numbers of its examples."""

    def __init__(self, order: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> None:
        self.order, self.starts, self.ends = order, starts, ends

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, batch: int) -> np.ndarray:
        return self.order[self.starts[batch] : self.ends[batch]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[batch] for batch in range(len(self)))

    def take(self, batches: np.ndarray) -> Plan:
        """The plan of these batches in this order."""
        return Plan(self.order, self.starts[batches], self.ends[batches])


def plan_longest_first(
    lengths: np.ndarray, batches: Caps | Buckets, *, drop_last: bool = False, rank: int = 0, world_size: int = 1
) -> Plan:
    """From the longest example to the shortest, each batch as full as it can be; the ranks take them in turns.

    All ranks get the same number of batches, as of :func:`plan_batches`.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    if isinstance(batches, Buckets):
        plan = _pack(order, batches)
    else:
        plan = _cut(order, batches.fitting(np.asarray(lengths)[order]), [len(order)], drop_last=drop_last)
    rounds = len(plan) // world_size if drop_last else -(-len(plan) // world_size)
    plan = plan.take(np.arange(rounds * world_size)) if drop_last else _grow(plan, rounds * world_size)
    return plan.take(np.arange(rank, rounds * world_size, world_size))


def plan_batches(
    draw: Draw, buckets: Buckets | Unsorted, seed: Sequence[int], *, rank: int = 0, world_size: int = 1
) -> Plan:
    """One rank's batches of the examples drawn: of one bucket each, in random order, window after window.

    The draw is cut into chunks of about a window, which the ranks take in turns. All ranks get the same number of
    batches: where chunks make fewer, the largest are halved (or, with ``drop_last``, some of the others left out). Only
    a rank that has nothing but batches of one example left sees some of them twice.
    """
    numbers = draw.numbers
    if 0 < len(numbers) < world_size:
        numbers = np.resize(numbers, world_size)  # repeats them
    chunks = max(1, min(draw.windows, len(numbers)) // world_size) * world_size
    bounds = np.arange(chunks + 1) * len(numbers) // chunks
    counts = _count(buckets, numbers, bounds).reshape(-1, world_size).sum(axis=0)
    parts = [numbers[bounds[chunk] : bounds[chunk + 1]] for chunk in range(rank, chunks, world_size)]
    if draw.windows > 1:
        parts = [generator(*seed, rank, number).permutation(part) for number, part in enumerate(parts)]
    plan, window = _join([_pack(part, buckets) for part in parts])
    # The same for every rank, so that the batches of one step are about equally long on all of them.
    rng = generator(*seed, chunks)
    if buckets.drop_last:
        kept = np.sort(rng.permutation(len(plan))[: counts.min()])
        plan, window = plan.take(kept), window[kept]
    else:
        plan, window = _grow_windows(plan, window, int(counts.max(initial=0)))
    return plan.take(np.lexsort((rng.random(len(plan)), window)))


def _count(buckets: Buckets | Unsorted, numbers: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """(C,) int64: batches that each chunk of examples makes."""
    spans = [numbers[start:end] for start, end in pairwise(bounds)]
    if isinstance(buckets, Unsorted):
        return np.array([len(_pack(span, buckets)) for span in spans])
    kinds = len(buckets.sizes)
    return buckets.count_batches(np.stack([np.bincount(buckets.numbers[span], minlength=kinds) for span in spans]))


def _pack(numbers: np.ndarray, buckets: Buckets | Unsorted) -> Plan:
    """The batches of one chunk of examples, bucket after bucket."""
    if isinstance(buckets, Unsorted):
        return _fill(numbers, buckets)
    order = numbers[np.argsort(buckets.numbers[numbers], kind="stable")]
    sorted_buckets = buckets.numbers[order]
    fitting = buckets.sizes[sorted_buckets]
    breaks = [len(order)] if buckets.nested else [*(np.flatnonzero(np.diff(sorted_buckets)) + 1), len(order)]
    return _cut(order, fitting, breaks, drop_last=buckets.drop_last)


def _fill(order: np.ndarray, unsorted: Unsorted) -> Plan:
    """Batches of ``order`` (M,) as it is, each as full as it can be."""
    caps = unsorted.caps
    duration = np.inf if caps.duration is None else caps.duration + ROUNDING
    size = np.inf if caps.size is None else caps.size
    starts, start, longest = [], 0, 0.0
    for place, length in enumerate(caps.effective(unsorted.lengths[order]).tolist()):
        count, longest = place - start + 1, max(longest, length)
        if place == 0 or count > size or count * longest > duration:
            start, longest = place, length
            starts.append(place)
    ends = [*starts[1:], *([len(order)] if starts else [])]
    plan = Plan(order, np.array(starts, np.int64), np.array(ends, np.int64))
    return plan.take(np.arange(len(plan) - _has_room(plan, unsorted))) if unsorted.drop_last else plan


def _has_room(plan: Plan, unsorted: Unsorted) -> bool:
    """Whether one more example as long as its longest would fit the last batch."""
    if not len(plan):
        return False
    batch = plan[len(plan) - 1]
    return len(batch) < unsorted.caps.fitting(unsorted.lengths[batch].max()).item()


def _cut(order: np.ndarray, fitting: np.ndarray, breaks: Sequence[int], *, drop_last: bool) -> Plan:
    """Batches of ``order`` (M,), each as long as ``fitting`` (M,) says where it starts, and none across a break."""
    starts, ends, start = [], [], 0
    for stop in breaks:
        while start < stop:
            starts.append(start)
            start = min(start + fitting.item(start), stop)
            ends.append(start)
    plan = Plan(order, np.array(starts, np.int64), np.array(ends, np.int64))
    return plan.take(np.flatnonzero(plan.ends - plan.starts == fitting[plan.starts])) if drop_last else plan


def _join(plans: Sequence[Plan]) -> tuple[Plan, np.ndarray]:
    """One plan of several, and the number (B,) of the one that each batch is of."""
    offsets = np.cumsum([0, *(len(plan.order) for plan in plans)])
    starts = [plan.starts + offset for plan, offset in zip(plans, offsets, strict=False)]
    ends = [plan.ends + offset for plan, offset in zip(plans, offsets, strict=False)]
    joined = Plan(np.concatenate([plan.order for plan in plans]), np.concatenate(starts), np.concatenate(ends))
    return joined, np.repeat(np.arange(len(plans)), [len(plan) for plan in plans])


def _grow(plan: Plan, count: int) -> Plan:
    """The plan with ``count`` batches: the largest halved, one at a time; those of one example again."""
    return _grow_windows(plan, np.zeros(len(plan)), count)[0]


def _grow_windows(plan: Plan, window: np.ndarray, count: int) -> tuple[Plan, np.ndarray]:
    """The same, with the window (B,) of each batch."""
    starts, ends = plan.starts, plan.ends
    while len(starts) < count:
        largest = int(np.argmax(ends - starts))
        middle = (starts[largest] + ends[largest]) // 2
        if middle > starts[largest]:
            starts, ends = np.insert(starts, largest + 1, middle), np.insert(ends, largest, middle)
            window = np.insert(window, largest, window[largest])
        else:
            again = len(starts) % len(plan)
            starts, ends, window = (np.append(values, values[again]) for values in (starts, ends, window))
    return Plan(plan.order, starts, ends), window
