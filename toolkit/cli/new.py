"""Start a recipe of your own from a template or from another recipe.

    asr new digits
    asr new mine --from AN4

The new folder is a recipe that runs as it is: of the template, on speech that it synthesises. Its README.md says how.
Change the preparation script to read your data, and the rest stays. `asr list` names what there is to begin with.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from toolkit.collection import find_recipe
from toolkit.errors import ExperimentError
from toolkit.files import making_folder

# What a recipe makes is not part of it.
MADE = (
    "corpus",
    "data",
    "manifests",
    "results",
    "mlflow.db",
    "mlruns",
    "wandb",
    "slurm-*.out",
    "__pycache__",
    "*.part",
    ".*",
)

# ../AN4/an4_prepare.py, in commands, links and YAML files
OUTSIDE = re.compile(r"(?<![\w./])(?:\.\./)+[\w./-]*\w")
TEXTS = {".md", ".py", ".yaml"}


def main(arguments: Sequence[str]) -> int:
    """Copy what the command line names; the exit status."""
    options = parse(arguments)
    copy_recipe(find_recipe(options.source).folder, options.name)
    print(f"{options.name} is a recipe that runs as it is; {options.name / 'README.md'} says how.")
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        prog="asr new", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", type=Path, metavar="NAME", help="folder to make")
    parser.add_argument("--from", dest="source", default="asr", metavar="RECIPE", help="what to copy (asr)")
    return parser.parse_args(arguments)


def copy_recipe(recipe: Path, target: Path) -> None:
    """Copy a recipe without what it made, whole or not at all; what it names beside it, is named where it is.

    Raises
    ------
    ExperimentError
        The target exists, or cannot be made.
    """
    if target.exists():
        raise ExperimentError(f"{target} exists already; choose another name, or remove it")
    try:
        with making_folder(target) as partial:
            shutil.copytree(recipe, partial, ignore=shutil.ignore_patterns(*MADE))
            for file in (file for file in partial.rglob("*") if file.suffix in TEXTS):
                text = file.read_text(encoding="utf-8")
                file.write_text(_with_outside(text, recipe, target), encoding="utf-8")
    except OSError as error:
        raise ExperimentError(f"{target}: cannot be made ({error.strerror or error})") from error


def _with_outside(text: str, recipe: Path, target: Path) -> str:
    """The text of a recipe's file with whole paths of what it names outside of the recipe and a copy would not find."""

    def whole(found: re.Match) -> str:
        there = (recipe / found[0]).resolve()
        same = not there.exists() or (target / found[0]).resolve() == there
        return found[0] if same else str(there)

    return OUTSIDE.sub(whole, text)
