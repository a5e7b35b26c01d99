"""Sources that know, before any example is built, how many they hold and how long each is.

::

    lines = Lines(LineIndex.of("train.jsonl", seconds, name="seconds"), build_cut)
    short = Selected(lines, np.flatnonzero(lines.lengths < 20))
    slow = Mapped(short, lambda cut: cut.perturb_speed(0.9), lengths=short.lengths / 0.9)
    both = Concatenated([short, slow])
    both.lengths, both[12]

An epoch is planned with the lengths alone (:mod:`toolkit.dataio.plan`); examples are built where they are used, in the
worker processes. All of them are iterable too, so that ``CutSet(source)`` is a lazy CutSet for Lhotse's samplers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from toolkit.dataio.line_index import LineIndex, damaged
from toolkit.errors import DataError

if TYPE_CHECKING:
    from lhotse.cut import Cut

T = TypeVar("T")


class Indexed(ABC, Generic[T]):
    """Examples by number.

    Attributes
    ----------
    lengths
        (N,) of each example: seconds, tokens or whatever bounds a batch.
    pieces
        (N,) int64 number of the piece of storage that holds each example, to be read as a whole; None where examples
        may be read in any order.
    """

    lengths: np.ndarray
    pieces: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    @abstractmethod
    def __getitem__(self, number: int) -> T:
        """Example ``number``, from 0 on, built now."""

    def __iter__(self) -> Iterator[T]:
        return (self[number] for number in range(len(self)))


class Listed(Indexed[T]):
    """Examples that are in memory already."""

    def __init__(self, examples: Sequence[T], length: Callable[[T], float]) -> None:
        self.examples = examples
        self.lengths = np.array([length(example) for example in examples], np.float64)

    def __getitem__(self, number: int) -> T:
        return self.examples[number]


class Lines(Indexed[T]):
    """Examples that ``build`` makes of the lines of a file; ``pieces`` (N,) say where else it reads.

    A DataError, ValueError, KeyError or TypeError of ``build`` becomes a ManifestError with the file and the line.
    """

    def __init__(self, index: LineIndex, build: Callable[[bytes], T], pieces: np.ndarray | None = None) -> None:
        self.index, self.build, self.pieces = index, build, pieces
        self.lengths = index.lengths

    def __getitem__(self, number: int) -> T:
        line = self.index.read(number)
        try:
            return self.build(line)
        except (DataError, ValueError, KeyError, TypeError) as error:
            raise damaged(self.index.where(number), line, error) from error


class Selected(Indexed[T]):
    """Some examples of a source, in the order of ``numbers`` (M,)."""

    def __init__(self, source: Indexed[T], numbers: np.ndarray) -> None:
        self.source, self.numbers = source, np.asarray(numbers)
        self.lengths = source.lengths[self.numbers]
        self.pieces = None if source.pieces is None else source.pieces[self.numbers]

    def __getitem__(self, number: int) -> T:
        return self.source[self.numbers[number]]


class Mapped(Indexed[T]):
    """Examples as ``change`` makes them, with other ``lengths`` (N,) where it changes those."""

    def __init__(self, source: Indexed[Any], change: Callable[[Any], T], lengths: np.ndarray | None = None) -> None:
        self.source, self.change = source, change
        self.lengths = source.lengths if lengths is None else lengths
        self.pieces = source.pieces

    def __getitem__(self, number: int) -> T:
        return self.change(self.source[number])


def unchanged(example: T) -> T:
    """The example itself: where only its length is another."""
    return example


@dataclass(frozen=True)
class Unbuilt:
    """Utterance ``number`` of a source, to be built when it is used; its id ends in ``id``."""

    source: Indexed[Cut]
    number: int
    id: str = ""

    @property
    def duration(self) -> float:
        """Seconds."""
        return float(self.source.lengths[self.number])

    def built(self) -> Cut:
        """The utterance."""
        cut = self.source[self.number]
        return cut.with_id(f"{cut.id}{self.id}") if self.id else cut


class Concatenated(Indexed[T]):
    """The examples of all sources, one source after the other."""

    def __init__(self, sources: Sequence[Indexed[T]]) -> None:
        self.sources = list(sources)
        self.lengths = np.concatenate([np.empty(0), *(source.lengths for source in self.sources)])
        self.ends = np.cumsum([len(source) for source in self.sources])
        self.pieces = _joined_pieces(self.sources)

    def __getitem__(self, number: int) -> T:
        place = int(np.searchsorted(self.ends, number, side="right"))
        source = self.sources[place]
        return source[number - (int(self.ends[place]) - len(source))]


def _joined_pieces(sources: Sequence[Indexed[Any]]) -> np.ndarray | None:
    """Pieces numbered on from source to source; sources without pieces are spread over those of the others."""
    counts = [0 if source.pieces is None else int(source.pieces.max(initial=-1)) + 1 for source in sources]
    total, before = sum(counts), np.cumsum([0, *counts])
    if not total:
        return None
    numbered = zip(sources, before, strict=False)
    return np.concatenate(
        [np.arange(len(one)) % total if one.pieces is None else one.pieces + start for one, start in numbered]
    )
