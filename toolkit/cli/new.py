"""Start a recipe of your own from a template.

    asr new digits
    cd digits && python synthetic_prepare.py corpus manifests

The new folder is a recipe that runs as it is, on speech that it synthesises: its README.md says how. Change the
preparation script to read your data, and the rest stays.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from toolkit.errors import ConfigError, ExperimentError, did_you_mean
from toolkit.files import making_folder
from toolkit.shipped import shipped

# What a recipe makes is not part of it.
MADE = ("corpus", "manifests", "results", "__pycache__", "*.pyc", "*.part", ".*")


def main(arguments: Sequence[str]) -> int:
    """Copy the template that the command line names; the exit status."""
    options = parse(arguments)
    copy_template(find_template(options.template), options.name)
    print(f"{options.name} is a recipe that runs as it is; {options.name / 'README.md'} says how.")
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        prog="asr new", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", type=Path, metavar="NAME", help="folder to make")
    parser.add_argument("--from", dest="template", default="asr", metavar="TEMPLATE", help="what to copy (asr)")
    return parser.parse_args(arguments)


def find_template(name: str) -> Path:
    """The folder of a template.

    Raises
    ------
    ConfigError
        There is none of this name; the message names those that are there.
    """
    templates = shipped("templates")
    known = sorted(folder.name for folder in templates.iterdir() if folder.is_dir())
    if name not in known:
        raise ConfigError(f"there is no template {name!r}{did_you_mean(name, known)}; there is {', '.join(known)}")
    return templates / name


def copy_template(template: Path, target: Path) -> None:
    """Copy a template without what it made, whole or not at all.

    Raises
    ------
    ExperimentError
        The target exists, or cannot be made.
    """
    if target.exists():
        raise ExperimentError(f"{target} exists already; choose another name, or remove it")
    try:
        with making_folder(target) as partial:
            shutil.copytree(template, partial, ignore=shutil.ignore_patterns(*MADE))
    except OSError as error:
        raise ExperimentError(f"{target}: cannot be made ({error.strerror or error})") from error
