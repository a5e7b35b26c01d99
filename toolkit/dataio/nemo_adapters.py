"""NeMo's manifests as Lhotse cuts, under NeMo's names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from toolkit.errors import ConfigError

# NeMo's brackets for shells and option parsers that give braces a meaning; only ranges: (copy) is part of a name.
_OTHER_BRACKETS = re.compile(r"(?:_OP_|[(\[<])(\d+\.\.\d+)(?:_CL_|[)\]>])")
# The first innermost group: {0..31}, {1..9..2} or {dev,test}; {data_root} is not one.
_GROUP = re.compile(r"\{(\d+)\.\.(\d+)(?:\.\.([1-9]\d*))?\}|\{([^{}]*,[^{}]*)\}")


def expand_sharded_filepaths(sharded_filepaths: str | Path | Sequence[str | Path]) -> list[str]:
    """The files that one pattern or several stand for, in order.

    ``{0..31}``, ``_OP_0..31_CL_``, ``(0..31)``, ``[0..31]`` and ``<0..31>`` are ranges, zero-padded as their ends are
    (``{000..127}``), and ``{dev,test}`` is a choice.

    Raises
    ------
    ConfigError
        No text, or a list of something else.
    """
    if isinstance(sharded_filepaths, (str, Path)):
        # Of nested groups the inner one is expanded first, and repeats what stands beside it.
        return list(dict.fromkeys(_expand(_OTHER_BRACKETS.sub(r"{\1}", str(sharded_filepaths)))))
    if not isinstance(sharded_filepaths, Sequence) or not all(
        isinstance(one, (str, Path)) for one in sharded_filepaths
    ):
        raise ConfigError(
            f"expected a path such as shard_{{0..31}}.jsonl or a list of paths, not {sharded_filepaths!r}"
        )
    return [path for one in sharded_filepaths for path in expand_sharded_filepaths(one)]


def _expand(pattern: str) -> Iterator[str]:
    group = _GROUP.search(pattern)
    if group is None:
        yield pattern
        return
    first, last, step, choices = group.groups()
    values = choices.split(",") if choices is not None else _count(first, last, int(step or 1))
    for value in values:
        yield from _expand(pattern[: group.start()] + value + pattern[group.end() :])


def _count(first: str, last: str, step: int) -> Iterator[str]:
    """Numbers up or down from ``first`` to ``last``, as wide as the wider of the two when either is zero-padded."""
    padded = any(end.startswith("0") and len(end) > 1 for end in (first, last))
    width = max(len(first), len(last)) if padded else 0
    up = int(first) <= int(last)
    numbers = range(int(first), int(last) + (1 if up else -1), step if up else -step)
    return (str(number).zfill(width) for number in numbers)
