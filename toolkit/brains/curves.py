"""Figures of every epoch as curves, for whatever draws them."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)


class Curves(ABC):
    """Each figure over epochs, ``loss/train`` beside ``loss/valid``; used like SpeechBrain's loggers."""

    epoch = 0

    @abstractmethod
    def add(self, figures: Mapping[str, float], epoch: int) -> None:
        """Add a point to each of the curves by these names."""

    def log_stats(self, stats_meta: Mapping[str, Any], **stats: Mapping[str, float]) -> None:
        """Add the figures of an epoch, or of a test after the last one; ``stats`` are ``train_stats`` and so on."""
        self.epoch = stats_meta.get("epoch", self.epoch)
        points = {"lr": stats_meta["lr"]} if "lr" in stats_meta else {}
        for stage, figures in stats.items():
            place = stats_meta.get("test", stage.removesuffix("_stats"))
            points |= {f"{name}/{place}": value for name, value in figures.items()}
        try:
            self.add(points, self.epoch)
        except Exception as error:  # of whatever the service raises: training is worth more than its curves
            logger.warning(
                "%s did not take the figures of epoch %d, which train_log.txt has: %s: %s",
                *(type(self).__name__, self.epoch, type(error).__name__, error),
            )

    def finish(self) -> None:  # noqa: B027 (most have nothing to do)
        """Training came to its end; figures of tests may follow."""


def settings(hparams: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers and texts of a YAML."""
    return {key: value for key, value in hparams.items() if isinstance(value, (bool, int, float, str))}
