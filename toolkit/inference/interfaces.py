"""Transcribers of one kind, by SpeechBrain's names: code written for these loads our models, and its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from toolkit.errors import ModelError
from toolkit.inference.huggingface import read_huggingface
from toolkit.inference.pretrained import Options
from toolkit.inference.sources import Origin
from toolkit.inference.transcriber import Transcriber

if TYPE_CHECKING:
    from typing_extensions import Self


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


class HuggingFaceCTC(Transcriber):
    """A Transcriber of a ``...ForCTC`` model of transformers, whose ``overrides`` are those of `read_huggingface`.

    ::

        HuggingFaceCTC.from_hparams("facebook/wav2vec2-base-960h").transcribe_file("speech.wav")
        HuggingFaceCTC.from_hparams("folder", overrides={"language_model": "4gram.arpa.gz", "alpha": 0.6})
    """

    @classmethod
    def _from_folder(cls, origin: Origin, options: Options) -> Self:
        return cls._of(read_huggingface(origin, options.overrides), origin.folder, options.device)


def _require(transcriber: Transcriber, *parts: str) -> None:
    """Raise a ModelError unless the model has one of these parts."""
    if not any(hasattr(transcriber.model, part) for part in parts):
        raise ModelError(
            f"{type(transcriber).__name__} needs a model with {' or '.join(parts)}, which this one has not; "
            "Transcriber.from_hparams takes a model of any kind"
        )
