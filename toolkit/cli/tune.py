"""Search the values of YAML keys that are best on the validation set, by training with many.

    cd recipes/AN4
    asr tune train.py hparams/ctc.yaml --space lr=log:1e-4..1e-2 --space dropout=0.0..0.4 -- --number_of_epochs 5

Each trial is a run of the script with a folder of its own; what stands after -- are options of all of them. A trial
that is worse than half of those before it after as many epochs is ended, and is of no number where it diverged. None is
tested, and only the best keeps its checkpoints. The same command goes on where it was stopped.

The last line that is printed is the command of the best trial, with the options of all, for a folder of its own. Leave
out of it what was only to make the search short, such as --number_of_epochs 5.
"""

from __future__ import annotations

import argparse
import math
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.brains.learning_curve import read_train_log
from toolkit.cli.search_space import GRAMMAR, Dimension
from toolkit.errors import ConfigError, ExperimentError, MissingDependencyError
from toolkit.experiment import settings
from toolkit.files import require_writable
from toolkit.hparams import HparamsDocument
from toolkit.pretrained import HPARAMS_FILE

Study = Any  # Optuna's: it is imported where it is needed
Trial = Any

POLL_S = 1.0  # between looks at the log of a trial, which gets a line an epoch
STARTED = 4  # trials that are trained to their end before any is compared with them
REFUSED = 2  # the exit status of a script after an error of the input, or of a model that diverged
# Options with which a trial would have no folder of its own, or no epoch.
NOT_OF_TRIALS = ("output_folder", "test_only", "debug")


@dataclass(frozen=True)
class Search:
    """What is searched: the script, its YAML, the options of all trials, the keys, and the folder of the runs."""

    script: Path
    yaml: Path
    options: list[str]
    space: list[Dimension]
    folder: Path

    def command(self, values: Sequence[str]) -> list[str]:
        """What follows ``python`` to train with these values, one for each key."""
        chosen = [word for one, value in zip(self.space, values, strict=True) for word in (f"--{one.key}", value)]
        return [str(self.script), str(self.yaml), *self.options, *chosen]


def main(arguments: Sequence[str]) -> int:
    """Search as the command line says; the exit status."""
    options = parse(arguments)
    search = read_search(options)
    study = open_study(search, options.seed, warmup=options.warmup)
    for _ in range(options.trials - len(ended(study))):
        run_trial(study, search)
        drop_checkpoints(study)
    best = best_trial(study)
    if best is None:
        raise ExperimentError(f"{search.folder}: no trial came to its end; the .err files there say why")
    print(
        f"best of {len(ended(study))} trials: {best.user_attrs['figure']} {best.value:g}, {best.user_attrs['folder']}"
    )
    folder = str(Path("results") / f"{search.yaml.stem}_tuned")
    print(shlex.join(["python", *search.command(best.user_attrs["values"]), "--output_folder", folder]))
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command line; ``rest`` is what stands after ``--``."""
    parser = argparse.ArgumentParser(
        prog="asr tune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("script", type=Path, metavar="SCRIPT", help="train.py or train_lm.py")
    parser.add_argument("yaml", type=Path, metavar="HPARAMS.yaml", help="the experiment")
    parser.add_argument("--space", action="append", required=True, help=f"{GRAMMAR}; once for each key")
    parser.add_argument("--trials", type=int, default=20, help="how many, those before it was stopped included (20)")
    parser.add_argument("--warmup", type=int, default=0, help="epochs of a trial in which it is never ended early (0)")
    parser.add_argument("--folder", type=Path, help="of the study and its runs (results/tune_HPARAMS)")
    parser.add_argument("--seed", type=int, default=1, help="of the search; that of training is the YAML's (1)")
    arguments = list(arguments)
    place = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:place])
    options.rest = arguments[place + 1 :]
    return options


def read_search(options: argparse.Namespace) -> Search:
    """The search of a command line, of which every key and value is checked.

    Raises
    ------
    ConfigError
        There is no such script or YAML, or it has no such key, or not with such a value.
    """
    if not options.script.is_file():
        raise ConfigError(f"{options.script}: there is no such script; run asr tune in the folder of a recipe")
    for key, least in (("trials", 1), ("warmup", 0)):
        if getattr(options, key) < least:
            raise ConfigError(f"--{key} {getattr(options, key)}: expected {least} or more")
    document = HparamsDocument(options.yaml)
    overrides, run_opts = settings(document, options.rest)
    for key in NOT_OF_TRIALS:
        if key in overrides | run_opts:
            raise ConfigError(f"-- --{key}: each trial trains in a folder of its own; leave it out")
    space = [Dimension.of(text, document) for text in options.space]
    if len({one.key for one in space}) < len(space):
        raise ConfigError("--space: names a key twice; leave one out")
    folder = options.folder or Path("results") / f"tune_{options.yaml.stem}"
    require_writable(folder, "--folder")
    return Search(options.script, options.yaml, options.rest, space, folder)


def open_study(search: Search, seed: int, *, warmup: int = 0) -> Study:
    """The study in the folder of a search, new or as it was left; a trial that was stopped is the next one.

    Raises
    ------
    MissingDependencyError
        Optuna is not installed.
    ExperimentError
        The folder is another search's.
    """
    try:
        import optuna
    except ImportError:
        raise MissingDependencyError("asr tune needs the extra: pip install 'asr-recipes[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search.folder.mkdir(parents=True, exist_ok=True)
    backend = optuna.storages.journal.JournalFileBackend(str(search.folder / "study.log"))
    study = optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        study_name="tune",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTED, n_warmup_steps=warmup + 1),
        load_if_exists=True,
    )
    # or the draws that come after a stop would be those of the beginning
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    what = repr((str(search.script), str(search.yaml), search.options, search.space))
    before = study.user_attrs.get("search", what)
    if before != what:
        raise ExperimentError(f"{search.folder} holds another search, {before}, not {what}; name a new --folder")
    study.set_user_attr("search", what)
    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        if "folder" in trial.user_attrs:  # or it was stopped before it began
            study.enqueue_trial(trial.params, {"folder": trial.user_attrs["folder"]})
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def ended(study: Study, *states: str) -> list[Trial]:
    """The trials that came to an end, of themselves or because they were worse than others."""
    return [trial for trial in study.get_trials() if trial.state.name in (states or ("COMPLETE", "PRUNED"))]


def best_trial(study: Study) -> Trial | None:
    """The trial of the lowest figure; None while there is none with a figure that is a number."""
    return min(
        (one for one in ended(study, "COMPLETE") if math.isfinite(one.value)), key=lambda one: one.value, default=None
    )


def drop_checkpoints(study: Study) -> None:
    """Delete the checkpoints of trials that ended and are not the best: a hundred would fill a disk."""
    best = best_trial(study)
    for trial in ended(study):
        if best is None or trial.number != best.number:
            shutil.rmtree(Path(trial.user_attrs["folder"]) / "save", ignore_errors=True)


def run_trial(study: Study, search: Search) -> None:
    """Train with values that the study suggests, until the end or until it is worse than half of the others.

    Raises
    ------
    ExperimentError
        The first one failed, as all would.
    """
    from optuna.trial import TrialState

    trial = study.ask()
    folder = Path(trial.user_attrs.get("folder") or search.folder / f"trial_{trial.number:03}")
    values = [one.suggest(trial) for one in search.space]
    for key, value in (("folder", str(folder)), ("values", values)):
        trial.set_user_attr(key, value)
    said = ", ".join(f"{one.key}={value}" for one, value in zip(search.space, values, strict=True))
    own = ["--output_folder", str(folder), "--train_only"]
    try:
        figures = follow(trial, [sys.executable, *search.command(values), *own], folder)
    except subprocess.CalledProcessError as error:
        tell_failure(study, trial, said, status=error.returncode)
        return
    is_worse = trial.should_prune()
    study.tell(trial, *([] if is_worse else [min(figures)]), state=TrialState.PRUNED if is_worse else None)
    end = f", ended after {len(figures)} epochs" if is_worse else ""
    print(f"trial {trial.number}: {trial.user_attrs['figure']} {min(figures):g}{end} ({said})", flush=True)


def tell_failure(study: Study, trial: Trial, said: str, *, status: int) -> None:
    """Take a trial that diverged for the worst that there is, and one that failed otherwise for none.

    Raises
    ------
    ExperimentError
        It was the first one.
    """
    from optuna.trial import TrialState

    folder = Path(trial.user_attrs["folder"])
    if status == REFUSED and (folder / HPARAMS_FILE).is_file():  # which is there once training begins
        study.tell(trial, math.inf)
        print(f"trial {trial.number}: diverged ({said})", flush=True)
        return
    study.tell(trial, state=TrialState.FAIL)
    errors = folder.with_suffix(".err")
    if not ended(study):
        why = errors.read_text(encoding="utf-8").strip().rpartition("\n")[2]
        raise ExperimentError(f"the first trial failed ({said}): {why}") from None
    print(f"trial {trial.number}: failed ({said}); {errors} says why", flush=True)


def follow(trial: Trial, command: Sequence[str], folder: Path) -> list[float]:
    """The validation figures of a training, to its end or until the trial need not go on."""
    figures = []
    for epoch, name, figure in train(command, folder):
        figures.append(figure)
        trial.report(figure, epoch)
        trial.set_user_attr("figure", name)
        if trial.should_prune():
            break
    return figures


def train(command: Sequence[str], folder: Path) -> Iterator[tuple[int, str, float]]:
    """Train; of each epoch, once it is over, its number and the name and value of the figure that ranks it.

    Raises
    ------
    CalledProcessError
        Training failed; what it printed is in ``<folder>.err``.
    """
    seen, is_over = 0, False
    with folder.with_suffix(".err").open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        try:
            while not is_over:
                is_over = has_ended(process)
                epochs = read_epochs(folder / "train_log.txt")
                yield from epochs[seen:]
                seen = len(epochs)
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)  # it saves a checkpoint
            process.wait()
            raise
        finally:
            process.terminate()
            process.wait()
    if process.returncode or not seen:
        raise subprocess.CalledProcessError(process.returncode, command)


def has_ended(process: subprocess.Popen) -> bool:
    """Whether a process ends within a moment."""
    try:
        process.wait(timeout=POLL_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def read_epochs(train_log: Path) -> list[tuple[int, str, float]]:
    """Number, name and figure of the epochs in a log; a figure that is no number is infinite."""
    figures = read_train_log(train_log) if train_log.is_file() else {}
    name = next((name for name in figures if name.startswith("valid ")), None)
    found = sorted(figures[name].items()) if name else []
    return [(epoch, name, math.inf if math.isnan(figure) else figure) for epoch, figure in found]
