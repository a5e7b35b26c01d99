"""All that could fail in hours of training, tried at once: keys, files, data, tokenizer, a step, searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from toolkit.brains.step_memory import Recipe as Training
from toolkit.brains.step_memory import Trainer
from toolkit.brains.warm_up import warn_of_long_warm_up
from toolkit.collection import Recipe, script_of
from toolkit.declarations import declaration_problems
from toolkit.errors import ToolkitError
from toolkit.experiment import check_kinds, settings
from toolkit.hparams import HparamsDocument
from toolkit.rehearsal.coverage import Looked, look_at_split, look_at_text
from toolkit.rehearsal.findings import Findings
from toolkit.rehearsal.missing import DATA, TEXTS, describe_missing, missing_files
from toolkit.rehearsal.one_step import batch_of, find_too_short, try_step
from toolkit.run_folder import check_run_folder
from toolkit.run_options import complete_run_options


def rehearse(experiment: Path, words: Sequence[str] = ()) -> Findings:
    """Look at an experiment as training would come to it; its paths are from the working folder, the recipe's.

    Parameters
    ----------
    words
        Settings, as of train.py: ``--lr 0.001 --device cpu``.

    Raises
    ------
    ConfigError
        A setting is of no key or option.
    """
    findings, recipe = Findings(), Recipe(Path.cwd())
    try:
        document = HparamsDocument(experiment)
    except ToolkitError as error:
        findings.problems.append(str(error))
        return findings
    overrides, run_opts = settings(document, list(words))
    document.override(overrides)
    findings.problems += [*document.key_problems(), *declaration_problems(document)]
    if findings.problems:  # what they lead to would only be said again
        return findings
    with findings.trying("the options of the run"):
        check_kinds(document)
        complete_run_options(run_opts, document)
    with findings.trying("reading the YAML"):
        missing = missing_files(document)
        findings.problems += describe_missing(missing, recipe)
        training = Training(experiment, run_opts.get("device") or _device(), overrides, run_opts)
        _look(document, set(missing), training, findings)
    with findings.trying("the output folder"):
        check_run_folder(Path(document.value("output_folder")), document, Path(script_of(document)))
    return findings


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _look(document: HparamsDocument, missing: set[str], training: Training, findings: Findings) -> None:
    """Look at the data that are there; where nothing is missing, train a step."""
    trainer, hparams = None, _built(document, (*DATA, *TEXTS, "seed", "sample_rate"))
    if missing:
        findings.notes.append("no training step was tried, as files are missing")
    elif "train_data" in document or "epoch_counter" in document:  # not a tokenizer or n-gram, made in one go
        with findings.trying("building the experiment"):
            trainer = Trainer(training)
            hparams = trainer.hparams
    looked = {name: _look_at(name, files, hparams, findings) for name, files in _sets(hparams) if _there(name, missing)}
    if trainer is not None and all(looked.values()):
        _try(trainer, looked, findings)


def _built(document: HparamsDocument, keys: Sequence[str]) -> dict[str, Any]:
    part = document.copy()
    part.keep(part.needed_by(keys))
    return part.build()


def _sets(hparams: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The data sets and texts of an experiment, by the names that messages give them."""
    found = []
    for key in (key for key in (*DATA, *TEXTS) if key in hparams):
        value = hparams[key]
        if isinstance(value, Mapping) and (key.startswith("test_") or key in TEXTS):  # a tokenizer's texts by language
            found += [(f"{key}.{name}", inner) for name, inner in value.items()]
        else:
            found.append((key, value))
    return found


def _there(name: str, missing: set[str]) -> bool:
    return not any(key == name or key.startswith((f"{name}.", f"{name}[")) for key in missing)


def _look_at(name: str, files: Any, hparams: Mapping[str, Any], findings: Findings) -> Looked | list[str] | None:
    """A data set, or the first sentences of a text; None where it cannot be read."""
    with findings.trying(name):
        if name.startswith(TEXTS):
            return look_at_text(name, files, hparams.get("tokenizer"), findings)
        return look_at_split(name, hparams, findings)
    return None


def _try(trainer: Trainer, looked: Mapping[str, Looked | list[str]], findings: Findings) -> None:
    """Train a step, and search as validation and a test do: of the shortest utterance, as nothing is trained yet."""
    train, valid, test = (
        next(one for name, one in looked.items() if name.startswith(split)) for split in ("train", "valid", "test")
    )
    with findings.trying("a training step"):
        try_step(trainer, batch_of(train, trainer.hparams), findings)
    if isinstance(train, Looked):
        with findings.trying("looking for utterances that are too short for CTC"):
            find_too_short(trainer, train, findings)
        with findings.trying("looking at the warm-up"):
            warn_of_long_warm_up(trainer.brain, train.batches)
    for stage, name, data in (("VALID", "validation", valid), ("TEST", "a test", test)):
        with findings.trying(f"a batch of {name}"):
            trainer.evaluate_on(batch_of(data, trainer.hparams, shortest=True), stage)
            findings.facts.append(f"a batch of {name}")
