"""From the command line to an experiment: hyperparameters, run options, output folder and its archive."""

from __future__ import annotations

import argparse
import functools
import inspect
import logging
import logging.config
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import speechbrain as sb
import torch
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from toolkit.dataio.script import run_script
from toolkit.declarations import check_declarations
from toolkit.errors import ConfigError, did_you_mean
from toolkit.hparams import STANDARD_KEYS, HparamsDocument
from toolkit.run_folder import archive_experiment, log_command, open_run_folder, reports_folder
from toolkit.run_options import RUN_OPTION_DEFAULTS, RUN_OPTIONS, complete_run_options

logger = logging.getLogger(__name__)


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
        Run options for the Brain (`RUN_OPTIONS`), and ``archive``: what it calls once a step will be trained, so that a
        command that is refused, or has nothing left to train, leaves the archive of the run before it as it was. If it
        is not called, reports of tests belong in the folder ``reports``.

    Raises
    ------
    ConfigError
        For an unknown key or option.
    ExperimentError
        When the output folder belongs to another experiment.
    """
    caller = inspect.currentframe().f_back.f_globals
    script, arguments = Path(caller["__file__"]), sys.argv[1:] if arguments is None else arguments
    document, run_opts = _parse(arguments, script, caller.get("__doc__"))
    complete_run_options(run_opts, document)
    sb.utils.distributed.ddp_init_group(run_opts)
    sb.utils.seed_everything(document.value("seed") or 0, verbose=False)
    if "output_folder" not in document or run_opts.get("debug"):
        _set_up_logging(None)
        return document.build(), run_opts
    folder = Path(document.value("output_folder"))
    on_main = sb.utils.distributed.run_on_main
    on_main(open_run_folder, [folder, document, script])
    _set_up_logging(folder / "log.txt")
    logger.info("%s %s in %s", script.name, document.path, folder)
    hparams = document.build()
    command = shlex.join([script.name, *arguments])
    on_main(log_command, [folder, script, command])
    archive = functools.partial(on_main, archive_experiment, [folder, document, script, command])
    if "brain" not in document:
        archive()
        return hparams, run_opts
    run_opts["reports"] = reports_folder(folder, document)
    if not run_opts.get("test_only"):
        run_opts["archive"] = archive
    return hparams, run_opts


def run(main: Callable[[], None]) -> None:
    """Run a script's main function, as `run_script` does, and end what its processes have in common."""
    try:
        run_script(main)
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _parse(arguments: list[str], script: Path, story: str | None) -> tuple[HparamsDocument, dict[str, Any]]:
    """The document with its overrides applied, and the run options."""
    options = "".join(f"\n  --{name}: {meaning}" for name, meaning in RUN_OPTIONS.items())
    parser = argparse.ArgumentParser(
        prog=script.name,
        description=story,
        epilog=f"Any key of the YAML can be set: --key value. Options of the run:{options}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("hparams_file", metavar="HPARAMS.yaml", help="the experiment")
    known, rest = parser.parse_known_args(arguments)
    document = HparamsDocument(known.hparams_file)
    document.check_keys()
    overrides, run_opts = settings(document, rest)
    document.override(overrides)
    check_declarations(document)
    check_kinds(document)
    return document, run_opts


def settings(document: HparamsDocument, words: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keys of a document and the options of a run that ``--key value ...`` sets.

    Raises
    ------
    ConfigError
        For an unknown key or option, or a value of another kind.
    """
    overrides, run_opts = {}, {}
    for key, value in _pairs(words).items():
        if key in document:
            if _is_number(document.data[key]) and not (_is_number(value) or value is None):
                raise ConfigError(f"{key}: expected a number, not {value!r}")
            overrides[key] = value
        elif key in RUN_OPTION_DEFAULTS:
            run_opts[key] = value
        elif key in STANDARD_KEYS:
            raise ConfigError(f"--{key}: {document.path} has no such key; add the line `{key}: ...` to it")
        else:
            near = did_you_mean(key, [*document.data, *RUN_OPTIONS]) or f"; its keys: {', '.join(document.data)}"
            raise ConfigError(f"--{key}: neither a key of {document.path} nor an option of the run{near}")
    return overrides, run_opts


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_kinds(document: HparamsDocument) -> None:
    """Raise a ConfigError for a key that is to be a text or a whole number, in any experiment, and is not."""
    if "output_folder" in document and not isinstance(document.value("output_folder"), str):
        raise ConfigError(f"output_folder: expected a folder, not {document.value('output_folder')!r}")
    for key, what in (("wandb", "a project"), ("mlflow", "an experiment")):
        value = document.value(key) if key in document else None
        if value and not isinstance(value, str):
            raise ConfigError(f"{key}: expected the name of {what}, not {value!r}; null for none")
    for key, least in (("seed", 0), ("number_of_epochs", 1), ("average_checkpoints", 1)):
        value = document.value(key) if key in document else least
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ConfigError(f"{key}: expected a whole number, {least} or more, not {value!r}")


def _pairs(rest: list[str]) -> dict[str, Any]:
    """``--key value``, ``--key=value`` and a bare ``--flag`` as a dict; values are YAML 1.2, as in the file."""
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
            pairs[key] = YAML(typ="safe", pure=True).load(value)
        except YAMLError:
            raise ConfigError(f"--{key}: the value {value!r} is not valid YAML; put it in quotes") from None
    return pairs


class _ForTheReader(logging.Filter):
    """Keeps what SpeechBrain says of its own doings off the console, but for the figures of an epoch and warnings."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a message is shown."""
        figures = record.name == "speechbrain.utils.train_logger"
        return figures or not record.name.startswith("speechbrain") or record.levelno > logging.INFO


def _set_up_logging(file: Path | None) -> None:
    """Messages to the console, everything with times to a file; both by the main process, warnings also by others."""
    main = sb.utils.distributed.if_main_process()
    handlers: dict[str, Any] = {
        "console": {
            "class": "speechbrain.utils.logger.TqdmCompatibleStreamHandler",
            "level": "INFO" if main else "WARNING",
            "formatter": "console",
            "filters": ["reader"],
            "stream": "ext://sys.stdout",
        }
    }
    if main and file:
        handlers["file"] = {
            "class": "logging.FileHandler",
            "formatter": "file",
            "filename": str(file),
            "encoding": "utf-8",
        }
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"reader": {"()": _ForTheReader}},
            "formatters": {
                "console": {"format": "%(message)s"},
                "file": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
            },
            "handlers": handlers,
            "root": {"level": "INFO", "handlers": list(handlers)},
            "loggers": {"toolkit": {"level": "DEBUG"}},
        }
    )
