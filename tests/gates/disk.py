"""What the gates look at: the project as it lies on disk, without what recipes and installations make.

A gate is a function ``find_...(folder) -> list[str]`` of sentences about what is wrong, so that it can be asked about
any recipe: those of the project, and the one that `asr new` has just made.
"""

from __future__ import annotations

import ast
import importlib.util
import os
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any

from toolkit.cli import new

ROOT = Path(__file__).parents[2]
MADE = (*new.MADE, "*.egg-info", "build", "dist")


def is_made(name: str) -> bool:
    """Whether a file or folder of this name is made by running or installing something."""
    return any(fnmatch(name, pattern) for pattern in MADE)


def files(folder: Path, pattern: str) -> list[Path]:
    """The files below a folder whose names match, as they were written by hand."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_made(name)]
        found += [Path(place, name) for name in names if fnmatch(name, pattern) and not is_made(name)]
    return sorted(found)


def recipe_folders() -> list[Path]:
    """Every recipe and every template."""
    beside = [path for parent in ("recipes", "templates") for path in sorted((ROOT / parent).iterdir())]
    return [path for path in beside if path.is_dir() and not is_made(path.name)]


def yaml_files(recipe: Path) -> list[Path]:
    """The experiments of a recipe."""
    return sorted((recipe / "hparams").glob("*.yaml"))


def load_script(path: Path) -> ModuleType:
    """A script as a module, without running its ``main``."""
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parse(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def without_docstrings(tree: ast.Module) -> ast.Module:
    """The tree, its docstrings and those of its functions and classes taken out."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return tree


def setup_argument(name: str) -> Any:
    """An argument of setup.py's ``setup(...)`` that is written out there."""
    return next(ast.literal_eval(value) for key, value in _setup_arguments() if key == name)


def _setup_arguments() -> Iterator[tuple[str | None, ast.expr]]:
    for node in ast.walk(parse(ROOT / "setup.py")):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "setup":
            yield from ((keyword.arg, keyword.value) for keyword in node.keywords)
