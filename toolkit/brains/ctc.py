"""Training with CTC alone."""

from __future__ import annotations

import speechbrain as sb
from torch import Tensor

from toolkit.brains.asr import ASRBrain
from toolkit.dataio.batches import Batch


class CTCBrain(ASRBrain):
    """Trains a `toolkit.models.recogniser.CTCModel` (Graves et al. 2006)."""

    ctc_weight = 1.0

    def compute_forward(self, batch: Batch, stage: sb.Stage) -> tuple[Tensor, Tensor]:
        """CTC log-probabilities (B, T, V) with (B,) frames; outside training, transcripts are scored too."""
        if stage == sb.Stage.TRAIN:
            return self.modules.model(batch.wavs, batch.samples)
        encoded, frames = self.model.encode(batch.wavs, batch.samples)
        self.decode(encoded, frames, batch, stage)
        return self.model.ctc_log_probs(encoded), frames

    def compute_objectives(self, predictions: tuple[Tensor, Tensor], batch: Batch, stage: sb.Stage) -> Tensor:
        """CTC loss, the mean over utterances that have a path."""
        log_probs, frames = predictions
        return self.ctc_objective(log_probs, frames, batch, stage)
