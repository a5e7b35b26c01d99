"""Figures of every epoch in TensorBoard, Weights & Biases and MLflow; nothing leaves the machine."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from toolkit.brains.loggers import make_loggers
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


def test_curves_go_over_epochs_and_a_test_stands_at_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    text, curves = make_loggers(tmp_path, {"tensorboard": True}, is_main=True)
    for one in (text, curves):
        one.log_stats({"epoch": 3, "lr": 0.1}, **FIGURES)  # of a run that was continued
        one.log_stats({"test": "clean"}, **TEST)
    assert Writer.made.folder == str(tmp_path / "tensorboard")
    assert Writer.made == [("lr", 0.1, 3), ("loss/train", 2.0, 3), ("WER/valid", 50.0, 3), ("WER/clean", 40.0, 3)]
    assert "valid WER: 50.00" in (tmp_path / "train_log.txt").read_text()


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_one_that_is_not_installed_is_named_with_its_extra(tmp_path: Path, monkeypatch, name: str):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard" if name == "tensorboard" else name, None)
    with pytest.raises(MissingDependencyError, match=rf"pip install 'asr-recipes\[{name}\]'"):
        make_loggers(tmp_path, {name: "recipes"}, is_main=True)


def test_other_processes_leave_it_to_the_main_one(tmp_path: Path):
    assert len(make_loggers(tmp_path, {"wandb": "recipes", "mlflow": "recipes"}, is_main=False)) == 1


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


def test_mlflow_without_a_store_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://")
    with pytest.raises(ConfigError, match=r"mlflow: .*set MLFLOW_TRACKING_URI to a store of yours"):
        MlflowLog(tmp_path, {"mlflow": "recipes"})
