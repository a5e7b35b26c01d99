"""Transcribers of one kind, by SpeechBrain's names: code written for these loads our models, and its own."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from toolkit.errors import ModelError
from toolkit.inference.transcriber import Transcriber


class EncoderDecoderASR(Transcriber):
    """A Transcriber of an attention decoder or a transducer."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _require(self, "decoder", "joint")


class TransducerASR(Transcriber):
    """A Transcriber of a transducer."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _require(self, "joint")


class EncoderASR(Transcriber):
    """A Transcriber of an encoder that CTC reads, and nothing else: a decoder's search would be another."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _require(self, "ctc_log_probs")
        if others := [part for part in ("decoder", "joint") if hasattr(self.model, part)]:
            raise ModelError(f"{type(self).__name__} is of models without {others[0]}; load it as an EncoderDecoderASR")

    def forward(self, wavs: Tensor, rel_lens: Tensor) -> Tensor:
        """What the encoder makes of a batch, as `encode_batch`; SpeechBrain's class of this name does so."""
        return self.encode_batch(wavs, rel_lens)


def _require(transcriber: Transcriber, *parts: str) -> None:
    """Raise a ModelError unless the model has one of these parts."""
    if not any(hasattr(transcriber.model, part) for part in parts):
        raise ModelError(
            f"{type(transcriber).__name__} needs a model with {' or '.join(parts)}, which this one has not; "
            "Transcriber.from_hparams takes a model of any kind"
        )
