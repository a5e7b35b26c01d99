"""The figures of every epoch as lines of a file."""

from __future__ import annotations

from typing import Any

from speechbrain.utils.train_logger import FileTrainLogger


class TrainLog(FileTrainLogger):
    """SpeechBrain's log with two decimals for any figure of 1 or more: ``WER: 100.00`` where that has ``1.00e+02``."""

    def _item_to_string(self, key: str, value: Any, dataset: str | None = None) -> str:
        text = f"{value:.2f}" if isinstance(value, float) and abs(value) >= 1 else None
        return super()._item_to_string(key, text or value, dataset)
