"""What a YAML declares, checked before anything is built: the keys that its Brain reads, what its classes take."""

from __future__ import annotations

import inspect
import pydoc

from toolkit.errors import ConfigError, did_you_mean
from toolkit.hparams import STANDARD_KEYS, HparamsDocument

# The standard keys that any experiment may have; the others are those of a Brain, or of one that has none.
GENERAL_KEYS = {"seed", "output_folder", "brain", "model", "tokenizer", "tokenizer_file", "lm_folder", "sample_rate"}
TOKENIZER_KEYS = {"train_text", "model_type", "vocab_size"}


def check_declarations(document: HparamsDocument) -> None:
    """Check the keys of the experiment's Brain and the arguments of every class.

    A Brain says in ``needs`` and ``reads`` which standard keys it needs and which it reads if they are there.

    Raises
    ------
    ConfigError
        A key is missing, or is one that the Brain does not read; or a class is given an argument that it does not take.
    """
    _check_brain_keys(document)
    for key, name, arguments in document.calls():
        taken = _parameters(_located(name))
        for argument in arguments if taken else ():
            if argument not in taken:
                hint = did_you_mean(argument, taken) or f"; it takes {', '.join(taken)}"
                raise ConfigError(f"{document.path}: {key}: {name} takes no {argument!r}{hint}")


def _check_brain_keys(document: HparamsDocument) -> None:
    if "brain" not in document and "model" in document:
        raise ConfigError(f"{document.path}: has no brain, the class that trains the model")
    brain = next((_located(name) for key, name, _ in document.calls() if key == "brain"), None)
    if "brain" in document and not hasattr(brain, "needs"):
        return  # somebody's own
    needs, reads = (brain.needs, brain.reads) if brain else (set(), TOKENIZER_KEYS)
    reader = brain.__name__ if brain else "training a tokenizer"
    if missing := [key for key in STANDARD_KEYS if key in needs - document.data.keys()]:
        described = ", ".join(f"{key} ({STANDARD_KEYS[key]})" for key in missing)
        raise ConfigError(f"{document.path}: {reader} needs {described}")
    for key in STANDARD_KEYS.keys() & document.data.keys() - GENERAL_KEYS - needs - reads - document.referred():
        raise ConfigError(
            f"{document.path}, line {document.line(key)}: {reader} does not read the key {key!r}; remove it"
        )
    if {"lr_annealing", "lr_schedule"} <= document.data.keys():
        raise ConfigError(f"{document.path}: lr_annealing and lr_schedule both set the learning rate; keep one of them")


def _located(name: str) -> object:
    """What a dotted name stands for; ``None`` when it cannot be imported, which building says better."""
    try:
        return pydoc.locate(name)
    except pydoc.ErrorDuringImport:
        return None


def _parameters(called: object) -> list[str]:
    """The keywords that a class or a function takes; none when it takes any, or does not say."""
    try:
        parameters = inspect.signature(called).parameters.values() if callable(called) else ()
    except ValueError:  # written in C
        return []
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return []
    return [one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
