"""Numbers that only building each example of a source can tell, such as its length in tokens: taken once."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

from toolkit.dataio.index_cache import alone, cache_folder
from toolkit.dataio.indexed import Indexed
from toolkit.files import replacing

# Fewer are measured in a second or two, sooner than anybody would clear up after them.
_WORTH_KEEPING = 10_000

# To tokenize a sentence in its prompt takes 0.06 ms, a minute for so many, once. More are streamed.
MOST_MEASURED = 1_000_000


def measured(source: Indexed[Any], measure: Callable[[Any], float], what: str) -> np.ndarray:
    """(N,) float64: ``measure`` of each example.

    Those of large sources are kept in the user's cache, under a digest of all that they follow from: the index of the
    source, the time of change of its file, tokenizer, prompt format, filters and measure. Of the ranks of a node that
    start together one measures, and the others wait.
    """
    digest = _digest((source, measure)) if len(source) >= _WORTH_KEEPING else None
    if digest is None:
        return _measured(source, measure, what)
    place = cache_folder() / f"{digest}.measures.npy"
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = place.with_suffix(".lock")
    lock.touch()
    with alone(lock):
        if place.is_file():
            try:
                return np.load(place, allow_pickle=False)
            except (OSError, ValueError, EOFError):
                pass  # damaged: it is measured anew
        values = _measured(source, measure, what)
        with replacing(place) as partial, partial.open("wb") as file:
            np.save(file, values)
    return values


def _measured(source: Indexed[Any], measure: Callable[[Any], float], what: str) -> np.ndarray:
    examples = tqdm(source, desc=what, total=len(source), disable=None, leave=False, delay=2)
    return np.fromiter((measure(example) for example in examples), np.float64, len(source))


class _Digest(io.RawIOBase):
    """A file that keeps nothing but the digest of what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sha = hashlib.sha256()

    def write(self, data: Any) -> int:
        """Take the data into account."""
        self.sha.update(data)
        return memoryview(data).nbytes


def _digest(value: Any) -> str | None:
    """A digest of an object and all that belongs to it; None where something cannot be serialised."""
    file = _Digest()
    try:
        pickle.Pickler(file, protocol=5).dump(value)
    except (pickle.PicklingError, AttributeError, TypeError):  # which of them, is the whim of the object
        return None
    return file.sha.hexdigest()[:32]
