"""How an ARPA file is read: a column of a section at a time, and a place in the file for every complaint."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import numpy as np

from toolkit.errors import ModelError
from toolkit.files import read_unpacked
from toolkit.models.ngram import MARKS, UNK, NgramModel
from toolkit.models.ngram_build import Grams, Listed, build_ngram, sorted_grams

LN10 = math.log(10.0)
MISSING_LOG10 = -100.0  # of a mark that is not listed: kenlm's score of unknown words where there is no <unk>
BLOCK_BYTES = 1 << 23  # cut into fields at a time, as these are Python objects for a moment
SPACES = np.zeros(256, dtype=bool)
SPACES[list(b" \t\n\r\v\f")] = True  # where bytes.split() splits
MARKER = re.compile(rb"\n\\[^\n]*")
COUNT = re.compile(rb"ngram\s+(\d+)\s*=\s*(\d+)")


class ArpaReader:
    """One ARPA file, held in memory; offsets count from a line break that is put before its first line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = b"\n" + _content(path)
        self.ids = {mark.encode(): number for number, mark in enumerate(MARKS)}
        self.words = list(MARKS)

    def model(self) -> NgramModel:
        """The automaton of the file's n-grams; a ModelError names the line that is malformed."""
        listed = [self._section(*section) for section in self._sections()]
        return build_ngram(self.words, self._sorted(listed))

    def error(self, offset: int, problem: str) -> ModelError:
        """What is wrong with the line at an offset."""
        line = self.data.count(b"\n", 0, offset + 1)
        return ModelError(f"{self.path}, line {line}: {problem}")

    def _sections(self) -> Iterator[tuple[int, int, int, int]]:
        r"""Order, promised number, start and end of the n-grams between the lines that begin with a backslash."""
        markers = list(MARKER.finditer(self.data))
        if not markers or markers[0][0].strip() != b"\\data\\":
            place = markers[0].start() if markers else 0
            raise self.error(place, "not an ARPA file: it does not begin with \\data\\")
        end = markers[1].start() if len(markers) > 1 else len(self.data)
        counts = self._counts(markers[0].end(), end)
        wanted = [*(b"\\%d-grams:" % order for order in range(1, len(counts) + 1)), b"\\end\\"]
        for number, text in enumerate(wanted, start=1):
            if number == len(markers):
                raise self.error(len(self.data.rstrip()) - 1, f"the file ends before {text.decode()}; is it cut short?")
            if (found := markers[number][0].strip()) != text:
                raise self.error(markers[number].start(), f"expected {text.decode()}, found {_shown(found)}")
        for order, count in enumerate(counts, start=1):
            yield order, count, markers[order].end(), markers[order + 1].start()

    def _counts(self, start: int, end: int) -> list[int]:
        """How many n-grams of each order the header promises."""
        counts = []
        for line in re.finditer(rb"\n[^\n]*", self.data[start:end]):
            match = COUNT.fullmatch(line[0].strip())
            if match and int(match[1]) == len(counts) + 1:
                counts.append(int(match[2]))
            elif line[0].strip():
                wanted = f"`ngram {len(counts) + 1}=COUNT`"
                raise self.error(start + line.start(), f"expected {wanted}, found {_shown(line[0].strip())}")
        if not counts:
            raise self.error(start - 1, "no line `ngram 1=COUNT` follows")
        return counts

    def _section(self, order: int, count: int, start: int, end: int) -> Listed:
        """The n-grams of one order."""
        listed = Listed.joined(self._block(order, *span) for span in self._blocks(start, end))
        if len(listed.logp) != count:
            found = f"here are {len(listed.logp)}; is the file cut short?"
            raise self.error(start - 1, f"the header promises {count} {order}-grams, {found}")
        if order == 1:
            missing = np.setdiff1d(np.arange(len(MARKS)), listed.words)[:, None]
            listed = Listed.joined([listed, Listed.unscored(missing, MISSING_LOG10 * LN10)])
        return listed

    def _blocks(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Pieces of a section, each from a line break up to another; at least one."""
        while end - start > BLOCK_BYTES:
            stop = self.data.rfind(b"\n", start + 1, start + BLOCK_BYTES)
            if stop < 0:  # a line as long as a block
                break
            yield start, stop
            start = stop
        yield start, end

    def _block(self, order: int, start: int, stop: int) -> Listed:
        """The n-grams of a piece of a section."""
        fields, offsets, first = self._lines(self.data[start:stop], start)
        sizes = np.diff(np.append(first, len(fields)))
        for line in np.flatnonzero((sizes != order + 1) & (sizes != order + 2)):
            wanted = f"a log10 probability, {order} word{'s' * (order > 1)} and perhaps a back-off weight"
            raise self.error(offsets[first[line]], f"expected {wanted}, found {sizes[line]} fields")
        weighted = sizes == order + 2
        backoff = np.zeros(len(first))
        backoff[weighted] = self._numbers(fields, offsets, first[weighted] + order + 1, most=math.inf)
        places = [first + 1 + place for place in range(order)]
        words = [self._word_ids(fields[place], offsets[place], new=order == 1) for place in places]
        return Listed(np.stack(words, axis=1), self._numbers(fields, offsets, first, most=0.0), backoff, offsets[first])

    @staticmethod
    def _lines(block: bytes, start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The fields of a text that begins with a line break, their offsets, and which are the first of a line."""
        fields = np.array(block.split(), dtype=object)
        characters = np.frombuffer(block, dtype=np.uint8)
        space = SPACES[characters]
        begins = ~space
        begins[1:] &= space[:-1]
        offsets = np.flatnonzero(begins)
        edges = np.append(np.searchsorted(offsets, np.flatnonzero(characters == ord("\n"))), len(fields))
        return fields, offsets + start, edges[:-1][np.diff(edges) > 0]

    def _numbers(self, fields: np.ndarray, offsets: np.ndarray, places: np.ndarray, *, most: float) -> np.ndarray:
        """The natural logs of the log10 numbers in some fields."""
        try:
            values = np.fromiter(map(float, fields[places]), np.float64, len(places))
        except ValueError:
            values = np.array([_number(field) for field in fields[places]])
        for wrong in np.flatnonzero(~(values <= most) | (values == math.inf)):
            limit = "" if most == math.inf else f" of at most {most:g}"
            found = _shown(fields[places[wrong]])
            raise self.error(offsets[places[wrong]], f"expected a log10 number{limit}, found {found}")
        return values * LN10

    def _word_ids(self, words: np.ndarray, offsets: np.ndarray, *, new: bool) -> np.ndarray:
        """The ids of words, which are ``new`` among the 1-grams and known elsewhere."""
        if new:
            self._learn(words, offsets)
        ids = np.fromiter(map(self.ids.get, words, repeat(-1)), np.int64, len(words))
        for unknown in np.flatnonzero(ids < 0):
            raise self.error(offsets[unknown], f"the word {_shown(words[unknown])} is not among the 1-grams")
        return ids

    def _learn(self, words: np.ndarray, offsets: np.ndarray) -> None:
        """Give ids to new words; ``<UNK>``, as some tools write, is ``<unk>``."""
        try:
            texts = b"\n".join(words).decode().split("\n") if len(words) else []
        except UnicodeDecodeError as error:
            place = error.object.count(b"\n", 0, error.start)
            raise self.error(offsets[place], f"the word {_shown(words[place])} is not UTF-8") from None
        for word, text in zip(words, texts, strict=True):
            if word == b"<UNK>":
                self.ids[word] = UNK
            elif word not in self.ids:
                self.ids[word] = len(self.words)
                self.words.append(text)

    def _sorted(self, listed: list[Listed]) -> list[Grams]:
        """The n-grams of all orders as the automaton is built from them; a ModelError for one that is there twice."""

        def twice(order: int, again: int) -> ModelError:
            one = listed[order - 1]
            gram = " ".join(self.words[word] for word in one.words[again])
            return self.error(one.offset[again], f"the {order}-gram {gram!r} is listed twice")

        return sorted_grams(listed, len(self.words), twice)


def _content(path: Path) -> bytes:
    """The bytes of a file, unpacked if they are gzipped, whatever the file is called."""
    try:
        return read_unpacked(path)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ModelError(f"{path}: cannot be unpacked: {error}; is it cut short?") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); expected an ARPA file") from None


def _number(field: bytes) -> float:
    """The number in a field; NaN where there is none."""
    try:
        return float(field)
    except ValueError:
        return math.nan


def _shown(text: bytes) -> str:
    """A field or a line, as a message shows it."""
    return repr(text[:80].decode(errors="replace"))
