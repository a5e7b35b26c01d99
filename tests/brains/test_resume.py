"""A run that ends before its end, in whatever way, continues to the very weights that it would have reached."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import yaml
from speechbrain import Stage
from tiny_experiment import Experiment, make_experiment
from torch import Tensor

import toolkit.brains.base
from toolkit.brains.ctc import CTCBrain
from toolkit.brains.interrupts import uninterrupted
from toolkit.brains.learning_curve import read_train_log
from toolkit.dataio.batches import Batch
from toolkit.errors import ExperimentError

pytestmark = pytest.mark.usefixtures("logging_put_back")

EPOCHS, BATCHES = 3, 6
EMA = ["--ema_decay", "0.4"]
ANNEALING = "lr_annealing: !new:speechbrain.nnet.schedulers.NewBobScheduler\n  initial_value: !ref <lr>\n"


class Killed(BaseException):
    """What nobody catches: for the files of a run, the same as kill -9."""


def kill() -> None:
    raise Killed


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than these epochs."""
    monkeypatch.setattr(toolkit.brains.base, "plot_learning_curve", lambda *_: None)


@pytest.fixture(autouse=True)
def _ctrl_c() -> Iterator[None]:
    """Ctrl-C works also where the tests run in the background, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    experiment = make_experiment(tmp_path_factory.mktemp("tones"))
    experiment.yaml.write_text(experiment.yaml.read_text() + ANNEALING + "ema_decay: null\n")
    return experiment


@pytest.fixture
def experiment(corpus: Experiment, tmp_path: Path) -> Experiment:
    """One that writes into a folder of its own."""
    return Experiment(corpus.folder, corpus.yaml, corpus.script, tmp_path / "run")


def train(experiment: Experiment, *options: str) -> Path:
    words = ["--output_folder", str(experiment.run), "--number_of_epochs", str(EPOCHS), *options]
    return Experiment(experiment.folder, experiment.yaml, experiment.script, experiment.run).train(*words)


def last(run: Path) -> Path:
    """The latest checkpoint."""
    return max(run.glob("save/CKPT+*/CKPT.yaml"), key=lambda file: yaml.safe_load(file.read_text())["unixtime"]).parent


@pytest.fixture(scope="module")
def reached(corpus: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The run of some options that nothing disturbed."""
    runs: dict[tuple[str, ...], Path] = {}

    def get(*options: str) -> Path:
        if options not in runs:
            folder = tmp_path_factory.mktemp("undisturbed") / "run"
            runs[options] = train(Experiment(corpus.folder, corpus.yaml, corpus.script, folder), *options)
        return runs[options]

    return get


def check_same_end(run: Path, undisturbed: Path, *, within: float = 0.0) -> None:
    """Both ended with the same weights, optimizer, schedule, counts and figures, and each epoch is in the log."""
    for name in (
        "model",
        "optimizer",
        "lr_annealing",
        *(["ema"] if (last(undisturbed) / "ema.ckpt").is_file() else []),
    ):
        found, expected = (torch.load(last(one) / f"{name}.ckpt") for one in (run, undisturbed))
        torch.testing.assert_close(found, expected, rtol=0, atol=within)
    for name in ("brain", "counter"):
        counts, wanted = (yaml.safe_load((last(one) / f"{name}.ckpt").read_text()) for one in (run, undisturbed))
        assert counts == pytest.approx(wanted, rel=within, abs=0)
    found, expected = (read_train_log(one / "train_log.txt") for one in (run, undisturbed))
    assert found.pop("train seconds").keys() == expected.pop("train seconds").keys() == set(range(1, EPOCHS + 1))
    assert found.keys() == expected.keys()
    for name, figures in found.items():  # of three digits
        assert figures == pytest.approx(expected[name], rel=100 * within, abs=0)


class Watch:
    """Counts the batches of each stage, and does something in the middle of one of them."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, wanted: str = "", at: int = 0, do: Callable[[], None] = kill
    ) -> None:
        self.batches: list[tuple[int, str]] = []
        self.trained: list[str] = []  # utterances
        original = CTCBrain.compute_forward

        def compute_forward(brain: CTCBrain, batch: Batch, stage: Stage) -> tuple[Tensor, Tensor]:
            self.batches.append((brain.epoch, stage.name))
            if stage.name == wanted and self.count(wanted) == at:
                do()
            self.trained += batch.id * (stage.name == "TRAIN")
            return original(brain, batch, stage)

        monkeypatch.setattr(CTCBrain, "compute_forward", compute_forward)

    def count(self, stage: str, epoch: int | None = None) -> int:
        return sum(name == stage and epoch in (None, number) for number, name in self.batches)


def disturbed(experiment: Experiment, monkeypatch: pytest.MonkeyPatch, how: Callable, *options: str) -> Watch:
    """Train until `how` ends it, then train on; what was done then."""
    with monkeypatch.context() as patch:
        how(patch)
        with pytest.raises((Killed, KeyboardInterrupt)):
            train(experiment, *options)
    with monkeypatch.context() as patch:
        watch = Watch(patch)
        train(experiment, *options)
    return watch


# kill -9


@pytest.mark.parametrize("options", [[], EMA], ids=["", "ema"])
def test_killed_inside_an_epoch(experiment, monkeypatch, reached, options: list[str]):
    steps = ["--ckpt_interval_steps", "2", *options]
    watch = disturbed(experiment, monkeypatch, lambda patch: Watch(patch, "TRAIN", BATCHES + 6), *steps)
    assert [watch.count("TRAIN", epoch) for epoch in (1, 2, 3)] == [0, 2, 6]  # 4 of epoch 2 are in the checkpoint
    check_same_end(experiment.run, reached(*options))


def test_killed_before_any_checkpoint(experiment, monkeypatch, reached):
    watch = disturbed(experiment, monkeypatch, lambda patch: Watch(patch, "TRAIN", 3))
    assert watch.count("TRAIN") == EPOCHS * BATCHES
    check_same_end(experiment.run, reached())


def test_killed_while_gradients_accumulate(experiment, monkeypatch, reached):
    options = ["--grad_accumulation_factor", "4"]
    steps = ["--ckpt_interval_steps", "1"]
    watch = disturbed(experiment, monkeypatch, lambda patch: Watch(patch, "TRAIN", BATCHES + 6), *options, *steps)
    assert watch.count("TRAIN", epoch=2) == 2  # after 4 there was a step, and a checkpoint; at 5 neither
    check_same_end(experiment.run, reached(*options))


@pytest.mark.parametrize("name", ["model", "optimizer", "brain"])
def test_killed_while_writing_a_checkpoint(experiment, monkeypatch, reached, name: str):
    def write_half(_, path: Path) -> None:
        path.write_bytes(b"half")
        kill()

    def how(patch: pytest.MonkeyPatch) -> None:
        save, calls = CTCBrain._save_intra_epoch_ckpt, []

        def save_the_fourth_half(brain: CTCBrain) -> None:
            calls.append(brain.step)
            if len(calls) == 4:  # batch 2 of epoch 2
                brain.checkpointer.custom_save_hooks[name] = write_half
            save(brain)

        patch.setattr(CTCBrain, "_save_intra_epoch_ckpt", save_the_fourth_half)

    watch = disturbed(experiment, monkeypatch, how, "--ckpt_interval_steps", "2")
    assert watch.count("TRAIN", epoch=2) == BATCHES  # from the end of epoch 1
    check_same_end(experiment.run, reached())
    assert all((folder / "CKPT.yaml").is_file() for folder in experiment.run.glob("save/*"))  # no ruins


def test_killed_between_the_log_and_the_checkpoint_of_an_epoch(experiment, monkeypatch, reached):
    def how(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(toolkit.brains.base.WholeCheckpointer, "save_epoch", lambda *_, **__: kill())

    disturbed(experiment, monkeypatch, how)
    check_same_end(experiment.run, reached())


def test_killed_after_the_last_epoch(experiment, monkeypatch, reached):
    watch = disturbed(experiment, monkeypatch, lambda patch: Watch(patch, "TEST", 1))
    assert watch.count("TRAIN") == watch.count("VALID") == 0
    assert watch.count("TEST") == 1
    check_same_end(experiment.run, reached())


@pytest.mark.slow
def test_kill_9_of_a_process(experiment, reached):
    killing = """
import os, runpy, signal, sys
from toolkit.brains.ctc import CTCBrain
train, calls = CTCBrain.fit_batch, []
def fit_batch(brain, batch):
    calls.append(batch)
    if len(calls) == 11:
        os.kill(os.getpid(), signal.SIGKILL)
    return train(brain, batch)
CTCBrain.fit_batch = fit_batch
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    words = [str(experiment.yaml), "--device", "cpu", "--output_folder", str(experiment.run)]
    words += ["--number_of_epochs", str(EPOCHS), "--ckpt_interval_steps", "2"]
    command = [sys.executable, "-c", f"import sys; sys.argv = {[str(experiment.script), *words]!r}\n{killing}"]
    assert subprocess.run(command, capture_output=True, timeout=120).returncode == -signal.SIGKILL
    assert yaml.safe_load((last(experiment.run) / "brain.ckpt").read_text())["optimizer_step"] == BATCHES + 4
    train(experiment, "--ckpt_interval_steps", "2")
    # Two processes may round otherwise, by 1e-7 here; a batch lost or repeated would move weights by 1e-2 (lr).
    check_same_end(experiment.run, reached(), within=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(0, 2), (2, 1)])
def test_no_utterance_is_lost_or_repeated_with_any_number_of_workers(
    experiment, corpus, tmp_path, monkeypatch, reached, before: int, after: int
):
    text = corpus.yaml.read_text().replace("num_buckets: 1", "num_buckets: 1\n  num_workers: !ref <workers>")
    for name, workers in (("before", before), ("after", after)):
        (tmp_path / f"{name}.yaml").write_text(f"workers: {workers}\n{text}")
    first, second = (
        Experiment(corpus.folder, tmp_path / f"{name}.yaml", corpus.script, experiment.run)
        for name in ("before", "after")
    )
    with monkeypatch.context() as patch:
        stopped = Watch(patch, "TRAIN", BATCHES + 3)
        with pytest.raises(Killed):
            train(first, "--ckpt_interval_steps", "1")
    with monkeypatch.context() as patch:
        watch = Watch(patch)
        train(second)
    epoch = stopped.trained[2 * BATCHES :] + watch.trained[: 2 * BATCHES - 4]
    assert len(stopped.trained) == 2 * BATCHES + 4  # of two utterances each
    assert sorted(epoch) == sorted(stopped.trained[: 2 * BATCHES])
    assert len(set(epoch)) == len(epoch)
    check_same_end(experiment.run, reached())


# Ctrl-C


def test_ctrl_c_inside_an_epoch(experiment, monkeypatch, reached):
    watch = disturbed(experiment, monkeypatch, lambda patch: Watch(patch, "TRAIN", BATCHES + 3, press_ctrl_c))
    assert [watch.count("TRAIN", epoch) for epoch in (1, 2, 3)] == [0, 3, 6]  # the third was finished
    assert "Stopped after batch 3 of epoch 2" in experiment.run.joinpath("log.txt").read_text()
    assert "Continuing after 1 epochs and 3 batches" in experiment.run.joinpath("log.txt").read_text()
    check_same_end(experiment.run, reached())


def test_ctrl_c_while_gradients_accumulate(experiment, monkeypatch, reached):
    options = ["--grad_accumulation_factor", "4"]
    watch = disturbed(experiment, monkeypatch, lambda patch: Watch(patch, "TRAIN", BATCHES + 5, press_ctrl_c), *options)
    assert watch.count("TRAIN", epoch=2) == 2  # the fifth, whose gradients are lost, again
    check_same_end(experiment.run, reached(*options))


@pytest.mark.parametrize("options", [[], EMA], ids=["", "ema"])
def test_ctrl_c_in_validation(experiment, monkeypatch, reached, options: list[str]):
    watch = disturbed(experiment, monkeypatch, lambda patch: Watch(patch, "VALID", 2, press_ctrl_c), *options)
    assert [watch.count("TRAIN", epoch) for epoch in (1, 2, 3)] == [0, 0, 6]
    assert watch.count("VALID") == 2
    check_same_end(experiment.run, reached(*options))


def test_ctrl_c_while_an_epoch_ends(experiment, monkeypatch, reached):
    def how(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(toolkit.brains.base, "plot_learning_curve", lambda *_: press_ctrl_c())

    watch = disturbed(experiment, monkeypatch, how)
    assert watch.count("VALID") == EPOCHS - 1
    check_same_end(experiment.run, reached())
    epochs = re.findall(r"^epoch: (\d)", experiment.run.joinpath("train_log.txt").read_text(), flags=re.MULTILINE)
    assert epochs == ["1", "2", "3"]


def test_sigterm_of_a_cluster_is_as_ctrl_c(experiment, monkeypatch, reached):
    def end_job() -> None:
        signal.raise_signal(signal.SIGTERM)

    def how(patch: pytest.MonkeyPatch) -> None:
        Watch(patch, "TRAIN", BATCHES + 3, end_job)
        save = CTCBrain._save_intra_epoch_ckpt  # torchrun sends it, too, to a process that SLURM has told
        patch.setattr(CTCBrain, "_save_intra_epoch_ckpt", lambda brain: (end_job(), save(brain)))

    watch = disturbed(experiment, monkeypatch, how)
    assert [watch.count("TRAIN", epoch) for epoch in (1, 2, 3)] == [0, 3, 6]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    check_same_end(experiment.run, reached())


def test_ctrl_c_that_is_ignored_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as for a command in the background
    with uninterrupted():
        press_ctrl_c()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_brain_may_train_in_another_thread():
    def train() -> str:
        with uninterrupted():
            return "trained"

    with ThreadPoolExecutor() as threads:
        assert threads.submit(train).result() == "trained"


# What may change, and what may not


def test_a_run_goes_on_with_a_moving_average_or_without_as_it_began(experiment):
    train(experiment, "--number_of_epochs", "1")
    with pytest.raises(ExperimentError, match="holds another experiment: ema_decay was nothing, now a number"):
        train(experiment, *EMA)


def test_an_annealed_run_says_that_another_learning_rate_has_no_effect(experiment):
    train(experiment, "--number_of_epochs", "1")
    train(experiment, "--number_of_epochs", "2", "--lr", "0.001")
    assert re.findall(r"lr: (\S+) ", experiment.run.joinpath("train_log.txt").read_text()) == ["1.00e-02", "1.00e-02"]
    log = experiment.run.joinpath("log.txt").read_text()
    assert "an lr of 0.001, which was 0.01, has no effect: lr_annealing goes on with 0.01" in log


def test_a_changed_learning_rate_is_used(experiment, corpus):
    plain = corpus.yaml.with_name("plain.yaml")
    plain.write_text(corpus.yaml.read_text().replace(ANNEALING, ""))
    experiment = Experiment(corpus.folder, plain, corpus.script, experiment.run)
    train(experiment)
    train(experiment, "--number_of_epochs", "4", "--lr", "0.005")
    log = experiment.run.joinpath("train_log.txt").read_text()
    assert re.findall(r"lr: (\S+) ", log) == ["1.00e-02", "1.00e-02", "1.00e-02", "5.00e-03"]
