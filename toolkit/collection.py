"""The recipes and templates that come with the project, by what their folders say of themselves."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from toolkit.errors import ConfigError, did_you_mean
from toolkit.hparams import HparamsDocument
from toolkit.shipped import shipped

PLACES = ("recipes", "templates")
# In the order in which they are run.
SCRIPTS = ("train_tokenizer.py", "train_lm.py", "train.py")
# Beside the recipes: languages, and figures that others have published, by the name of a recipe.
NOTES = "collection.yaml"


@dataclass(frozen=True)
class Recipe:
    """A folder with ``hparams/*.yaml``, the scripts that read them, and mostly one that prepares a data set."""

    folder: Path

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.resolve().name

    @cached_property
    def experiments(self) -> list[Path]:
        """Its YAML files: tokenizers first, then language models, then recognisers."""
        return sorted(self.folder.glob("hparams/*.yaml"), key=lambda path: (SCRIPTS.index(script_of(path)), path.name))

    @property
    def recognisers(self) -> list[Path]:
        """The YAML files of ``train.py``."""
        return [path for path in self.experiments if script_of(path) == SCRIPTS[-1]]

    @property
    def preparation(self) -> Path | None:
        """Its ``<dataset>_prepare.py``."""
        return next(iter(sorted(self.folder.glob("*_prepare.py"))), None)

    @property
    def data(self) -> str:
        """Its data set in a line: the first one of what the preparation says of itself.

        Of a recipe whose data others prepare, the first one of its README.
        """
        if self.preparation is None:
            _, *paragraphs = (self.folder / "README.md").read_text(encoding="utf-8").split("\n\n")
            return " ".join("".join(paragraphs[:1]).split()).partition(": ")[0]
        story = docstring_of(self.preparation)
        return " ".join(story.partition("\n\n")[0].split()).removeprefix("Manifests of ")

    @property
    def prepare_commands(self) -> list[str]:
        """The commands that the preparation shows, such as ``python an4_prepare.py /data/an4 manifests``."""
        story = docstring_of(self.preparation) if self.preparation else ""
        return [command.strip() for command in re.findall(r"^ +(python \S+_prepare\.py[^#\n]*)", story, re.MULTILINE)]


def script_of(experiment: Path | HparamsDocument) -> str:
    """The script that reads an experiment: which one, its keys say."""
    document = experiment if isinstance(experiment, HparamsDocument) else HparamsDocument(experiment)
    if "model_type" in document:
        return "train_tokenizer.py"
    return "train_lm.py" if "train_text" in document else "train.py"


def opening(experiment: Path) -> str:
    """The comment that a YAML opens with."""
    lines = experiment.read_text(encoding="utf-8").splitlines()
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in takewhile(_is_comment, lines))


def _is_comment(line: str) -> bool:
    return line.startswith("#")


def docstring_of(script: Path) -> str:
    """What a script says of itself."""
    return ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""


def collection() -> Iterator[Recipe]:
    """Every recipe, then every template."""
    for place in PLACES:
        yield from (Recipe(path.parent) for path in sorted(shipped(place).glob("*/hparams")))


def find_recipe(name: str) -> Recipe:
    """The recipe or template of a name, or in a folder.

    Raises
    ------
    ConfigError
        There is none; the message names those that are there.
    """
    known = {recipe.name: recipe for recipe in collection()}
    if name in known:
        return known[name]
    if (Path(name) / "hparams").is_dir():
        return Recipe(Path(name))
    raise ConfigError(
        f"there is no recipe or template {name!r}{did_you_mean(name, known)}; there is {', '.join(known)}"
    )


def notes(recipes: Path | None = None) -> dict[str, dict[str, Any]]:
    """What is known of each recipe beside what its folder says: see `NOTES`; of a folder without the file, nothing."""
    file = (recipes or shipped("recipes")) / NOTES
    return yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}


def published_of(recipes: Path) -> dict[str, list[dict[str, Any]]]:
    """The figures that others have published on the test sets of a folder's recipes, by their names."""
    known = notes(recipes).items()
    return {name: one["published"] for name, one in known if "published" in one and (recipes / name).is_dir()}
