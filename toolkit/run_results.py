"""What a training reached and what it took, as its run's folder tells.

It has ``wer_<test>.txt``, ``hyperparams.yaml`` and ``run.json``; older ones have ``env.log`` and ``log.txt`` instead.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from toolkit.errors import ExperimentError
from toolkit.files import working_in
from toolkit.hparams import HparamsDocument
from toolkit.inference.provenance import data_sets, environment, rates
from toolkit.pretrained import HPARAMS_FILE
from toolkit.run_facts import commands_of, read_facts

# Options of a command that change how an experiment is computed, or which of its repetitions it is.
SAME_EXPERIMENT = {
    *("seed", "output_folder", "device", "noprogressbar", "test_only", "train_only", "distributed_backend"),
    *("ckpt_interval_minutes", "ckpt_interval_steps"),
}
# "2026-11-25 17:43:37,019 INFO toolkit.brains.base: CTCBrain: 1,600,924 parameters, on cpu"
LOGGED = re.compile(r"^(\S+ \S+),\d+ ", re.MULTILINE)
PARAMETERS = re.compile(r"Brain: ([\d,]+) parameters")
EPOCH = re.compile(r"^epoch: (\d+)", re.MULTILINE)
TIME = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True)
class Result:
    """What one run of a YAML reached, and what it took; None where its folder does not say.

    Attributes
    ----------
    options
        Of the command, where they make it another experiment: ``--lr 0.001``.
    tests
        ``WER`` and ``CER`` in percent, by the name of the test set.
    train_hours
        Of audio, each utterance once.
    """

    recipe: str
    yaml: str
    options: str
    seed: int
    tests: dict[str, dict[str, float]]
    parameters: int | None = None
    train_hours: float | None = None
    epochs: int | None = None
    wall_seconds: float | None = None
    hardware: str | None = None
    commit: str | None = None

    @property
    def experiment(self) -> tuple[str, str, str]:
        """What runs that differ in their seeds have in common."""
        return self.recipe, self.yaml, self.options

    @property
    def repetition(self) -> tuple[str | int, ...]:
        """Of which there is one result."""
        return *self.experiment, self.seed


def read_run(run: Path) -> Result:
    """The result of a run's folder, which is ``RECIPE/results/NAME``.

    Raises
    ------
    ExperimentError
        It is not one of train.py, or was not tested yet, or was put aside: its output folder is another.
    """
    run = run.resolve()
    reports = sorted(run.glob("wer_*.txt"))
    if not reports or not (run / HPARAMS_FILE).is_file():
        raise ExperimentError(f"{run}: no wer_*.txt and {HPARAMS_FILE}; expected the folder of a run that was tested")
    document = HparamsDocument(run / HPARAMS_FILE)
    facts = _facts(run)
    yaml, options = _experiment_of(run, facts.pop("commands"))
    own = str(document.value("output_folder"))
    if Path(own).name != run.name:
        raise ExperimentError(f"{run}: put aside; the run wrote to {own}")
    return Result(
        recipe=run.parent.parent.name,
        yaml=yaml,
        options=options,
        seed=document.value("seed") or 0,
        tests={report.stem.removeprefix("wer_"): rates(report) for report in reports},
        **facts,
    )


def _facts(run: Path) -> dict[str, Any]:
    """What ``run.json`` tells, or in older runs the logs do."""
    told = read_facts(run)
    if not commands_of(told) or "epochs" not in told:
        return _older_facts(run)
    names = ("parameters", "train_hours", "epochs", "wall_seconds", "commit")
    told_so = {name: told.get(name) for name in names}
    return {"commands": commands_of(told), **told_so, "hardware": _hardware(told)}


def _hardware(told: Mapping[str, Any]) -> str | None:
    """``2 x NVIDIA H100``, or ``AMD EPYC 7B13, 1 thread``."""
    name, processes, threads = told.get("hardware"), told.get("processes", 1), told.get("threads")
    is_gpu = any(maker in str(name) for maker in ("NVIDIA", "Tesla", "GeForce", "Instinct"))
    if name is None or is_gpu or threads is None:
        return f"{processes} x {name}" if name and processes > 1 else name
    return f"{name}, {processes * threads} thread{'s' * (processes * threads > 1)}"


def _older_facts(run: Path) -> dict[str, Any]:
    """The facts of a run without ``run.json``: of its logs, and of the manifest of the training set."""
    commands, _ = environment(_text(run / "env.log"))
    trained = [one for one in commands if "--test_only" not in one["command"]]
    log = _text(run / "log.txt")
    parameters = PARAMETERS.search(log)
    with working_in(run.parent.parent):  # where the paths of the YAML are from
        hours = data_sets(run / HPARAMS_FILE).get("train_data", {}).get("hours")
    last = trained[-1] if trained else {}
    cores = re.search(r"(\d+) cores", last.get("python", ""))
    return {
        "commands": [last[key] for key in ("command",) if key in last],
        "parameters": int(parameters[1].replace(",", "")) if parameters else None,
        "train_hours": hours,
        "epochs": max(map(int, EPOCH.findall(_text(run / "train_log.txt"))), default=None),
        "wall_seconds": _wall_seconds([one["date"] for one in commands], log, [one["date"] for one in trained]),
        "hardware": f"CPU, {cores[1]} cores" if cores and "(0 devices)" in last.get("cuda", "") else None,
        "commit": last.get("commit"),
    }


def _wall_seconds(begins: Sequence[str], log: str, counted: Sequence[str]) -> float | None:
    """From each counted command to the last line that was logged before the next command."""
    lines = LOGGED.findall(log)
    total = 0.0
    for begin, end in zip(begins, [*begins[1:], "9"], strict=True):
        own = [line for line in lines if begin <= line < end]
        if own and begin in counted:
            total += (datetime.strptime(own[-1], TIME) - datetime.strptime(begin, TIME)).total_seconds()
    return total or None


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _experiment_of(run: Path, commands: Sequence[str]) -> tuple[str, str]:
    """The YAML, as seen from its recipe, and the options that make a run another experiment.

    Of a run that was trained with other options at first: ``--lr 0.1; then none``.
    """
    yaml, options = "", {}
    for command in commands or [""]:
        script, *words = shlex.split(command) or [""]
        named = next((word for word in words if not word.startswith("--")), None)
        if Path(script).name != "train.py" or named is None:
            raise ExperimentError(f"{run}: made by `{command}`, expected `train.py hparams/...`")
        words.remove(named)
        path = Path(named)
        yaml = f"hparams/{path.name}" if path.parent.name == "hparams" else named
        options[_other_options(words)] = None
    return yaml, "".join(options) if len(options) < 2 else "; then ".join(one or "none" for one in options)


def _other_options(words: Sequence[str]) -> str:
    """The settings of a command that make it another experiment than its YAML's."""
    kept: list[str] = []
    keep = True
    for word in words:
        if word.startswith("--"):
            keep = word[2:].partition("=")[0] not in SAME_EXPERIMENT
        if keep:
            kept.append(word)
    return shlex.join(kept)
