"""Where the figures of every epoch go: always to the run's ``train_log.txt``, and to what the YAML asks for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.brains.curves import Curves
from toolkit.brains.mlflow import MlflowLog
from toolkit.brains.tensorboard import TensorboardLog
from toolkit.brains.train_log import TrainLog
from toolkit.brains.wandb import WandbLog

BY_KEY = {"tensorboard": TensorboardLog, "wandb": WandbLog, "mlflow": MlflowLog}


def make_loggers(folder: Path, hparams: Mapping[str, Any], *, is_main: bool) -> list[TrainLog | Curves]:
    """The loggers of a run; in a distributed run, the main process has those of the YAML."""
    asked = [made for key, made in BY_KEY.items() if hparams.get(key) and is_main]
    return [TrainLog(folder / "train_log.txt"), *(made(folder, hparams) for made in asked)]
