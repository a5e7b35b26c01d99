"""The figures of every epoch as lines of a file."""

from __future__ import annotations

import logging
from typing import Any

# Its one warning, told while it is imported: without torchvision it saves no figures, of which there are none here.
logging.getLogger("speechbrain.utils.train_logger").addFilter(lambda record: record.levelno < logging.WARNING)

from speechbrain.utils.train_logger import FileTrainLogger  # noqa: E402


class TrainLog(FileTrainLogger):
    """SpeechBrain's log with two decimals for any figure of 1 or more: ``WER: 100.00`` where that has ``1.00e+02``."""

    def _item_to_string(self, key: str, value: Any, dataset: str | None = None) -> str:
        text = f"{value:.2f}" if isinstance(value, float) and abs(value) >= 1 else None
        return super()._item_to_string(key, text or value, dataset)
