"""The recipes and templates that come with the project: what of, in which language, and what they train.

    asr list
    asr list AN4
    asr list --keys > recipes/KEYS.md

With the NAME of a recipe, or its folder: its experiments, in the order in which they are run, with the comments that
they open with. `asr new mine --from AN4` makes a recipe of your own of it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from collections.abc import Sequence

from toolkit.collection import Recipe, collection, find_recipe, notes, opening
from toolkit.errors import ConfigError


def main(arguments: Sequence[str]) -> int:
    """Print what the command line asks for; the exit status."""
    options = parse(arguments)
    if options.keys:
        from toolkit.brains.key_table import key_table

        print(key_table(), end="")
    elif options.name:
        print(describe(find_recipe(options.name)))
    else:
        print("\n".join(table(list(collection()), _width())))
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        prog="asr list", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="of a recipe or template (default: all of them)")
    parser.add_argument("--keys", action="store_true", help="the keys that any recipe's YAML may have, as Markdown")
    return parser.parse_args(arguments)


def _width() -> int | None:
    """Of the terminal; None where the lines go elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(recipes: Sequence[Recipe], width: int | None = None) -> list[str]:
    """A line for each recipe: name, languages, recognisers, data set."""
    known = notes()
    rows = [("recipe", "languages", "train.py", "data")]
    for recipe in recipes:
        trained = " ".join(path.stem for path in recipe.recognisers)
        rows.append((recipe.name, known.get(recipe.name, {}).get("languages", ""), trained, recipe.data))
    sizes = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join([*map(str.ljust, row, sizes), row[-1]]).rstrip() for row in rows]
    return [line if width is None or len(line) <= width else f"{line[: width - 3]}..." for line in lines]


def describe(recipe: Recipe) -> str:
    """The data set of a recipe, how it is prepared, and its experiments with their opening comments.

    Raises
    ------
    ConfigError
        The recipe has no experiment.
    """
    if not recipe.experiments:
        raise ConfigError(f"{recipe.folder}: has no hparams/*.yaml")
    parts = [f"{recipe.name}: {recipe.data}\n{recipe.folder}", *recipe.prepare_commands[:1]]
    parts += [f"hparams/{path.name}\n{textwrap.indent(opening(path), '    ')}" for path in recipe.experiments]
    return "\n\n".join(parts)
