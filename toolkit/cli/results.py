"""Gather what trainings reached into the table of recipes/README.md.

    asr results
    asr results recipes/AN4/results/ctc_tars
    asr results --recipes my_recipes

Reads the folders of runs, RECIPES/*/results/*: error rates, parameters, hours of audio, time, hardware and commit, as
the runs left them. What is found is added to RECIPES/results.json, which stays when the runs are gone, and the table of
RECIPES/README.md is made of that: the mean over seeds, beside what others have published (RECIPES/collection.yaml).

A run with other keys set than its YAML's is left out unless it is named. Results of a YAML that is no more are dropped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import ExperimentError
from toolkit.files import write_atomically
from toolkit.shipped import shipped

if TYPE_CHECKING:
    from toolkit.run_results import Result


def main(arguments: Sequence[str]) -> int:
    """Gather as the command line says; the exit status: 1 where a run that was named has no result."""
    options = parse(arguments)
    from toolkit.collection import published_of
    from toolkit.results_table import README, RECORD, merged, read_record, table, with_table, write_record

    recipes = options.recipes or shipped("recipes")
    before = read_record(recipes / RECORD)
    found = gather(options.runs or sorted(recipes.glob("*/results/*/")), named=bool(options.runs))
    there = [one for one in merged(before, found) if (recipes / one.recipe / one.yaml).is_file()]
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


def gather(runs: Sequence[Path], *, named: bool) -> list[Result]:
    """The results of runs; of each without one, says why."""
    from toolkit.run_results import read_run

    found = []
    for run in runs:
        try:
            result = read_run(run)
        except ExperimentError as error:
            print(f"left out: {error}")
            continue
        if result.options and not named:
            print(f"left out: {run}: with {result.options}; name the run to take it")
        else:
            found.append(result)
    return found
