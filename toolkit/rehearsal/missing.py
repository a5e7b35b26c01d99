"""The files and folders that a YAML names and that are not there, and the command that makes each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from toolkit.collection import Recipe, script_of
from toolkit.hparams import HparamsDocument

RUNS = ("tokenizer_file", "lm_folder", "encoder_folder", "init_from")
TEXTS = ("train_text", "valid_text", "test_text")
DATA = ("train_data", "valid_data", "test_data")
# The keys inside a data set that name files or folders; `path` of hf_dataset may be a name on the hub.
PATHS = {
    *("manifest_filepath", "tarred_audio_filepaths", "cuts_path", "shar_path", "data_dir", "audio_dir"),
    *("paths", "source_paths", "target_paths", "manifest_path", "noise_path", "rir_path", "input_cfg"),
}
PATTERN = ("{", "_OP_", "*", "://")  # of several files, or elsewhere: what reads them says what is missing


def missing_files(document: HparamsDocument) -> dict[str, str]:
    """What is not there, by what names it: ``{"train_data.manifest_filepath": "manifests/train.json"}``."""
    named = [pair for top in (*RUNS, *TEXTS, *DATA) if top in document for pair in _named(document, top)]
    return {key: path for key, path in named if not Path(path).exists()}


def describe_missing(missing: Mapping[str, str], recipe: Recipe) -> list[str]:
    """A sentence for each command that has to be run, with what it makes, and for what no recipe makes."""
    by_command: dict[str, dict[str, str]] = {}
    for key, path in missing.items():
        by_command.setdefault(_command(Path(path), recipe), {}).setdefault(path, key)
    sentences = []
    for command, paths in by_command.items():
        named = ", ".join(f"{path} ({key})" for path, key in paths.items())
        made = f"; made by `{command}`" if command else ""
        sentences.append(f"not there: {named}{made}")
    return sentences


def _named(document: HparamsDocument, key: str) -> Iterator[tuple[str, str]]:
    part = document.copy()
    part.keep(part.needed_by([key]))
    value = part.build()[key]
    yield from _paths(value, key) if key in DATA else _texts(value, key)


def _paths(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """What a data set names, wherever in it."""
    entries = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in entries:
        where = f"{place}[{name}]" if isinstance(name, int) else f"{place}.{name}"
        yield from _paths(inner, where)
        if name in PATHS:
            yield from _texts(inner, where)


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """One path, a list of paths, or paths by name."""
    if isinstance(value, (str, Path)) and not any(mark in str(value) for mark in PATTERN):
        yield place, str(value)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, f"{place}.{name}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{place}[{number}]") if isinstance(inner, str) else ()


def _command(path: Path, recipe: Recipe) -> str:
    """The command of a recipe, this one or one beside it, that makes a file or folder; empty where none is known."""
    if path.parts[:1] != ("..",):
        return _training(path, recipe) or _preparation(path, recipe) or ""
    other, inner = Recipe(Path(*path.parts[:2])), Path(*path.parts[2:])
    command = _training(inner, other) or _preparation(inner, other)
    return f"cd {other.folder} && {command}" if command else ""


def _training(path: Path, recipe: Recipe) -> str | None:
    """The command of the experiment whose output folder that is, or is in."""
    for experiment in recipe.experiments:
        if path.is_relative_to(str(HparamsDocument(experiment).value("output_folder"))):
            return f"python {script_of(experiment)} hparams/{experiment.name}"
    return None


def _preparation(path: Path, recipe: Recipe) -> str | None:
    """The command of a preparation that writes to the folder of that; its name, where it writes to one around it."""
    near = [one for one in recipe.prepare_commands if any(path.is_relative_to(word) for word in one.split())]
    if not near:
        return None
    command = next((one for one in near if {str(path), str(path.parent)} & set(one.split())), None)
    if command is None:  # as MLS makes manifests/fr, and shows the command of manifests/de
        return f"python {recipe.preparation.name} ...  # see its --help"
    return command if len(near) == 1 else f"{command}  # or another that its --help shows"
