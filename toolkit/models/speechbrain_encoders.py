"""Encoders of SpeechBrain 0.5 that 1.1 computes otherwise."""

from __future__ import annotations

from typing import Any

from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR


class OldTransformerASR(TransformerASR):
    """``TransformerASR`` as SpeechBrain 0.5 understood it where ``causal`` was left out.

    The convolutions of a Conformer and relative positions know only the past, and attention sees all frames. In 1.1
    ``causal`` also masks the frames to come.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options, causal=True)
        self.causal = False  # read when the mask is made, when all layers are
