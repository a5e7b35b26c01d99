"""How often each n-gram occurs in a text that is read once, in memory that grows with the distinct n-grams only."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.errors import ModelError
from toolkit.models.ngram import BOS, EOS, MARKS, UNK

CHUNK_WORDS = 1 << 20  # counted at a time, or as many as there are distinct n-grams: merging stays in proportion
NONE = np.zeros(0, dtype=np.int64)


@dataclass
class Counted:
    """The M distinct n-grams of one order, numbered as they were met; all arrays are (M,) int64.

    Parameters
    ----------
    context, suffix
        Which (n - 1)-grams they are without their last and without their first word; zeros for single words.
    word
        Last words.
    count
        Occurrences.
    """

    context: np.ndarray
    suffix: np.ndarray
    word: np.ndarray
    count: np.ndarray


def count_ngrams(
    sentences: Iterable[Sequence[str]], order: int, vocabulary: Sequence[str] | None = None
) -> tuple[list[str], list[Counted]]:
    """The words of a text, the three marks first, and its n-grams of each order, sentence marks included.

    Orders of which no sentence is long enough are left out. Words outside a given vocabulary count as ``<unk>``.

    Raises
    ------
    ModelError
        There is no sentence, or one holds a mark.
    """
    numbers, counter = _Numbers(vocabulary), _Counter(order)
    for words in _chunks(sentences, numbers, counter):
        counter.add(words)
    if not counter.unigrams.any():
        raise ModelError("no sentence to train an n-gram model on")
    return numbers.words, counter.levels(len(numbers.words))


class _Numbers(dict):
    """Word -> id; unless the vocabulary is given, new words get the next one."""

    def __init__(self, vocabulary: Sequence[str] | None) -> None:
        super().__init__({MARKS[UNK]: UNK})
        self.words, self.closed = list(MARKS), False
        for word in vocabulary or ():
            self[word]
        self.closed = vocabulary is not None

    def __missing__(self, word: str) -> int:
        if word in MARKS:
            raise ModelError(f"{word!r} stands for the beginning or the end of a sentence: no sentence may hold it")
        if self.closed:
            return UNK
        self[word] = len(self.words)
        self.words.append(word)
        return self[word]


def _chunks(sentences: Iterable[Sequence[str]], numbers: _Numbers, counter: _Counter) -> Iterator[np.ndarray]:
    """Ids of many whole sentences at a time, in one array with their marks."""
    chunk = array("i")
    for sentence in sentences:
        chunk.append(BOS)
        chunk.extend(map(numbers.__getitem__, sentence))
        chunk.append(EOS)
        if len(chunk) >= max(CHUNK_WORDS, len(counter)):
            yield np.array(chunk, dtype=np.int64)
            chunk = array("i")
    yield np.array(chunk, dtype=np.int64)


class _Counter:
    """Counts of all orders up to one."""

    def __init__(self, order: int) -> None:
        self.unigrams = NONE
        self.tables = [_Table() for _ in range(order - 1)]

    def __len__(self) -> int:
        return sum(len(table.count) for table in self.tables)

    def add(self, words: np.ndarray) -> None:
        """Count the n-grams of a text (N,), in which none reaches across an ``<s>``."""
        counts = np.bincount(words, minlength=len(self.unigrams))
        counts[: len(self.unigrams)] += self.unigrams
        self.unigrams = counts
        numbers = words  # of the n-gram that begins at each place; -1 where there is none
        for order, table in enumerate(self.tables, start=2):
            last = words[order - 1 :]
            places = np.flatnonzero((numbers[: len(last)] >= 0) & (last != BOS))
            longer = np.full(len(words), -1)
            longer[places] = table.add(numbers[places], last[places], numbers[places + 1])
            numbers = longer

    def levels(self, vocabulary: int) -> list[Counted]:
        """All n-grams by order."""
        counts = np.pad(self.unigrams, (0, vocabulary - len(self.unigrams)))
        zeros = np.zeros(vocabulary, dtype=np.int64)
        longer = [table.counted() for table in self.tables if len(table.count)]
        return [Counted(zeros, zeros, np.arange(vocabulary), counts), *longer]


class _Table:
    """The distinct n-grams of one order: keys that say context and word, in order, and the number of each."""

    def __init__(self) -> None:
        self.keys, self.numbers = NONE, NONE
        self.count, self.suffix = NONE, NONE

    def add(self, context: np.ndarray, word: np.ndarray, suffix: np.ndarray) -> np.ndarray:
        """Count n-grams (N,); their numbers (N,)."""
        keys, first, inverse, counts = np.unique(
            context << 32 | word, return_index=True, return_inverse=True, return_counts=True
        )
        places = np.searchsorted(self.keys, keys)
        new = np.append(self.keys, -1)[places] != keys
        numbers = np.append(self.numbers, -1)[places]
        numbers[new] = len(self.count) + np.arange(np.count_nonzero(new))
        self.keys = np.insert(self.keys, places[new], keys[new])
        self.numbers = np.insert(self.numbers, places[new], numbers[new])
        self.suffix = np.append(self.suffix, suffix[first[new]])
        self.count = np.append(self.count, np.zeros(np.count_nonzero(new), dtype=np.int64))
        self.count[numbers] += counts
        return numbers[inverse]

    def counted(self) -> Counted:
        """The n-grams by number."""
        keys = self.keys[np.argsort(self.numbers)]
        return Counted(keys >> 32, self.suffix, keys & (1 << 32) - 1, self.count)
