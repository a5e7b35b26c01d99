"""Any line of a large text file at once, and how long each is, without the file in memory.

::

    index = LineIndex.of("train.jsonl", lambda line: json.loads(line)["duration"], name="seconds")
    len(index), index.lengths, index.read(123_456)
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path

import numpy as np

from toolkit.dataio.index_cache import Arrays, alone, cached_index, read_range
from toolkit.errors import DataError, ManifestError

Measure = Callable[[bytes], "float | Sequence[float] | None"]

_keeps_damage = ContextVar("keeps_damage", default=False)


@contextlib.contextmanager
def damage_kept() -> Iterator[None]:
    """Within, indexes keep the lines that cannot be measured, whose measures are NaN: who builds them complains.

    For those who look for all damage, or leave it out, where else the first is an error.
    """
    before = _keeps_damage.set(True)
    try:
        yield
    finally:
        _keeps_damage.reset(before)


def keeps_damage() -> bool:
    """Whether this is within :func:`damage_kept`."""
    return _keeps_damage.get()


class LineIndex:
    """Where the lines of a file are, and their measures.

    Attributes
    ----------
    path
        The file.
    measures
        (N, K) float64: the K numbers measured of each line.
    changed_ns
        When the file last changed, as its system counts nanoseconds.
    """

    def __init__(self, path: Path, arrays: Arrays) -> None:
        self.path, self.changed_ns = path, path.stat().st_mtime_ns
        self.measures = arrays["measures"]
        self._starts, self._sizes = arrays["starts"], arrays["sizes"]

    @classmethod
    def of(cls, path: str | Path, measure: Measure, name: str, *, beside: bool = True) -> LineIndex:
        """The index of a file, from its cache when the file is the same.

        Parameters
        ----------
        path
            A file of lines, not compressed.
        measure
            From the bytes of a line to its length, or to a tuple of several numbers; None leaves the line out.
            A ValueError, KeyError or TypeError of it is reported with the file and the line, but within
            :func:`damage_kept`; what is indexed there has no cache.
        name
            What ``measure`` measures: another name is another cache.
        beside
            Whether the cache may lie beside the file.

        Raises
        ------
        ManifestError
            No such file, or a line that cannot be measured.
        """
        path = Path(path)
        if keeps_damage():
            with alone(path):
                return cls(path, _scan(path, measure))
        return cls(path, cached_index(path, name, lambda: _scan(path, measure), beside=beside))

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def lengths(self) -> np.ndarray:
        """(N,) float64: the first measure of each line."""
        return self.measures[:, 0]

    def read(self, number: int) -> bytes:
        """Line ``number`` of those in the index, without its end."""
        return read_range(self.path, int(self._starts[number]), int(self._sizes[number])).rstrip(b"\r\n")

    def where(self, number: int) -> str:
        """``FILE: line 17``, for messages: counts the lines above."""
        with self.path.open("rb") as file:
            above, start = 0, int(self._starts[number])
            while start > 0:
                block = file.read(min(start, 1 << 20))
                above, start = above + block.count(b"\n"), start - len(block)
        return _where(self.path, above + 1)


def _scan(path: Path, measure: Measure) -> Arrays:
    starts, sizes, measures = array("q"), array("I"), array("d")
    damage: list[int] = []
    start = 0
    with path.open("rb") as file:
        for line_number, line in enumerate(file, start=1):
            try:
                measured = _measured(path, line_number, line, measure)
            except ManifestError:
                if not keeps_damage():
                    raise
                damage.append(len(starts))
                measured = ()
            if measured is not None:
                starts.append(start)
                sizes.append(len(line))
                measures.extend(measured)
            start += len(line)
    whole = np.delete(np.arange(len(starts)), damage)
    table = np.full((len(starts), len(measures) // len(whole) if len(whole) else 1), np.nan)
    table[whole] = np.array(measures, np.float64).reshape(len(whole), -1 if len(whole) else 1)
    return {"starts": np.array(starts, np.int64), "sizes": np.array(sizes, np.uint32), "measures": table}


def _measured(path: Path, line_number: int, line: bytes, measure: Measure) -> Sequence[float] | None:
    try:
        measured = measure(line)
    except (DataError, ValueError, KeyError, TypeError) as error:
        raise damaged(_where(path, line_number), line, error) from error
    return measured if measured is None or isinstance(measured, Sequence) else (measured,)


def _where(path: Path, line_number: int) -> str:
    return f"{path}: line {line_number}"


def damaged(where: str, line: bytes, error: Exception) -> ManifestError:
    """The error of a line that is not what it should be: where, why, and how it begins."""
    reason = f"no field {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
    return ManifestError(f"{where}: {reason}: {line.decode(errors='replace').strip()[:80]!r}")
