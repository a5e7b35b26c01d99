"""The results of all recipes: kept as a record, shown as a table.

The record, ``recipes/results.json``, has a line for each run, so that the table can be made where the runs are not. The
table stands between two marks in ``recipes/README.md``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from toolkit.errors import DataError
from toolkit.files import write_atomically
from toolkit.run_results import Result

RECORD, README = "results.json", "README.md"
BEGIN, END = "<!-- made by asr results -->", "<!-- end of what asr results made -->"
COLUMNS = {
    "data set": "---",
    "test": "---",
    "YAML": "---",
    "WER (%)": "--:",
    "CER (%)": "--:",
    "seeds": "--:",
    "parameters": "--:",
    "hours": "--:",
    "wall time": "--:",
    "hardware": "---",
    "commit": "---",
}
COMMIT = 7  # characters of its hash


def read_record(file: Path) -> list[Result]:
    """The results of a record; none where there is no file.

    Raises
    ------
    DataError
        It is damaged.
    """
    if not file.is_file():
        return []
    try:
        return [Result(**entry) for entry in json.loads(file.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise DataError(f"{file}: damaged ({error}); expected what `asr results` wrote") from error


def write_record(file: Path, results: Iterable[Result]) -> None:
    """Write a record, a line for each result."""
    lines = ",\n".join(json.dumps({k: v for k, v in asdict(one).items() if v is not None}) for one in results)
    write_atomically(file, f"[\n{lines}\n]\n")


def merged(before: Iterable[Result], found: Iterable[Result]) -> list[Result]:
    """All results in order; of the same seed of an experiment the one found."""
    by_run = {one.repetition: one for one in (*before, *found)}
    return [by_run[key] for key in sorted(by_run)]


def table(results: Sequence[Result], published: Mapping[str, Iterable[Mapping[str, Any]]]) -> str:
    """The results as Markdown, the mean over seeds, of a test set the lowest rates first, and what others published."""
    rows = [row for _, group in groupby(results, lambda one: one.experiment) for row in _rows(list(group))]
    rows += [_published(name, figure) for name, figures in published.items() for figure in figures]
    rows.sort(key=lambda row: (row[0], row[1], row[3] or 0.0, row[4] or 0.0))
    lines: list[Iterable[Any]] = [COLUMNS, COLUMNS.values()]
    lines += [(f"[{row[0]}]({row[0]}/README.md)", *row[1:3], *map(_percent, row[3:5]), *row[5:]) for row in rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _rows(runs: Sequence[Result]) -> Iterator[tuple[Any, ...]]:
    """A row for each test set of an experiment."""
    first = runs[0]
    yaml = f"`{Path(first.yaml).name}`" + (f" `{first.options}`" if first.options else "")
    cost = (
        f"{first.parameters / 1e6:.2f} M" if first.parameters else "",
        f"{first.train_hours:.3g}" if first.train_hours else "",
        _duration([one.wall_seconds for one in runs if one.wall_seconds]),
        *(", ".join(sorted(kinds - {""})) for kinds in ({one.hardware or "" for one in runs}, set(map(_commit, runs)))),
    )
    for test in dict.fromkeys(name for one in runs for name in one.tests):
        tested = [one.tests[test] for one in runs if test in one.tests]
        means = [fmean(one[name] for one in tested) for name in ("WER", "CER")]
        yield first.recipe, test, yaml, *means, len(tested), *cost


def _published(recipe: str, figure: Mapping[str, Any]) -> tuple[Any, ...]:
    system = f"published: [{figure['system']}]({figure['source']})"
    rates = figure.get("WER"), figure.get("CER")
    return recipe, figure["test"], system, *rates, "", figure.get("parameters", ""), *[""] * 4


def _percent(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.1f}"


def _duration(seconds: Sequence[float]) -> str:
    """The mean as ``23 min`` or ``3.1 h``."""
    minutes = fmean(seconds) / 60 if seconds else 0.0
    return "" if not seconds else f"{minutes / 60:.1f} h" if minutes >= 100 else f"{minutes:.0f} min"


def _commit(run: Result) -> str:
    """``e1f0709``, and ``e1f0709+`` where files differed from it."""
    commit, _, changed = (run.commit or "").partition(" ")
    return f"{commit[:COMMIT]}+" if changed else commit[:COMMIT]


def with_table(readme: Path, made: str) -> str:
    """The text of a README with a table in the place of the one between its marks.

    Raises
    ------
    DataError
        It has no marks.
    """
    before, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise DataError(f"{readme}: expected the lines {BEGIN!r} and {END!r}, between which the table is")
    return f"{before}{BEGIN}\n\n{made}\n{END}{after}"
