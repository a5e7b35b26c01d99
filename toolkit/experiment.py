"""From the command line to an experiment: hyperparameters, run options, output folder and its archive."""

from __future__ import annotations

import argparse
import hashlib
import inspect
import logging
import logging.config
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import Any

import speechbrain as sb
import torch
import yaml
from speechbrain.utils.run_opts import RunOptions

from toolkit.errors import ConfigError, ExperimentError, ToolkitError, did_you_mean
from toolkit.hparams import STANDARD_KEYS, HparamsDocument, reference
from toolkit.pretrained import COLLECTED, HPARAMS_FILE, collect

logger = logging.getLogger(__name__)

# What makes a run the run it is: with another value of these, the checkpoints in its folder are another experiment's.
IDENTITY = ("model", "tokenizer", "seed")
# SpeechBrain's run options that are offered to every script.
RUN_OPTIONS = {
    "device": "cpu, cuda:0, ... (default: a GPU where there is one)",
    "test_only": "skip training; test the best checkpoints of the output folder",
    "noprogressbar": "no progress bars",
    "debug": "two batches of two epochs, nothing kept",
    "distributed_backend": "nccl, or gloo for processes on the CPU (with torchrun)",
    "max_grad_norm": STANDARD_KEYS["max_grad_norm"],
    "grad_accumulation_factor": STANDARD_KEYS["grad_accumulation_factor"],
    "precision": STANDARD_KEYS["precision"],
    "ckpt_interval_minutes": STANDARD_KEYS["ckpt_interval_minutes"],
    "ckpt_interval_steps": "batches between checkpoints inside an epoch",
}


def load_experiment(arguments: list[str] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The hyperparameters of an experiment, built, and its run options; its output folder is ready for use.

    Parameters
    ----------
    arguments : list of str, optional
        ``HPARAMS.yaml --key value ...``; by default those of the command line.

    Returns
    -------
    hparams : dict
        Every key of the YAML, overrides applied, objects built.
    run_opts : dict
        Run options for the Brain (`RUN_OPTIONS`).

    Raises
    ------
    ConfigError
        For an unknown key or option.
    ExperimentError
        When the output folder belongs to another experiment.
    """
    script = Path(inspect.stack()[1].filename)
    document, run_opts = _parse(arguments, script)
    document.check_keys()
    run_opts.setdefault("distributed_backend", "nccl" if torch.cuda.is_available() else "gloo")
    sb.utils.distributed.ddp_init_group(run_opts)
    sb.utils.seed_everything(document.data.get("seed", 0))
    if "output_folder" in document:
        sb.utils.distributed.run_on_main(_open_output_folder, kwargs={"document": document, "script": script})
        _set_up_logging(Path(document.data["output_folder"]))
        logger.info("%s %s in %s", script.name, document.path, document.data["output_folder"])
    return document.build(), run_opts


def run(main: Callable[[], None]) -> None:
    """Run a script's main function; an error that the input caused is one sentence, not a traceback.

    Exits with 2 after such an error and with 130 after Ctrl-C.
    """
    try:
        main()
    except ToolkitError as error:
        logger.debug("ended by", exc_info=error)
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("\nstopped. The same command continues from the last checkpoint.", file=sys.stderr)
        raise SystemExit(130) from None


def _parse(arguments: list[str] | None, script: Path) -> tuple[HparamsDocument, dict[str, Any]]:
    """The document with its overrides applied, and the run options."""
    options = "".join(f"\n  --{name}: {meaning}" for name, meaning in RUN_OPTIONS.items())
    parser = argparse.ArgumentParser(
        prog=script.name,
        description=inspect.getdoc(inspect.getmodule(inspect.stack()[2].frame)),
        epilog=f"Any key of the YAML can be set: --key value. Options of the run:{options}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("hparams_file", metavar="HPARAMS.yaml", help="the experiment")
    known, rest = parser.parse_known_args(arguments)
    document, overrides, run_opts = HparamsDocument(known.hparams_file), {}, {}
    for key, value in _pairs(rest).items():
        if key in document:
            overrides[key] = value
        elif key in {field.name for field in fields(RunOptions)}:
            run_opts[key] = value
        else:
            near = did_you_mean(key, [*document.data, *RUN_OPTIONS])
            raise ConfigError(f"--{key}: neither a key of {known.hparams_file} nor an option of the run{near}")
    document.override(overrides)
    return document, run_opts


def _pairs(rest: list[str]) -> dict[str, Any]:
    """``--key value``, ``--key=value`` and a bare ``--flag`` as a dict; values are YAML."""
    pairs: dict[str, Any] = {}
    waiting = list(rest)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("--"):
            raise ConfigError(f"{word!r} was not expected on the command line; settings look like --key value")
        key, equals, value = word[2:].partition("=")
        if not equals:
            value = waiting.pop(0) if waiting and not waiting[0].startswith("--") else "true"
        try:
            pairs[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"--{key}: the value {value!r} is not valid YAML; put it in quotes") from None
    return pairs


def _open_output_folder(document: HparamsDocument, script: Path) -> None:
    """Create the folder, or check that it is this experiment's; then archive script, YAML and versions in it."""
    folder = Path(document.data["output_folder"])
    _check_same_experiment(folder, document, script)
    (folder / "save").mkdir(parents=True, exist_ok=True)
    for key, name in COLLECTED.items():
        if document.data.get(key) and Path(document.data[key]).exists():
            collect(document.data[key], folder / name)
    shutil.copyfile(script, folder / script.name)
    _write(folder / HPARAMS_FILE, _archived(document).text())
    _write(folder / "env.log", _environment(script))


def _archived(document: HparamsDocument) -> HparamsDocument:
    """The document as it is kept with the run: overrides applied, collected files named where they now lie."""
    archived = HparamsDocument(document.path)
    archived.data = document.data.copy()
    for key, name in COLLECTED.items():
        if document.data.get(key):
            archived.data[key] = reference(f"<output_folder>/{name}")
    return archived


def _check_same_experiment(folder: Path, document: HparamsDocument, script: Path) -> None:
    """Refuse a folder whose checkpoints come from another script, model, tokenizer or seed."""
    if not any(folder.glob("save/CKPT+*")) or not (folder / HPARAMS_FILE).is_file():
        return
    archived, reason = HparamsDocument(folder / HPARAMS_FILE), None
    now = _archived(document)
    differing = sorted(
        key
        for key in archived.needed_by(IDENTITY) | now.needed_by(IDENTITY)
        if key != "output_folder" and archived.value_text(key) != now.value_text(key)
    )
    if not (folder / script.name).is_file():
        reason = f"it was not made by {script.name}"
    elif differing:
        reason = "; ".join(f"{key} was {archived.value_text(key)}, now {now.value_text(key)}" for key in differing)
    elif _fingerprint(document.data.get("tokenizer_file")) not in (
        None,
        _fingerprint(folder / COLLECTED["tokenizer_file"]),
    ):
        reason = f"the tokenizer {document.data['tokenizer_file']} has changed since"
    if reason:
        raise ExperimentError(
            f"{folder} holds another experiment: {reason}. Give this one its own folder (--output_folder ...), "
            "or delete that folder to start afresh"
        )


def _fingerprint(file: str | Path | None) -> str | None:
    if not file or not Path(file).is_file():
        return None
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _environment(script: Path) -> str:
    """What the run was made with: command, commit, machine, versions of all packages."""
    packages = sorted({f"{d.metadata['Name']}=={d.version}" for d in metadata.distributions()}, key=str.lower)
    lines = [
        f"command: {' '.join(sys.argv)}",
        f"commit: {_commit(script.parent)}",
        f"python: {platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores",
        f"cuda: {torch.version.cuda} ({torch.cuda.device_count()} devices)",
        *packages,
    ]
    return "\n".join(lines) + "\n"


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


def _set_up_logging(folder: Path) -> None:
    """Messages to the console (main process), everything with times to ``log.txt``."""
    main = sb.utils.distributed.if_main_process()
    handlers: dict[str, Any] = {
        "console": {
            "class": "speechbrain.utils.logger.TqdmCompatibleStreamHandler",
            "level": "INFO" if main else "WARNING",
            "formatter": "console",
            "stream": "ext://sys.stdout",
        }
    }
    if main:
        file = str(folder / "log.txt")
        handlers["file"] = {"class": "logging.FileHandler", "formatter": "file", "filename": file, "encoding": "utf-8"}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "console": {"format": "%(message)s"},
                "file": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
            },
            "handlers": handlers,
            "root": {"level": "INFO", "handlers": list(handlers)},
            "loggers": {"toolkit": {"level": "DEBUG"}, "speechbrain": {"level": "WARNING"}},
        }
    )
