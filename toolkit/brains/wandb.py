"""Figures of every epoch for Weights & Biases, which the extra [wandb] installs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.brains.curves import Curves, settings
from toolkit.errors import ConfigError, MissingDependencyError
from toolkit.files import write_atomically

RUN_FILE = "wandb_run.txt"


class WandbLog(Curves):
    """Curves of a run in the project that ``wandb`` names; a run that goes on goes on there.

    Where there is no network, the variable ``WANDB_MODE=offline`` keeps them in the run's folder, and ``wandb sync``
    sends them later.

    Raises
    ------
    MissingDependencyError
        When wandb is not installed.
    ConfigError
        When it refuses, for want of a login or of the service.
    """

    def __init__(self, folder: Path, hparams: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ImportError:
            raise MissingDependencyError("wandb needs the extra: pip install 'asr-recipes[wandb]'") from None
        known = folder / RUN_FILE
        identity = known.read_text(encoding="utf-8") if known.is_file() else None
        options = {"name": folder.name, "dir": str(folder), "id": identity, "resume": "allow"}
        try:
            self.run = wandb.init(project=hparams["wandb"], config=settings(hparams), **options)
        except wandb.Error as error:
            raise ConfigError(f"wandb: {error}; `wandb login`, or keep it here with WANDB_MODE=offline") from None
        write_atomically(known, self.run.id)

    def add(self, figures: Mapping[str, float], epoch: int) -> None:
        """Add a point to each of the curves by these names."""
        self.run.log({**figures, "epoch": epoch})
