"""Model folders as SpeechBrain publishes them: a YAML that composes modules, and a ``Pretrainer`` with their files."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.errors import ConfigError
from toolkit.hparams import HparamsDocument, tag_of, tree_nodes
from toolkit.inference.sources import find_file, find_folder
from toolkit.inference.translation import translate

logger = logging.getLogger(__name__)

NGRAM = "kenlm_model_path"  # in test_beam_search
ENCODERS = "!new:speechbrain.integrations.huggingface."  # with a ``source``


def load_published(document: HparamsDocument, *, trusted: bool = False) -> dict[str, Any]:
    """All that the YAML of a SpeechBrain model folder of any age declares, its files loaded.

    Parameters
    ----------
    document
        The YAML, in the folder of its files.
    trusted : bool
        Whether to build what it names whatever it is, modules of Python in the folder included.

    Raises
    ------
    ConfigError
        The YAML names what there is not, or what a model may not use.
    ModelError, TokenizerError
        A file is missing or does not fit.
    """
    folder = document.path.parent
    for change in translate(document):
        logger.info("%s, %s", document.path, change)
    if not trusted:
        document.check_safe()
    _find_encoders(document)
    with importable(folder) if trusted else contextlib.nullcontext():
        loaded = document.build()
    if not isinstance(loaded.get("modules"), dict):
        raise ConfigError(f"{document.path}: declares no `modules`, which are what is used of the model")
    loaded["pretrainer"].load(folder, trusted=trusted)
    search = loaded.get("test_beam_search")
    if isinstance(search, dict) and search.get(NGRAM):
        search[NGRAM] = str(find_file(search[NGRAM], folder, trusted=trusted))
    return loaded


def _find_encoders(document: HparamsDocument) -> None:
    """Let encoders of the hub come from its cache; SpeechBrain would ask the hub, and download to ``save_path``."""
    for node in tree_nodes(document.data):
        if (tag_of(node) or "").startswith(ENCODERS) and "source" in node:
            part = document.copy()
            part.data["source"] = node["source"]
            node["source"] = str(find_folder(part.value("source")))


@contextlib.contextmanager
def importable(folder: Path) -> Iterator[None]:
    """A time in which the modules of a folder can be imported."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
