"""Model folders as SpeechBrain publishes them: a YAML that composes modules, and a ``Pretrainer`` with their files."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from torch import nn

from toolkit.errors import ConfigError
from toolkit.hparams import HparamsDocument, tag_of, tree_nodes
from toolkit.inference.checkpoints import Pretrainer
from toolkit.inference.sources import Origin
from toolkit.inference.translation import translate
from toolkit.pretrained import importable

logger = logging.getLogger(__name__)

NGRAM = "kenlm_model_path"  # in test_beam_search
ENCODERS = "!new:speechbrain.integrations.huggingface."  # with a ``source``, and where to put a download of it


def load_published(document: HparamsDocument, origin: Origin) -> dict[str, Any]:
    """All that the YAML of a SpeechBrain model folder of any age declares, its files loaded.

    Parameters
    ----------
    document
        The YAML, in the folder of its files.
    origin
        Where it comes from. Of a trusted folder is built whatever it names, modules of Python in it included.

    Raises
    ------
    ConfigError
        The YAML names what there is not, or what a model may not use.
    ModelError, TokenizerError
        A file is missing or does not fit.
    """
    for change in translate(document):
        logger.info("%s, %s", document.path, change)
    if not origin.trusted:
        document.check_safe()
    _find_encoders(document, origin)
    if not origin.trusted:
        document.check_files()
    with importable(origin.folder) if origin.trusted else contextlib.nullcontext():
        loaded = document.build()
    _check_kinds(document, loaded)
    loaded["pretrainer"].load(origin)
    search = loaded.get("test_beam_search") or {}
    if not isinstance(search, dict):
        raise ConfigError(f"{document.path}: test_beam_search: expected options by name, got {search!r}")
    if search.get(NGRAM):
        search[NGRAM] = str(origin.file(search[NGRAM]))
    return loaded


def _check_kinds(document: HparamsDocument, loaded: dict[str, Any]) -> None:
    """Raise a ConfigError unless there are modules, and a pretrainer."""
    modules = loaded.get("modules")
    if not isinstance(modules, dict):
        raise ConfigError(f"{document.path}: declares no `modules`, which are what is used of the model")
    for name, module in modules.items():
        if not isinstance(module, nn.Module):
            raise ConfigError(f"{document.path}: modules.{name}: expected a torch.nn.Module, got {module!r}")
    if not isinstance(loaded["pretrainer"], Pretrainer):
        raise ConfigError(f"{document.path}: pretrainer: expected a Pretrainer, got {loaded['pretrainer']!r}")


def _find_encoders(document: HparamsDocument, origin: Origin) -> None:
    """Let encoders of the hub come from its cache; SpeechBrain would ask the hub, and download to ``save_path``."""
    for node in tree_nodes(document.data):
        if (tag_of(node) or "").startswith(ENCODERS) and isinstance(node, Mapping) and "source" in node:
            part = document.copy()
            part.data["source"] = node["source"]
            found = str(origin.model(str(part.value("source"))))
            node["source"] = node["save_path"] = found
            document.given.add(found)
