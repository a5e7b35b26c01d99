"""The output folder of a run: whose it is, and the archive that training begins with."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
import time
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import torch

from toolkit.errors import ConfigError, ExperimentError
from toolkit.files import require_writable, write_atomically
from toolkit.hparams import HparamsDocument, differing, reference
from toolkit.pretrained import COLLECTED, HPARAMS_FILE, collect, has_tokens_of
from toolkit.run_facts import read_facts, versions, write_facts

logger = logging.getLogger(__name__)

# What makes a run the run it is: with another value of these, the checkpoints in its folder are another experiment's.
IDENTITY = ("model", "tokenizer", "seed", "brain")
# Of these the kind belongs to it, as checkpoints hold its state; options may change, which the log then says.
STATEFUL = ("opt_class", "lr_annealing", "param_groups", "ema_decay")
WATCHED = (*STATEFUL, "freeze", "lr_schedule", "train_data", "train_text")


def open_run_folder(folder: Path, document: HparamsDocument, script: Path) -> None:
    """Create a run's folder once it is checked; nothing in it is changed."""
    check_run_folder(folder, document, script)
    (folder / "save").mkdir(parents=True, exist_ok=True)


def check_run_folder(folder: Path, document: HparamsDocument, script: Path) -> None:
    """Check that a run's folder can be made, or is this experiment's.

    Raises
    ------
    ExperimentError
        It holds another experiment.
    ConfigError
        The folder cannot be made, or the language model was trained with another tokenizer.
    """
    require_writable(folder, "output_folder")
    _check_same_tokens(document.value("tokenizer_file"), document.value("lm_folder"))
    _check_same_experiment(folder, document, script)


def archive_experiment(folder: Path, document: HparamsDocument, script: Path, command: str) -> None:
    """Put script, YAML and what the YAML names into a run's folder: all that it takes to transcribe with the run.

    What makes the run go on otherwise than it began is logged.
    """
    goes_on = any(folder.glob("save/CKPT+*/CKPT.yaml"))
    if goes_on and (folder / HPARAMS_FILE).is_file():
        for change in _differences(HparamsDocument(folder / HPARAMS_FILE), _archived(document), WATCHED):
            logger.warning("%s goes on otherwise: %s", folder, change)
    for key in _collected(document):
        if Path(document.value(key)).exists() or key == "wav2vec2":  # which may be a name of the hub
            collect(document.value(key), folder / COLLECTED[key])
    collect(script, folder / script.name)
    write_atomically(folder / HPARAMS_FILE, _archived(document).text())
    if "brain" in document:
        facts = {"command": command, "commit": _commit(script.parent), "versions": versions()}
        write_facts(folder, (read_facts(folder) if goes_on else {}) | facts)


def log_command(folder: Path, script: Path, command: str) -> None:
    """Add a command, the commits and the versions of all packages to a run's ``env.log``."""
    with (folder / "env.log").open("a", encoding="utf-8") as log:
        log.write(_environment(script, command))


def _archived(document: HparamsDocument) -> HparamsDocument:
    """The document as it is kept with the run: overrides applied, collected files named where they now lie."""
    archived = document.copy()
    for key in _collected(document):
        archived.data[key] = reference(f"<output_folder>/{COLLECTED[key]}")
    while unread := archived.unread():  # what only an overridden value referred to
        archived.keep(set(archived.data) - set(unread))
    return archived


def _collected(document: HparamsDocument) -> list[str]:
    """The keys that name what a run collects; one of these names may also be of an object."""
    return [key for key in COLLECTED if document.data.get(key) and isinstance(document.value(key), str)]


def _check_same_tokens(tokenizer_file: str | None, lm_folder: str | None) -> None:
    """Refuse a language model of another tokenizer: its token 7 is another text."""
    if lm_folder and not has_tokens_of(lm_folder, tokenizer_file):
        raise ConfigError(
            f"lm_folder: {lm_folder} was trained with another tokenizer than {tokenizer_file}; train that again"
        )


def _check_same_experiment(folder: Path, document: HparamsDocument, script: Path) -> None:
    """Refuse a folder that another script made, or whose checkpoints come from another model, tokenizer or seed."""
    if not (folder / HPARAMS_FILE).is_file():
        return
    reason = None
    if not (folder / script.name).is_file():
        reason = f"it was not made by {script.name}"
    elif any(folder.glob("save/CKPT+*/CKPT.yaml")):
        before, now = HparamsDocument(folder / HPARAMS_FILE), _archived(document)
        reason = "; ".join(_differences(before, now, IDENTITY) + _other_kinds(before, now))
        tokenizer_file = document.value("tokenizer_file")
        if not reason and not has_tokens_of(folder, tokenizer_file):
            reason = f"the tokenizer {tokenizer_file} has changed since"
    if reason:
        raise ExperimentError(
            f"{folder} holds another experiment: {reason}. Give this one its own folder (--output_folder ...), "
            "or delete that folder to start afresh"
        )


def _differences(before: HparamsDocument, now: HparamsDocument, keys: Iterable[str]) -> list[str]:
    """What is not the same in both of the keys and all that they refer to: ``lr was 0.01, now 0.02``."""
    for document in (before, now):
        document.keep(set(document.data) - {"output_folder"})  # the folder may have been moved
    needed = before.needed_by(keys) | now.needed_by(keys)
    return [text for key in sorted(needed) for text in differing(before.data.get(key), now.data.get(key), key)]


def _other_kinds(before: HparamsDocument, now: HparamsDocument) -> list[str]:
    """What has state in the checkpoints and is now of another class, or has other names, or is new, or is gone."""
    names = [{key: name for key, name, _ in reversed([*one.calls()]) if key in STATEFUL} for one in (before, now)]
    for document, kinds in zip((before, now), names, strict=True):
        kinds["param_groups"] = ", ".join(document.data.get("param_groups") or ()) or "nothing"
        kinds["ema_decay"] = "a number" if document.value("ema_decay") else "nothing"
    pairs = {key: [one.get(key, "nothing") for one in names] for key in STATEFUL}
    return [f"{key} was {old}, now {new}" for key, (old, new) in pairs.items() if old != new]


def _environment(script: Path, command: str) -> str:
    """What the run was made with: command, commits, machine, versions of all packages."""
    packages = {"{Name}=={Version}".format_map(one.metadata) for one in metadata.distributions()}
    lines = [
        f"{time.strftime('%Y-%m-%d %H:%M:%S')} command: {command}",
        f"commit: {_commit(script.parent)}",
        f"commit of toolkit: {_commit(Path(__file__).parent)}",
        f"python: {platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores",
        f"cuda: {torch.version.cuda} ({torch.cuda.device_count()} devices)",
        *sorted(packages, key=str.lower),
    ]
    return "\n".join(lines) + "\n\n"


def _commit(folder: Path) -> str:
    """The git commit of a folder, marked when files differ from it; ``unknown`` outside a checkout."""
    git = ["git", "-C", str(folder.resolve())]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + (" with uncommitted changes" if changed else "")
