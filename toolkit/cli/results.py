"""Gather what trainings reached into the table of recipes/README.md.

    asr results
    asr results recipes/AN4/results/ctc_tars
    asr results --recipes my_recipes

Reads the folders of runs, RECIPES/*/results/*: error rates, parameters, hours of audio, time, hardware and commit, as
the runs left them. What is found is added to RECIPES/results.json, which stays when the runs are gone, and the table of
RECIPES/README.md is made of that: the mean over seeds, beside what others have published (RECIPES/collection.yaml).

A run with other keys set than its YAML's is left out unless it is named. Of two with the same YAML and seed the last is
taken. Results of a YAML that is no more are dropped. What is left out is said.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import ConfigError, ExperimentError
from toolkit.files import write_atomically
from toolkit.shipped import shipped

if TYPE_CHECKING:
    from toolkit.run_results import Result


def main(arguments: Sequence[str]) -> int:
    """Gather as the command line says; the exit status: 1 where a run that was named has no result."""
    options = parse(arguments)
    from toolkit.collection import published_of
    from toolkit.results_table import README, RECORD, merged, read_record, table, with_table, write_record

    recipes = options.recipes or of_checkout()
    before = read_record(recipes / RECORD)
    found = gather(options.runs or tested(recipes), named=bool(options.runs))
    there = []
    for one in merged(before, found):
        if not Path(one.yaml).is_absolute() and (recipes / one.recipe / one.yaml).is_file():
            there.append(one)
        else:
            print(f"left out: {recipes / one.recipe} has no {one.yaml}, with which seed {one.seed} was trained")
    text = with_table(recipes / README, table(there, published_of(recipes)))
    write_record(recipes / RECORD, there)
    write_atomically(recipes / README, text)
    print(f"{recipes / README}: {len(there)} runs, of which {len(found)} were read now")
    return 1 if len(found) < len(options.runs) else 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        prog="asr results", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="folders RECIPE/results/NAME (default: all)")
    parser.add_argument("--recipes", type=Path, metavar="FOLDER", help="the folder of recipes (those of the project)")
    return parser.parse_args(arguments)


def tested(recipes: Path) -> list[Path]:
    """The folders of all runs of recognisers that were tested."""
    return sorted({report.parent for report in recipes.glob("*/results/*/wer_*.txt")})


def of_checkout() -> Path:
    """The project's own recipes.

    Raises
    ------
    ConfigError
        They were installed with the package, among files that are not to be changed.
    """
    recipes = shipped("recipes")
    if not (recipes.parent / "setup.py").is_file():
        raise ConfigError(f"--recipes: name a folder of recipes; {recipes} was installed, and is no checkout")
    return recipes


def gather(runs: Sequence[Path], *, named: bool) -> list[Result]:
    """The results of runs; of each that is not taken, says why."""
    from toolkit.run_results import read_run

    found: dict[tuple[str | int, ...], tuple[Path, Result]] = {}
    for run in runs:
        try:
            result = read_run(run)
        except ExperimentError as error:
            print(f"left out: {error}")
            continue
        if result.options and not named:
            print(f"left out: {run}: with {result.options}; name the run to take it")
            continue
        if result.repetition in found:
            print(f"left out: {found[result.repetition][0]}: {run} is of the same YAML and seed")
        found[result.repetition] = run, result
    return [result for _, result in found.values()]
