"""What a YAML declares, checked before anything is built: the keys that its Brain reads, what its classes take."""

from __future__ import annotations

import inspect
import pydoc
from collections.abc import Iterator

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
    for problem in declaration_problems(document):
        raise ConfigError(problem)


def declaration_problems(document: HparamsDocument) -> Iterator[str]:
    """All that `check_declarations` looks for."""
    yield from _brain_problems(document)
    for key, name, arguments in document.calls():
        taken = _parameters(_located(name))
        for argument in arguments if taken else ():
            if argument not in taken:
                hint = did_you_mean(argument, taken) or f"; it takes {', '.join(taken)}"
                yield f"{document.path}: {key}: {name} takes no {argument!r}{hint}"


def _brain_problems(document: HparamsDocument) -> Iterator[str]:
    if "brain" not in document and "model" in document:
        yield f"{document.path}: has no brain, the class that trains the model"
        return
    brain = next((_located(name) for key, name, _ in document.calls() if key == "brain"), None)
    if "brain" in document and not hasattr(brain, "needs"):
        return  # somebody's own
    needs, reads = (brain.needs, brain.reads) if brain else (set(), TOKENIZER_KEYS)
    reader = brain.__name__ if brain else "training a tokenizer"
    if missing := [key for key in STANDARD_KEYS if key in needs - document.data.keys()]:
        described = ", ".join(f"{key} ({STANDARD_KEYS[key]})" for key in missing)
        yield f"{document.path}: {reader} needs {described}"
    unread = document.data.keys() - GENERAL_KEYS - needs - reads - document.referred()
    for key in (key for key in STANDARD_KEYS if key in unread):
        yield f"{document.path}, line {document.line(key)}: {reader} does not read the key {key!r}; remove it"
    if {"lr_annealing", "lr_schedule"} <= document.data.keys():
        yield f"{document.path}: lr_annealing and lr_schedule both set the learning rate; keep one of them"


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
