"""The hash tables of kenlm's binary files, which say of which words their entries are only to those who ask.

The key of an n-gram is ``w_n`` alone for a single word, and with the words before it, one at a time from the last::

    key(w_1 ... w_n) = key(w_2 ... w_n) * MULTIPLY  xor  (1 + w_1) * SPREAD        modulo 2^64

So all n-grams are found from those that are one word shorter: each that is known to be continued to the left, with each
that it overlaps in all but a word and that is known to be continued to the right, is looked up.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from toolkit.compiled import compiled
from toolkit.errors import ModelError
from toolkit.models.kenlm_header import Header, Level

MULTIPLY, SPREAD = np.uint64(8978948897894561157), np.uint64(17894857484156487943)
SIGN = np.uint32(1 << 31)  # of log10 p: nothing continues the n-gram to the left; of a zero: nothing to the right
BITS_PER_KEY = 64  # of each of two sets of hashes that are asked before a table: one wrong key in so many passes a set
TILE = 256  # keys of either side whose pairs are tried together, so that they need the same small part of the first set
PAIRS_AT_ONCE = 10**9  # between two steps of the progress bar
ONE, SIX, LOW_SIX = np.uint64(1), np.uint64(6), np.uint64(63)
Keys = NDArray[np.uint64]


class ProbingSearch:
    """The n-grams of a file with hash tables; ``end`` is where they end."""

    def __init__(self, data: np.ndarray, header: Header) -> None:
        self.counts = counts = header.counts
        values = [("logp", "<f4"), ("backoff", "<f4"), *([("rest", "<f4")] if header.kind == 1 else [])]
        value = np.dtype(values)
        at = header.size + 8 + 12 * _buckets(counts[0], header.multiplier)  # after the hashes of the words
        self.unigrams = data[at : at + counts[0] * value.itemsize].view(value)
        at += (counts[0] + 1) * value.itemsize
        self.tables = []
        for order, count in enumerate(counts[1:], start=2):
            entry = np.dtype([("key", "<u8"), *(values if order < len(counts) else values[:1])])
            size = _buckets(count, header.multiplier) * entry.itemsize
            self.tables.append(data[at : at + size].view(entry))
            at += size
        self.end = at

    def levels(self) -> Iterator[Level]:
        """The n-grams of each order, from single words on."""
        words, values = np.arange(self.counts[0])[:, None], self.unigrams
        yield words, *_numbers(values)
        for order, table in enumerate(self.tables, start=2):
            entries = table[table["key"] != 0]  # zero marks an empty bucket
            entries = entries[np.argsort(entries["key"])]
            ends = np.flatnonzero(values["logp"].view(np.uint32) & SIGN == 0)
            begins = np.flatnonzero(values["backoff"].view(np.uint32) != SIGN)
            found = _overlapping(words, ends, begins, np.ascontiguousarray(entries["key"]))
            if len(found) != len(entries):  # there can be more than the header says, where contexts were put in
                raise ModelError(
                    f"the words of {len(found)} of {len(entries)} {order}-grams were found; give the ARPA file instead"
                )
            values = entries[found[:, 2]]
            words = np.concatenate([words[found[:, 1], :1], words[found[:, 0]]], axis=1)
            yield words, *_numbers(values)


def _numbers(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log10 p (M,) and log10 back-offs (M,)."""
    logp = (np.ascontiguousarray(values["logp"]).view(np.uint32) | SIGN).view(np.float32)
    backoff = values["backoff"] if "backoff" in values.dtype.names else np.zeros(len(values))
    return logp.astype(np.float64), backoff.astype(np.float64)


def _buckets(entries: int, multiplier: float) -> int:
    """How many places a hash table has."""
    return max(entries + 1, int(np.float32(multiplier) * np.float32(entries)))


def _keys(words: np.ndarray) -> Keys:
    """The keys (M,) of n-grams (M, n); zeros of empty ones."""
    columns = words.astype(np.uint64).T[::-1]
    keys = columns[0] if len(columns) else np.zeros(len(words), np.uint64)
    for column in columns[1:]:
        keys = keys * MULTIPLY ^ (column + ONE) * SPREAD
    return keys


def _overlapping(words: np.ndarray, ends: np.ndarray, begins: np.ndarray, sought: Keys) -> np.ndarray:
    """Pairs of n-grams that make up a longer one with a key that is sought.

    Parameters
    ----------
    words
        (M, n) n-grams.
    ends, begins
        Which of them may end and begin longer ones.
    sought
        (K,) keys, ascending.

    Returns
    -------
    ndarray
        (F, 3): the n-gram that ends the longer one, the n-gram that begins it, and which of the keys it has.
    """
    right, left = _keys(words[ends]) * MULTIPLY, (words[begins, 0].astype(np.uint64) + ONE) * SPREAD
    right_middle, left_middle = _keys(words[ends, :-1]), _keys(words[begins, 1:])
    by_right, by_left = np.lexsort((right, right_middle)), np.lexsort((left, left_middle))
    right_middle, left_middle = right_middle[by_right], left_middle[by_left]
    shared = np.intersect1d(right_middle, left_middle)
    jobs = _jobs(
        *(np.searchsorted(right_middle, shared, side) for side in ("left", "right")),
        *(np.searchsorted(left_middle, shared, side) for side in ("left", "right")),
    )
    found, count = np.empty((len(sought), 3), np.int64), 0
    first, second = _sets(sought)
    sizes = np.cumsum((jobs[:, 1] - jobs[:, 0]) * (jobs[:, 3] - jobs[:, 2]))
    name = f"{words.shape[1] + 1}-grams of hash tables"
    with tqdm(
        total=int(sizes[-1]) if len(sizes) else 0,
        desc=name,
        unit="pair",
        unit_scale=True,
        delay=2,
        leave=False,
        disable=None,
    ) as bar:  # None: on a terminal only
        for part in np.split(jobs, np.flatnonzero(np.diff(sizes // PAIRS_AT_ONCE)) + 1):
            count = _find(part, right[by_right], left[by_left], (sought, first, second), found, count)
            bar.update(int(((part[:, 1] - part[:, 0]) * (part[:, 3] - part[:, 2])).sum()))
    found = found[:count]
    return np.stack([ends[by_right[found[:, 0]]], begins[by_left[found[:, 1]]], found[:, 2]], axis=1)


def _jobs(right_start: np.ndarray, right_end: np.ndarray, left_start: np.ndarray, left_end: np.ndarray) -> np.ndarray:
    """(J, 4): parts of at most `TILE` keys of the right, with all keys of the left that they go with."""
    parts = -(-(right_end - right_start) // TILE)
    group = np.repeat(np.arange(len(parts)), parts)
    number = np.arange(len(group)) - np.repeat(np.cumsum(parts) - parts, parts)
    start = right_start[group] + TILE * number
    return np.stack([start, np.minimum(start + TILE, right_end[group]), left_start[group], left_end[group]], axis=1)


def _sets(sought: Keys) -> tuple[Keys, Keys]:
    """Sets of the highest bits of the keys and of their lowest, as bit fields."""
    bits = max(6, (BITS_PER_KEY * len(sought)).bit_length())
    sets = []
    for places in (sought >> np.uint64(64 - bits), sought & np.uint64((1 << bits) - 1)):
        field = np.zeros(1 << (bits - 6), np.uint64)
        np.bitwise_or.at(field, places >> SIX, ONE << (places & LOW_SIX))
        sets.append(field)
    return sets[0], sets[1]


@compiled()
def _find(
    jobs: NDArray[np.int64],
    right: Keys,
    left: Keys,
    wanted: tuple[Keys, Keys, Keys],
    found: NDArray[np.int64],
    count: int,
) -> int:
    """Write the pairs of each job with a key that is wanted; how many there are then."""
    sought, first, second = wanted
    bits = 6
    while len(first) << 6 > 1 << bits:
        bits += 1
    shift, mask = np.uint64(64 - bits), np.uint64((1 << bits) - 1)
    for job in range(len(jobs)):
        start, end, left_start, left_end = jobs[job]
        for tile in range(left_start, left_end, TILE):
            for i in range(start, end):
                for j in range(tile, min(tile + TILE, left_end)):
                    key = right[i] ^ left[j]
                    high = key >> shift
                    if (first[high >> SIX] >> (high & LOW_SIX)) & ONE == ONE:
                        low = key & mask
                        if (second[low >> SIX] >> (low & LOW_SIX)) & ONE == ONE:
                            place = np.searchsorted(sought, key)
                            if place < len(sought) and sought[place] == key and count < len(found):
                                found[count, 0], found[count, 1], found[count, 2] = i, j, place
                                count += 1
    return count
