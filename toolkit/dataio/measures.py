"""Numbers that only building each example of a source can tell, such as its length in tokens: taken once."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import io
import pickle
import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np
from tqdm import tqdm

from toolkit.dataio.index_cache import alone, cache_folder
from toolkit.dataio.indexed import Indexed
from toolkit.dataio.prompt_fn import registered_functions
from toolkit.files import replacing

# Fewer are measured in a second or two, sooner than anybody would clear up after them.
_WORTH_KEEPING = 10_000

# To tokenize a sentence in its prompt takes 0.06 ms, a minute for so many, once. More are streamed.
MOST_MEASURED = 1_000_000

# Kept numbers are used where so many of them, measured anew, are the same.
_COMPARED = 50


def measured(source: Indexed[Any], measure: Callable[[Any], float], what: str) -> np.ndarray:
    """(N,) float64: ``measure`` of each example.

    Those of large sources are kept in the user's cache, under a digest of all that they follow from: the index of the
    source, the time of change of its file, tokenizer, filters, measure and prompts, with their code. What that code
    calls is not in it: hence some examples are measured each time, and all where one of them differs. Of the ranks of a
    node that start together one measures, and the others wait.
    """
    digest = _digest((source, measure, _prompts())) if len(source) >= _WORTH_KEEPING else None
    if digest is None:
        return _measured(source, measure, what)
    place = cache_folder() / f"{digest}.measures.npy"
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = place.with_suffix(".lock")
    lock.touch()
    with alone(lock):
        if place.is_file():
            try:
                values = np.load(place, allow_pickle=False)
                if _are_of(values, source, measure):
                    return values
            except (OSError, ValueError, EOFError):
                pass  # damaged: it is measured anew
        values = _measured(source, measure, what)
        with replacing(place) as partial, partial.open("wb") as file:
            np.save(file, values)
    return values


def _are_of(values: np.ndarray, source: Indexed[Any], measure: Callable[[Any], float]) -> bool:
    """Whether some examples, from the first to the last, measure as they did."""
    numbers = np.linspace(0, len(source) - 1, _COMPARED).astype(int)
    return values.shape == (len(source),) and all(values[number] == measure(source[int(number)]) for number in numbers)


def _prompts() -> list[tuple[str, ...]]:
    """What puts examples into prompts: type, format and code of each registered function."""
    return [
        (*(kind.__qualname__ for kind in kinds), *_code(function)) for kinds, function in registered_functions().items()
    ]


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


class _Pickler(pickle.Pickler):
    """Takes functions and classes by what they do, and not by their names alone."""

    def persistent_id(self, value: Any) -> Any:
        """Name and code of a function or class that has a name; None of anything else."""
        if not isinstance(value, (FunctionType, type)) or "<" in value.__qualname__:
            return None
        return value.__module__, value.__qualname__, _code(value)


@functools.cache
def _code(value: FunctionType | type) -> list[str]:
    """The source of a function, or of a class and its bases, as far as it is written in Python."""
    found = []
    for one in inspect.getmro(value) if isinstance(value, type) else [value]:
        with contextlib.suppress(OSError, TypeError), _PARSING:
            found.append(inspect.getsource(one))
    return found


_PARSING = threading.Lock()  # of a class, which fails in several threads at once (Python 3.11)


def _digest(value: Any) -> str | None:
    """A digest of an object and all that belongs to it; None where something cannot be serialised."""
    file = _Digest()
    try:
        _Pickler(file, protocol=5).dump(value)
    except (pickle.PicklingError, AttributeError, TypeError):  # which of them, is the whim of the object
        return None
    return file.sha.hexdigest()[:32]
