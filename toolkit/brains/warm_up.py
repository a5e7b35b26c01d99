"""The warm-up of a learning rate, which a training should outlast."""

from __future__ import annotations

import logging
import math
from typing import Any

logger = logging.getLogger(__name__)


def warn_of_long_warm_up(brain: Any, batches: int) -> None:
    """Warn where all steps that are planned are fewer than those of the warm-up.

    Parameters
    ----------
    brain
        A `RecipeBrain`; of its hyperparameters, ``lr_schedule`` has ``warmup_steps`` where it warms up, and
        ``epoch_counter`` the ``limit`` of epochs.
    batches
        Of an epoch.
    """
    schedule = getattr(brain.hparams, "lr_schedule", None)
    warm_up, epochs = getattr(schedule, "warmup_steps", 0), getattr(brain.hparams.epoch_counter, "limit", 0)
    steps = math.ceil(batches / brain.grad_accumulation_factor)  # of an epoch
    if 0 < epochs * steps < warm_up:
        highest = max(schedule(epoch * steps, epoch) for epoch in range(1, epochs + 1))
        logger.warning(
            "lr_schedule: warmup_steps is %d, but training has only %d steps (%d in each of %d epochs): the learning "
            "rate never exceeds %.2g; set fewer warmup_steps, more epochs, or smaller batches",
            *(warm_up, epochs * steps, steps, epochs, highest),
        )
