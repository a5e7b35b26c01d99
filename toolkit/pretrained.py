"""Model folders: ``hyperparams.yaml``, the files it names, and weights; made by a run, read by inference."""

from __future__ import annotations

import contextlib
import importlib
import logging
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.checkpoints import WEIGHTS, are_int8, model_weights
from toolkit.errors import ConfigError, ExperimentError, ModelError
from toolkit.files import replacing, write_atomically
from toolkit.hparams import HparamsDocument, tag_of, tree_nodes
from toolkit.models.int8 import use_int8
from toolkit.models.wav2vec2 import describe
from toolkit.tokenizer import read_pieces

logger = logging.getLogger(__name__)

HPARAMS_FILE = "hyperparams.yaml"
AVERAGE = "average_checkpoints"
LOADS_LANGUAGE_MODEL = "!apply:toolkit.pretrained.load_language_model"
# What a run copies into its folder, so that it is all that inference needs: key of the YAML -> name in the folder.
COLLECTED = {
    "tokenizer_file": "tokenizer.model",
    "lm_folder": "lm",
    "arpa_file": "lm.arpa.gz",  # read whether it is gzipped or not
    "wav2vec2": "wav2vec2.json",
}


def load_model_folder(folder: str | Path, keys: Iterable[str]) -> dict[str, Any]:
    """The named objects of a folder's YAML, as `load_document` builds them."""
    return load_document(open_document(Path(folder)), keys)


def open_document(folder: Path, hparams_file: str = HPARAMS_FILE) -> HparamsDocument:
    """The YAML of a model folder.

    Raises
    ------
    ExperimentError
        There is none.
    """
    if not (folder / hparams_file).is_file():
        raise ExperimentError(f"{folder}: no {hparams_file} here; name the output folder of a training run")
    return HparamsDocument(folder / hparams_file)


def load_document(document: HparamsDocument, keys: Iterable[str], *, trust_source_code: bool = False) -> dict[str, Any]:
    """The named objects of a document, among them ``model`` with the weights beside it, in evaluation mode.

    Only the named keys and what they refer to are built, and, unless the source code is trusted, only from the packages
    that a model may use.

    Raises
    ------
    ExperimentError
        When there are no weights yet.
    ConfigError
        When the YAML is damaged, lacks a key or asks for anything that a model may not use.
    ModelError
        When the weights do not fit the model that the YAML declares.
    """
    folder = document.path.parent
    missing = [key for key in (*keys, "output_folder") if key not in document]
    if missing:
        raise ConfigError(f"{document.path}: declares no {', '.join(missing)}; name the run of another kind of model")
    document.keep(document.needed_by([*keys, "output_folder", AVERAGE]))
    document.override({"output_folder": str(folder)})
    if not trust_source_code:
        document.check_safe()
        document.check_files()
    with importable(folder) if trust_source_code else contextlib.nullcontext():
        loaded = document.build()
    load_weights(loaded["model"], folder, loaded.get(AVERAGE) or 1)
    model = loaded["model"].eval()
    if are_int8(folder) and hasattr(model, "encoder"):  # where the work is
        use_int8(model.encoder)
    return loaded


@contextlib.contextmanager
def importable(folder: Path) -> Iterator[None]:
    """A time in which the modules of a folder can be imported; those of another folder may have the same names."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder.resolve()))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder.resolve()))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(folder.resolve()):
                del sys.modules[name]


def load_weights(model: nn.Module, folder: str | Path, average: int = 1) -> None:
    """Put a folder's (averaged) weights into a model; a ModelError says which do not fit."""
    try:
        model.load_state_dict(model_weights(folder, average))
    except RuntimeError as error:
        raise ModelError(
            f"{folder}: the weights do not fit the model of its YAML: {' '.join(str(error).split())}"
        ) from None


def trained_weights(folder: str | Path) -> dict[str, Tensor]:
    """The weights that a run's model is used with: the mean of as many of the best checkpoints as its YAML says.

    Raises
    ------
    ExperimentError
        The folder is not a run's, or no epoch was finished.
    """
    document = open_document(Path(folder))
    document.keep(document.needed_by([AVERAGE]))
    document.check_safe()
    document.check_files()
    return model_weights(folder, document.value(AVERAGE) or 1)


def has_tokens_of(folder: str | Path, tokenizer_file: str | Path | None) -> bool:
    """Whether a run's tokens stand for the same pieces of text as a tokenizer's; also when either has no tokenizer."""
    theirs = Path(folder) / COLLECTED["tokenizer_file"]
    return not tokenizer_file or not theirs.is_file() or read_pieces(theirs) == read_pieces(tokenizer_file)


def load_language_model(folder: str | Path) -> nn.Module:
    """The language model that ``train_lm.py`` left in a run's folder, ready to score.

    Raises
    ------
    ExperimentError
        When there is none; the message says how to train one.
    ConfigError
        It needs another language model, which could be itself.
    """
    if not (Path(folder) / HPARAMS_FILE).is_file():
        raise ExperimentError(
            f"{folder}: no language model here; train one with `python train_lm.py hparams/lm.yaml`, "
            "or set lm_folder to the output folder of its run"
        )
    document = open_document(Path(folder))
    document.keep(document.needed_by(["model", "output_folder", AVERAGE]))
    if any(tag_of(node) == LOADS_LANGUAGE_MODEL for node in tree_nodes(document.data)):
        raise ConfigError(f"{document.path}: a language model cannot be made of another; `{LOADS_LANGUAGE_MODEL}`")
    return load_document(document, ["model"])["model"].requires_grad_(False)


def collect(source: str | Path, target: str | Path) -> None:
    """Copy a file, or of a run's folder what it takes to use its model, over ``target``; describe a wav2vec2 there."""
    source, target = Path(source), Path(target)
    if target.name == COLLECTED["wav2vec2"]:
        write_atomically(target, describe(source))
    elif source.is_file():
        _copy(source, target)
    elif (source / HPARAMS_FILE).is_file() and source.resolve() != target.resolve():
        with replacing(target / WEIGHTS) as partial:
            torch.save(trained_weights(source), partial)
        for name in (HPARAMS_FILE, COLLECTED["tokenizer_file"]):
            if (source / name).is_file():
                _copy(source / name, target / name)


def _copy(source: Path, target: Path) -> None:
    if source.resolve() != target.resolve():
        with replacing(target) as partial:
            shutil.copyfile(source, partial)
