"""Options of a run: how it is computed, not what is computed. SpeechBrain's, checked at the door."""

from __future__ import annotations

import os
import shutil
from typing import Any

import torch
from speechbrain.utils.distributed import infer_device
from speechbrain.utils.run_opts import RunOptions

from toolkit.errors import ConfigError
from toolkit.hparams import STANDARD_KEYS, HparamsDocument

# SpeechBrain's run options that are offered to every script.
RUN_OPTIONS = {
    "device": "cpu, cuda:0, ... (default: a GPU where there is one)",
    "test_only": "skip training; test the best checkpoints of the output folder",
    "train_only": "skip the tests",
    "noprogressbar": "no progress bars (nor are there any where the output is not a terminal)",
    "debug": "two batches of two epochs, nothing kept",
    "distributed_backend": "nccl, or gloo for processes on the CPU (with torchrun)",
    "find_unused_parameters": "for torchrun, where a step leaves out parameters, as layerdrop does",
    "max_grad_norm": STANDARD_KEYS["max_grad_norm"],
    "grad_accumulation_factor": STANDARD_KEYS["grad_accumulation_factor"],
    "precision": STANDARD_KEYS["precision"],
    "compile": STANDARD_KEYS["compile"],
    "ckpt_interval_minutes": STANDARD_KEYS["ckpt_interval_minutes"] + " (default: 15)",
    "profile_training": "where the time of some steps goes: a table in the log, a trace in profile.json.gz",
    "profile_steps": "how many steps that are (default: 5)",
    "profile_warmup": "how many go before them (default: 5)",
    "ckpt_interval_steps": "batches between checkpoints inside an epoch, instead of minutes",
}
CKPT_INTERVAL_MINUTES = 15
# Fields of SpeechBrain's run options that are no options: it fills them itself, or this module does what they do.
INTERNAL = {"param_file", "overridden_args", "distributed_launch", "log_config", "tqdm_barcolor"}
RUN_OPTION_DEFAULTS = {key: value for key, value in RunOptions().as_dict().items() if key not in INTERNAL}
RUN_OPTION_DEFAULTS["train_only"] = False  # which SpeechBrain has not


def complete_run_options(run_opts: dict[str, Any], document: HparamsDocument) -> None:
    """Check the run options, those of the YAML too, and add the ones that follow from others.

    Raises
    ------
    ConfigError
        Names the option, its value and what was expected.
    """
    options = {key: document.value(key) for key in RUN_OPTION_DEFAULTS if key in document} | run_opts
    for key, value in options.items():
        wanted = _wanted(key, value)
        if wanted:
            raise ConfigError(f"{key}: expected {wanted}, not {value!r}")
    device = options.get("device") or infer_device()
    if device == "cpu" and "fp16" in (options.get("precision"), options.get("eval_precision")):
        raise ConfigError("precision: fp16 needs a GPU; use bf16 or fp32 on the CPU")
    if options.get("compile"):
        _require_compiler()
        run_opts.setdefault("compile_using_dynamic_shape_tracing", True)  # or each length would be compiled anew
        torch._dynamo.config.suppress_errors = True  # what torch cannot compile is computed as it is
    run_opts.setdefault("distributed_backend", "nccl" if "cuda" in device else "gloo")
    if run_opts.get("ckpt_interval_steps"):
        run_opts["ckpt_interval_minutes"] = 0
    elif "ckpt_interval_minutes" not in options:
        run_opts["ckpt_interval_minutes"] = CKPT_INTERVAL_MINUTES


def _require_compiler() -> None:
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise ConfigError(
            f"compile: torch needs a C++ compiler, and there is no {compiler}; install one, or leave it out"
        )


def _wanted(key: str, value: Any) -> str | None:
    """What a run option should have been; ``None`` where it is."""
    default = RUN_OPTION_DEFAULTS[key]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if key == "device":
        return None if _is_device(value) else "a device of this machine, such as cpu or cuda:0"
    if key.endswith("precision"):
        return None if value in ("fp32", "bf16", "fp16") else "fp32, bf16 or fp16"
    if key in ("grad_accumulation_factor", "profile_steps", "profile_warmup"):
        return None if number and value >= 1 and value == int(value) else "a whole number above 0"
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "true or false"
    if isinstance(default, (int, float)):
        return None if number else "a number"
    return None


def _is_device(value: Any) -> bool:
    try:
        torch.empty(0, device=value)
    except (RuntimeError, AssertionError, TypeError):  # AssertionError: torch was built without that kind of device
        return False
    return isinstance(value, str)
