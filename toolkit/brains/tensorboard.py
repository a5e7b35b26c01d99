"""Figures of every epoch for TensorBoard, which the extra [tensorboard] installs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.brains.curves import Curves
from toolkit.errors import MissingDependencyError


class TensorboardLog(Curves):
    """Curves in a run's folder ``tensorboard``.

    SpeechBrain's own counts calls instead of epochs, so that a run that was continued overwrites its beginning, and
    cannot log a test, whose name is no number.

    Raises
    ------
    MissingDependencyError
        When TensorBoard is not installed.
    """

    def __init__(self, folder: Path, _: Mapping[str, Any]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingDependencyError(
                "tensorboard: True needs the extra: pip install 'asr-recipes[tensorboard]'"
            ) from None
        self.writer = SummaryWriter(str(folder / "tensorboard"))

    def add(self, figures: Mapping[str, float], epoch: int) -> None:
        """Add a point to each of the curves by these names."""
        for name, value in figures.items():
            self.writer.add_scalar(name, value, epoch)
        self.writer.flush()
