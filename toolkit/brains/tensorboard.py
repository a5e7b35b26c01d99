"""Figures of every epoch for TensorBoard, which the extra [tensorboard] installs."""

from __future__ import annotations

from pathlib import Path

from toolkit.errors import MissingDependencyError


class TensorboardLog:
    """Writes each figure as a curve over epochs, ``loss/train`` beside ``loss/valid``; used like SpeechBrain's loggers.

    SpeechBrain's own counts calls instead, so that a run that was continued overwrites its beginning, and cannot log a
    test, whose name is no number.

    Raises
    ------
    MissingDependencyError
        When TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingDependencyError(
                "tensorboard: True needs the extra: pip install 'asr-recipes[tensorboard]'"
            ) from None
        self.writer = SummaryWriter(str(folder))
        self.epoch = 0

    def log_stats(self, stats_meta: dict, **stats: dict[str, float]) -> None:
        """Add the figures of an epoch, or of a test after the last one; ``stats`` are ``train_stats`` and so on."""
        self.epoch = stats_meta.get("epoch", self.epoch)
        if "lr" in stats_meta:
            self.writer.add_scalar("lr", stats_meta["lr"], self.epoch)
        for stage, figures in stats.items():
            place = stats_meta.get("test", stage.removesuffix("_stats"))
            for name, value in figures.items():
                self.writer.add_scalar(f"{name}/{place}", value, self.epoch)
        self.writer.flush()
