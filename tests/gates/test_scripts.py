"""Scripts read as the story of an experiment: short, documented, and the same in every recipe."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from commands import find_broken_commands
from disk import ROOT, files, parse, recipe_folders, without_docstrings, yaml_files

TEMPLATE = ROOT / "templates/asr"
DIFFERS = "Differs from the template:"
STAMPED = ("train.py", "train_lm.py", "train_tokenizer.py")
MAX_LINES = {"train*.py": 60, "*_prepare.py": 150, "*.py": 150}

RECIPES = recipe_folders()


def find_bad_scripts(recipe: Path) -> list[str]:
    """What is wrong with the scripts of a recipe."""
    return [f"{path.name}: {problem}" for path in scripts_of(recipe) for problem in _problems(path)]


def scripts_of(recipe: Path) -> list[Path]:
    return files(recipe, "*.py")


def _problems(path: Path) -> list[str]:
    tree, docstring = parse(path), ast.get_docstring(parse(path)) or ""
    problems = find_broken_commands(docstring, path.parent)
    if not re.search(rf"^    python {path.name}\b", docstring, re.MULTILINE):
        problems.append("the docstring does not show its command, `    python ...`")
    limit = next(limit for pattern, limit in MAX_LINES.items() if path.match(pattern))
    if count_lines(tree) >= limit:
        problems.append(f"{count_lines(tree)} lines of code, expected fewer than {limit}")
    if path.name in STAMPED and is_stamped(path) == (DIFFERS in docstring):
        problems.append(f"differs from {TEMPLATE / path.name}, or says so: `{DIFFERS} ...` in the docstring if it does")
    return problems


def count_lines(tree: ast.Module) -> int:
    """Lines of code: neither docstrings nor comments, nor the tables of a data set, such as a list of its speakers."""
    body = [node for node in without_docstrings(tree).body if not isinstance(node, ast.Assign)]
    return sum(node.end_lineno - node.lineno + 1 for node in body)


def is_stamped(path: Path) -> bool:
    """Whether a script is the template's, but for docstrings and comments."""
    ours, template = (ast.dump(without_docstrings(parse(one))) for one in (path, TEMPLATE / path.name))
    return ours == template


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_scripts(recipe: Path):
    assert find_bad_scripts(recipe) == []
    assert {path.name for path in scripts_of(recipe)} >= set(STAMPED)
    prepares = re.compile(r"(?<![\w/])manifests/")  # not ../AN4/manifests/, which are another recipe's
    own = any(prepares.search(path.read_text(encoding="utf-8")) for path in yaml_files(recipe))
    assert len([path for path in scripts_of(recipe) if path.name.endswith("_prepare.py")]) == own


def test_every_script_is_read():
    read = [path for recipe in RECIPES for path in scripts_of(recipe)]
    assert read == [path for top in ("recipes", "templates") for path in files(ROOT / top, "*.py")]


def test_few_scripts_differ():
    stamped = [path for recipe in RECIPES for path in scripts_of(recipe) if path.name in STAMPED]
    assert sum(DIFFERS in path.read_text(encoding="utf-8") for path in stamped) <= len(stamped) // 6
