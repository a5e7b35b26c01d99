"""The tries of kenlm's binary files: n-grams by their last word, then the one before it and so on, packed bit by bit.

::

    entry of a middle order    word | 31 bits of log10 p, whose sign is known, 32 of the back-off | where its own begin
    entry of the highest       word | 31 bits of log10 p

The n-grams that end in an n-gram of the order below are neighbours, from its own begin to that of the next entry. In
quantised tries, log10 p and back-off are places in tables; in those with compressed pointers, the high bits of where
an entry's own begin are a table of the entries from which on they are 1, 2, ...
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from toolkit.errors import ModelError
from toolkit.models.kenlm_header import Header, Level

UNIGRAM = np.dtype([("logp", "<f4"), ("backoff", "<f4"), ("next", "<u8")])
SIGN = np.uint32(1 << 31)
QUANTISED_VERSION, ARRAY_VERSION = 2, 0


class TrieSearch:
    """The n-grams of a file with a trie; ``end`` is where they end."""

    def __init__(self, data: np.ndarray, header: Header) -> None:
        self.data, self.counts = data, header.counts
        self.quantised, self.compressed = bool(header.kind & 1), header.kind >= 4
        at = header.size + 8 + 8 * self.counts[0]  # after the sorted hashes of the words, and their number
        self.tables: list[np.ndarray] = []
        if self.quantised:
            at = self._read_tables(at)
        self.unigrams = data[at : at + (self.counts[0] + 1) * UNIGRAM.itemsize].view(UNIGRAM)
        at += (self.counts[0] + 2) * UNIGRAM.itemsize
        self.chop_bits = 0
        if self.compressed and len(self.counts) > 2:
            version, self.chop_bits = data[at : at + 2].tolist()
            if version != ARRAY_VERSION:
                raise ModelError(f"pointers compressed by version {version}, which is not known here")
        self.starts = []
        for order in range(2, len(self.counts) + 1):
            self.starts.append(at)
            at += self._size(order)
        self.end = at

    def levels(self) -> Iterator[Level]:
        """The n-grams of each order, from single words on."""
        V = self.counts[0]
        words, following = np.arange(V)[:, None], self.unigrams["next"].astype(np.int64)
        yield words, self.unigrams["logp"][:V].astype(np.float64), self.unigrams["backoff"][:V].astype(np.float64)
        for order, start in enumerate(self.starts, start=2):
            if following[0] != 0 or following[-1] != self.counts[order - 1] or (np.diff(following) < 0).any():
                raise ModelError(f"the trie does not lead to its {self.counts[order - 1]} {order}-grams")
            ends_in = np.repeat(np.arange(len(words)), np.diff(following))
            own, logp, backoff, following = self._entries(order, start)
            if len(own) and own.max() >= V:
                raise ModelError(f"a {order}-gram of a word that is not there")
            words = np.concatenate([own[:, None], words[ends_in]], axis=1)
            yield words, logp, backoff

    def _entries(self, order: int, start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Words (M,), log10 p (M,), log10 back-offs (M,), and where the longer n-grams of each begin (M + 1,)."""
        M, longest = self.counts[order - 1], order == len(self.counts)
        word_bits, inline_bits = _bits(self.counts[0]), self._inline_bits(order)
        value_bits, width = self._value_bits(longest), word_bits + self._value_bits(longest) + inline_bits
        packed, entries = start + self._pointer_bytes(order), np.arange(M + 1, dtype=np.uint64) * np.uint64(width)
        words = self._read(packed, entries[:-1], word_bits)
        logp, backoff = self._values(order, packed, entries[:-1] + np.uint64(word_bits))
        if longest:
            return words, logp, backoff, np.zeros(0, np.int64)
        low = self._read(packed, entries + np.uint64(word_bits + value_bits), inline_bits)
        return words, logp, backoff, self._high(order, start, M + 1) << inline_bits | low

    def _values(self, order: int, packed: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log10 p and log10 back-off at bit places (M,)."""
        longest = order == len(self.counts)
        if self.quantised:
            probabilities = self.tables[2 * (order - 2)]
            if longest:
                return probabilities[self._read(packed, places, self.bits[0])], np.zeros(len(places))
            after = places + np.uint64(self.bits[1])
            backoffs = self.tables[2 * (order - 2) + 1][self._read(packed, places, self.bits[1])]
            return probabilities[self._read(packed, after, self.bits[0])], backoffs
        logp = (self._read(packed, places, 31).astype(np.uint32) | SIGN).view(np.float32).astype(np.float64)
        if longest:
            return logp, np.zeros(len(places))
        backoff = self._read(packed, places + np.uint64(31), 32).astype(np.uint32).view(np.float32)
        return logp, backoff.astype(np.float64)

    def _read(self, start: int, places: np.ndarray, bits: int) -> np.ndarray:
        """Numbers (M,) int64 of at most 57 bits at bit places (M,) from a byte on."""
        eight = np.ndarray(len(self.data) - 7 - start, "<u8", self.data, offset=start, strides=(1,))
        found = eight[places >> np.uint64(3)] >> (places & np.uint64(7))
        return (found & np.uint64((1 << bits) - 1)).astype(np.int64)

    def _read_tables(self, at: int) -> int:
        """Read the values of a quantised trie; where they end."""
        version, *self.bits = self.data[at : at + 3].tolist()  # of probabilities, of back-offs
        if version != QUANTISED_VERSION:
            raise ModelError(f"quantised by version {version}, which is not known here")
        at += 8
        for place in range(2 * len(self.counts) - 3):
            size = 4 << self.bits[place % 2]
            self.tables.append(self.data[at : at + size].view("<f4").astype(np.float64))
            at += size
        return at

    def _value_bits(self, longest: bool) -> int:
        if self.quantised:
            return self.bits[0] if longest else sum(self.bits)
        return 31 if longest else 63

    def _size(self, order: int) -> int:
        """Bytes of the n-grams of an order."""
        width = _bits(self.counts[0]) + self._value_bits(order == len(self.counts)) + self._inline_bits(order)
        return self._pointer_bytes(order) + ((1 + self.counts[order - 1]) * width + 7) // 8 + 8

    def _inline_bits(self, order: int) -> int:
        """Bits, in an entry, of where its own begin."""
        if order == len(self.counts):
            return 0
        return _bits(self.counts[order]) - self._chopped(order)

    def _chopped(self, order: int) -> int:
        """How many bits of the pointers are in a table: the number with which it all is smallest."""
        if not self.compressed:
            return 0
        required, entries = _bits(self.counts[order]), self.counts[order - 1] + 1
        costs = [
            (self.counts[order] >> (required - chop)) * 64 - entries * chop
            for chop in range(min(required, self.chop_bits) + 1)
        ]
        return costs.index(min(costs))

    def _pointer_bytes(self, order: int) -> int:
        """Bytes of the table of the high bits."""
        if not self.compressed or order == len(self.counts):
            return 0
        return 8 * (1 + self._pointers(order)) + 7

    def _pointers(self, order: int) -> int:
        return (self.counts[order] >> self._inline_bits(order)) + 1

    def _high(self, order: int, start: int, M: int) -> np.ndarray:
        """The high bits of the pointers of M entries."""
        if not self.compressed:
            return np.zeros(M, np.int64)
        first = start + -start % 8 + 8
        begins = self.data[first : first + 8 * self._pointers(order)].view("<u8").astype(np.int64)
        return np.searchsorted(begins, np.arange(M), side="right") - 1


def _bits(most: int) -> int:
    """Bits of the numbers up to ``most``."""
    return int(most).bit_length()
