"""Where the figures of every epoch go beside the run's ``train_log.txt``: to what the YAML asks for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.brains.curves import Curves
from toolkit.brains.mlflow import MlflowLog
from toolkit.brains.tensorboard import TensorboardLog
from toolkit.brains.wandb import WandbLog

BY_KEY = {"tensorboard": TensorboardLog, "wandb": WandbLog, "mlflow": MlflowLog}


def make_curves(folder: Path, hparams: Mapping[str, Any]) -> list[Curves]:
    """Those of the YAML, for the main process of a run that is kept."""
    return [made(folder, hparams) for key, made in BY_KEY.items() if hparams.get(key)]
