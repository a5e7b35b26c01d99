"""YAML files: every key is known and used, and the first lines say how to run the experiment."""

from __future__ import annotations

import ast
from itertools import takewhile
from pathlib import Path

import pytest
from commands import find_broken_commands
from disk import ROOT, files, parse, recipe_folders, yaml_files

from toolkit.brains.key_table import brains, key_table
from toolkit.collection import notes, script_of
from toolkit.declarations import check_declarations
from toolkit.errors import ConfigError
from toolkit.hparams import STANDARD_KEYS, HparamsDocument

MAX_LINES = 120

RECIPES = recipe_folders()


def find_bad_yamls(recipe: Path) -> list[str]:
    """What is wrong with the YAML files of a recipe."""
    return [f"{path.name}: {problem}" for path in yaml_files(recipe) for problem in _problems(path, recipe)]


def _problems(path: Path, recipe: Path) -> list[str]:
    try:
        document = HparamsDocument(path)
        document.check_keys()
        check_declarations(document)
    except ConfigError as error:
        return [str(error)]
    lines = path.read_text(encoding="utf-8").splitlines()
    opening = "\n".join(takewhile(lambda line: line.startswith("#"), lines))
    problems = find_broken_commands(opening, recipe)
    if f"python {script_of(document)} hparams/{path.name}" not in opening:
        problems.append(f"the opening comment does not say `python {script_of(document)} hparams/{path.name}`")
    written = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if len(written) > MAX_LINES:
        problems.append(f"{len(written)} lines, expected at most {MAX_LINES} without comments")
    return problems


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_yaml_files(recipe: Path):
    assert find_bad_yamls(recipe) == []
    scripts = {script_of(HparamsDocument(path)) for path in yaml_files(recipe)}
    assert scripts == {path.name for path in recipe.glob("train*.py")}


def test_every_yaml_is_read():
    read = [path for recipe in RECIPES for path in yaml_files(recipe)]
    # no experiments; tests/dataio/test_lhotse_yaml.py builds the one, `asr list` and `asr results` read the other
    read += [ROOT / "templates/lhotse.yaml", ROOT / "recipes/collection.yaml"]
    assert sorted(read) == [path for top in ("recipes", "templates") for path in files(ROOT / top, "*.y*ml")]


def test_every_standard_key_is_read_by_something():
    folders = [ROOT / "toolkit", *RECIPES]
    trees = [parse(path) for folder in folders for path in files(folder, "*.py") if path.name != "hparams.py"]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    read = {node.value for node in nodes if isinstance(node, ast.Constant)}
    read |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    assert set(STANDARD_KEYS) - read == set()


def test_the_table_of_keys_is_what_asr_list_prints():
    made = (ROOT / "recipes/KEYS.md").read_text(encoding="utf-8")
    assert made == key_table(), "make it again: asr list --keys > recipes/KEYS.md"
    rows = [line.split("|")[1:-1] for line in made.splitlines() if line.startswith("| `")]
    assert [row[0].strip(" `") for row in rows] == list(STANDARD_KEYS)
    assert {len(row) for row in rows} == {3 + len(brains())}
    assert {"AttentionBrain", "CTCBrain", "LanguageModelBrain", "NgramTrainer", "TransducerBrain"} <= brains().keys()


def test_every_recipe_has_its_language():
    assert {path.name for path in RECIPES} <= {name for name, known in notes().items() if known.get("languages")}
