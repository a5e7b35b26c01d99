"""Where a trained model comes from, as its folder tells without being loaded: this module imports no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.errors import ConfigError
from toolkit.inference.service_folder import CHECKPOINT, ServiceFolder, is_service_folder

PROVENANCE_FILE = "provenance.json"
# The folders before a file's name, ``/data/an4/`` or ``../``, but neither what a URL has nor the slash of WER/CER.
ABSOLUTE = re.compile(r"(?<![\w.:/<>])(?:~|\.\.?)?/(?:[\w.+@%~-]+/)*(?=[\w.+-])")
ANY = re.compile(r"(?<![\w:/.<>])(?:[\w.+@%~-]*/)+(?=[\w.+-])")  # also ``results/ctc/``
# Of a ServiceFolder's training, in its description.
MASTER = (*CHECKPOINT, "finetune_master")
DATA = (*MASTER, "dataproducer_client", "task", "tdp")
LENGTHS = (*DATA, "stats", "audio_lens_stats", "0")


def facts_of(folder: Path) -> dict[str, Any] | None:
    """What is known of the model in a folder: what `asr export` wrote, or a service's description says; else None.

    Raises
    ------
    ConfigError
        The file that tells is damaged.
    ModelError
        A service's description names a model that is not there.
    """
    if (folder / PROVENANCE_FILE).is_file():
        return read_facts(folder / PROVENANCE_FILE)
    return service_facts(ServiceFolder.read(folder)) if is_service_folder(folder) else None


def without_folders(facts: Any, folders: re.Pattern = ABSOLUTE) -> Any:
    """Facts for people elsewhere: of files only the names, without the folders; in commands no relative ones either."""
    if isinstance(facts, dict):
        return {name: without_folders(value, ANY if name == "command" else folders) for name, value in facts.items()}
    if isinstance(facts, list):
        return [without_folders(value, folders) for value in facts]
    return folders.sub("", facts) if isinstance(facts, str) else facts


def read_facts(file: Path) -> dict[str, Any]:
    """What provenance.json tells.

    Raises
    ------
    ConfigError
        It is damaged.
    """
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(facts.get("model", {}), dict):
            return facts
    except (OSError, ValueError, RecursionError, AttributeError):
        pass
    raise ConfigError(f"{file}: expected what `asr export` writes; export the model again")


def service_facts(service: ServiceFolder) -> dict[str, Any]:
    """Which models a service has, what they learned from, and the numbers of the search; no paths of other machines."""
    count, mean = (_number(service.at(*LENGTHS, name)) for name in ("count", "mean"))
    facts = {
        "model": _name(service.at(*CHECKPOINT, "name")),
        "fine-tuned from": _name(service.at(*MASTER, "model_to_finetune", "model_name_or_path")),
        "language model": _name(service.at("decoder", "lm_data", "name")),
        "data": dict(_corpora(service.at(*DATA, "corpora", "data"))),
        "learning rate": _number(service.at(*MASTER, "finetune_client", "task", "train_args", "learning_rate")),
        "utterances heard": count and int(count),
        "hours heard": count and mean and round(count * mean / 3600),
        "search": {name: value for name, value in service.options().items() if name != "language_model"},
    }
    return {name: value for name, value in facts.items() if value}


def _corpora(parts: Any) -> Iterator[tuple[str, dict[str, float]]]:
    """Each corpus of the training: its hours, and how often it is heard for once that one of factor 1 is."""
    for part in parts if isinstance(parts, list) else ():
        names = [name for key in ("name", "targz_file") for name in _texts(part, key)]
        hours, factor = (_number(part.get(key)) for key in ("proportion", "factor")) if names else (None, None)
        if names:
            yield _name(names[0]), {"hours": round(hours / factor, 1), "factor": factor} if hours and factor else {}


def _texts(tree: Any, key: str) -> Iterator[str]:
    """The texts that stand under a key, wherever in a tree of objects."""
    for name, value in tree.items() if isinstance(tree, dict) else ():
        if name == key and isinstance(value, str):
            yield value
        yield from _texts(value, key)


def _name(value: Any) -> str | None:
    """A name; of a path, its last part."""
    if not isinstance(value, str):
        return None
    return Path(value).name if value.startswith("/") else value


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) else None
