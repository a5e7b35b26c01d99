"""What a value of a data set's YAML may be.

Checks stand beside the type of each key, as its annotation::

batch_size: Annotated[int, WHOLE, ABOVE_0] | None = None
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from toolkit.errors import did_you_mean


@dataclass(frozen=True)
class Check:
    """A condition, and the words for it after "expected"."""

    wanted: str
    passes: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    # True is an int to Python, but no count.
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list_of(values: Any, passes: Callable[[Any], bool]) -> bool:
    return isinstance(values, Sequence) and not isinstance(values, str) and all(map(passes, values))


def _is_range(value: Any) -> bool:
    return _is_list_of(value, _is_number) and len(value) == 2 and value[0] <= value[1]


def _are_bins(value: Any) -> bool:
    if _is_list_of(value, _is_number):
        return len(value) > 0 and all(low < high for low, high in itertools.pairwise(value))
    return _is_list_of(value, lambda pair: _is_list_of(pair, _is_number) and len(pair) == 2) and len(value) > 0


def one_of(*values: str) -> Check:
    """One of a few words."""
    return Check(f"one of {', '.join(values)}", lambda value: isinstance(value, str) and value in values)


def some_of(*values: str) -> Check:
    """A list of some of a few words."""
    known = f"a list of some of {', '.join(values)}"
    return Check(known, lambda chosen: _is_list_of(chosen, values.__contains__) and len(chosen) > 0)


WHOLE = Check("a whole number", _is_whole)
NUMBER = Check("a number", _is_number)
ABOVE_0 = Check("more than 0", lambda value: value > 0)
FROM_0 = Check("0 or more", lambda value: value >= 0)
PROBABILITY = Check("a probability from 0 to 1", lambda value: 0 <= value <= 1)
SWITCH = Check("true or false", lambda value: isinstance(value, bool))
TEXT = Check("a text", lambda value: isinstance(value, (str, Path)))
DECIBELS = Check("[low, high] in dB", _is_range)
BINS = Check("ascending numbers, or pairs of numbers", _are_bins)
SIZES = Check("whole numbers above 0", lambda value: _is_list_of(value, lambda one: _is_whole(one) and one > 0))
SEED = Check("a whole number, randomized or trng", lambda value: _is_whole(value) or value in ("randomized", "trng"))
CHANNEL = Check("the number or the field of a channel", lambda value: _is_whole(value) or isinstance(value, str))
PATHS = Check(
    "a path, a list of paths, or a list of [path, weight]",
    lambda value: isinstance(value, (str, Path, Mapping)) or _is_list_of(value, _is_source),
)
WEIGHTS = Check(
    "a weight of 0 or more for each name",
    lambda value: isinstance(value, Mapping) and all(_is_number(one) and one >= 0 for one in value.values()),
)


def _is_source(value: Any) -> bool:
    """A path, files of each field, [either] or [either, weight]; a wrong weight is said where the source is read."""
    return isinstance(value, (str, Path, Mapping)) or (isinstance(value, Sequence) and 0 < len(value) <= 2)


@functools.cache
def checks_of(kind: type) -> dict[str, tuple[Check, ...]]:
    """The checks of each field of a dataclass, in order."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: _annotated(hints[field.name]) for field in dataclasses.fields(kind)}


@functools.cache
def optional(kind: type) -> frozenset[str]:
    """The fields of a dataclass that may be None."""
    hints = typing.get_type_hints(kind)
    return frozenset(name for name, hint in hints.items() if type(None) in typing.get_args(hint))


def _annotated(hint: Any) -> tuple[Check, ...]:
    if typing.get_origin(hint) is Annotated:
        return hint.__metadata__
    return next(filter(None, map(_annotated, typing.get_args(hint))), ())


def problems_of_values(kind: type, values: Mapping[str, Any], ignored: Sequence[str] = ()) -> Iterator[str]:
    """A sentence on each key that the dataclass ``kind`` does not know, or whose value fails a check; None passes."""
    checks = checks_of(kind)
    for key, value in values.items():
        if key in checks:
            failed = next((check for check in checks[key] if value is not None and not check.passes(value)), None)
            if failed:
                yield f"{key}: expected {failed.wanted}, not {value!r}"
        elif key not in ignored:
            hint = did_you_mean(key, [*checks, *ignored]) or f"; known: {', '.join(checks)}"
            yield f"{key}: unknown key{hint}"


def problems_of_ranges(values: Mapping[str, Any]) -> Iterator[str]:
    """A sentence on each ``min_x`` that is above its ``max_x``."""
    for key, low in values.items():
        high = values.get(key.replace("min_", "max_", 1))
        if key.startswith("min_") and _is_number(low) and _is_number(high) and low > high:
            yield f"{key}: {low} is above {key.replace('min_', 'max_', 1)}, which is {high}"
