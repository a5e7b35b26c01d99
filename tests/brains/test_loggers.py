"""Figures of every epoch in TensorBoard, Weights & Biases and MLflow; nothing leaves the machine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from speechbrain.utils.epoch_loop import EpochCounter
from tiny_experiment import make_experiment
from torch import nn

import toolkit.brains.base
from toolkit.brains.base import RecipeBrain
from toolkit.brains.curves import Curves
from toolkit.brains.loggers import make_curves
from toolkit.brains.mlflow import MlflowLog
from toolkit.brains.wandb import WandbLog
from toolkit.errors import ConfigError, MissingDependencyError

FIGURES = {"train_stats": {"loss": 2.0}, "valid_stats": {"WER": 50.0}}
TEST = {"test_stats": {"WER": 40.0}}


class Writer(list):
    """What TensorBoard would be told."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        Writer.made, self.folder = self, folder

    def add_scalar(self, name: str, value: float, epoch: int) -> None:
        self.append((name, value, epoch))

    def flush(self) -> None:
        pass


class Unreachable(Curves):
    """Of a service that is down; it notes how many checkpoints there are when it is asked for an epoch."""

    asked: ClassVar[list[tuple[int, int]]] = []

    def __init__(self, folder: Path, _: Mapping[str, Any]) -> None:
        self.folder = folder

    def add(self, _: Mapping[str, float], epoch: int) -> None:
        self.asked.append((epoch, len(list(self.folder.glob("save/CKPT+*/CKPT.yaml")))))
        raise ConnectionError("no route to host")


def test_curves_go_over_epochs_and_a_test_stands_at_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    (curves,) = make_curves(tmp_path, {"tensorboard": True})
    curves.log_stats({"epoch": 3, "lr": 0.1}, **FIGURES)  # of a run that was continued
    curves.log_stats({"test": "clean"}, **TEST)
    assert Writer.made.folder == str(tmp_path / "tensorboard")
    assert Writer.made == [("lr", 0.1, 3), ("loss/train", 2.0, 3), ("WER/valid", 50.0, 3), ("WER/clean", 40.0, 3)]


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_one_that_is_not_installed_is_named_with_its_extra(tmp_path: Path, monkeypatch, name: str):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard" if name == "tensorboard" else name, None)
    with pytest.raises(MissingDependencyError, match=rf"pip install 'asr-recipes\[{name}\]'"):
        make_curves(tmp_path, {name: "recipes"})


@pytest.mark.parametrize(("options", "is_main", "drawn"), [({}, True, 1), ({}, False, 0), ({"debug": True}, True, 0)])
def test_only_the_main_process_of_a_run_that_is_kept_draws(tmp_path: Path, monkeypatch, options, is_main, drawn):
    monkeypatch.setattr(toolkit.brains.base, "if_main_process", lambda: is_main)
    monkeypatch.setattr("toolkit.brains.loggers.BY_KEY", {"wandb": Unreachable})
    hparams = {"model": nn.Linear(1, 1), "opt_class": None, "output_folder": str(tmp_path), "wandb": "recipes"}
    brain = RecipeBrain(hparams | {"epoch_counter": EpochCounter(1)}, {"device": "cpu", **options})
    assert len(brain.curves) == drawn


@pytest.mark.usefixtures("logging_put_back")
def test_a_service_that_is_down_costs_its_curves_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("toolkit.brains.loggers.BY_KEY", {"wandb": Unreachable})
    experiment = make_experiment(tmp_path)
    experiment.yaml.write_text(experiment.yaml.read_text() + "wandb: recipes\n")
    run = experiment.train("--number_of_epochs", "1")
    assert Unreachable.asked == [(1, 1), (1, 1)]  # the epoch was safe before, and then a test
    warning = (
        "Unreachable did not take the figures of epoch 1, which train_log.txt has: ConnectionError: no route to host"
    )
    assert warning in (run / "log.txt").read_text()
    assert (run / "wer_tones.txt").is_file()


@pytest.mark.parametrize("key", ["wandb", "mlflow"])
def test_a_service_needs_the_name_of_a_project(tmp_path: Path, key: str):
    experiment = make_experiment(tmp_path)
    experiment.yaml.write_text(experiment.yaml.read_text() + f"{key}: null\n")
    with pytest.raises(ConfigError, match=rf"{key}: expected the name of an? \w+, not True; null for none"):
        experiment.train(f"--{key}", "True")


def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    log = WandbLog(tmp_path, {"wandb": "recipes", "lr": 0.1, "model": object()})
    log.log_stats({"epoch": 1, "lr": 0.1}, **FIGURES)
    log.log_stats({"test": "clean"}, **TEST)
    run, summary = log.run, dict(log.run.summary)
    wandb.finish()
    assert (run.project, run.name, dict(run.config)) == ("recipes", tmp_path.name, {"wandb": "recipes", "lr": 0.1})
    assert {name: summary[name] for name in ("loss/train", "WER/valid", "WER/clean", "epoch")} == {
        **{"loss/train": 2.0, "WER/valid": 50.0, "WER/clean": 40.0, "epoch": 1}
    }
    assert list(tmp_path.glob(f"wandb/offline-run-*-{run.id}/*.wandb"))
    again = WandbLog(tmp_path, {"wandb": "recipes"})
    wandb.finish()
    assert again.run.id == run.id


def test_wandb_that_refuses_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wandb = pytest.importorskip("wandb")

    def refuse(**_) -> None:
        raise wandb.errors.UsageError("api_key not configured (no-tty)")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(ConfigError, match=r"wandb: api_key not configured .*`wandb login`, or .*WANDB_MODE=offline"):
        WandbLog(tmp_path, {"wandb": "recipes"})
    assert not list(tmp_path.iterdir())


def test_mlflow_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    hparams = {"mlflow": "recipes", "lr": 0.1, "model": object()}
    log = MlflowLog(tmp_path, hparams)
    log.log_stats({"epoch": 1, "lr": 0.1}, **FIGURES)
    again = MlflowLog(tmp_path, hparams)  # of a run that goes on
    again.log_stats({"epoch": 2, "lr": 0.1}, **FIGURES)
    again.log_stats({"test": "clean"}, **TEST)
    run = again.client.get_run(log.run)
    assert (run.info.run_name, run.data.params) == (tmp_path.name, {"mlflow": "recipes", "lr": "0.1"})
    history = again.client.get_metric_history(log.run, "loss/train")
    assert [(point.value, point.step) for point in history] == [(2.0, 1), (2.0, 2)]
    assert run.data.metrics["WER/clean"] == 40.0
    again.log_stats({"test": "clean [8 kHz]"}, **TEST)  # brackets are refused in a name
    assert again.client.get_run(log.run).data.metrics["WER/clean -8 kHz-"] == 40.0


ENDS = """
import sys
from pathlib import Path
from toolkit.brains.mlflow import MlflowLog

log = MlflowLog(Path(sys.argv[1]), {"mlflow": "recipes"})
if sys.argv[2] == "FINISHED":
    log.finish()
raise SystemExit(130)
"""


@pytest.mark.slow
@pytest.mark.parametrize("status", ["FINISHED", "KILLED"])
def test_mlflow_knows_what_came_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    subprocess.run([sys.executable, "-c", ENDS, str(tmp_path), status], check=False)
    run = mlflow.MlflowClient().get_run((tmp_path / "mlflow_run.txt").read_text())
    assert run.info.status == status


def test_mlflow_without_a_store_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://")
    with pytest.raises(ConfigError, match=r"mlflow: .*set MLFLOW_TRACKING_URI to a store of yours"):
        MlflowLog(tmp_path, {"mlflow": "recipes"})
