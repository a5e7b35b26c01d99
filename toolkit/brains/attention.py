"""Training an attention decoder together with CTC."""

from __future__ import annotations

from typing import ClassVar

import speechbrain as sb
from torch import Tensor
from torch.nn.functional import cross_entropy

from toolkit.brains.asr import ASRBrain
from toolkit.dataio.batches import Batch
from toolkit.models.masking import valid_mask


class AttentionBrain(ASRBrain):
    """Trains a `toolkit.models.recogniser.AttentionModel` (Watanabe et al. 2017)."""

    needs: ClassVar[set[str]] = ASRBrain.needs | {"ctc_weight", "label_smoothing"}
    reads: ClassVar[set[str]] = ASRBrain.reads | {"number_of_ctc_epochs"}

    def compute_forward(self, batch: Batch, stage: sb.Stage) -> tuple[Tensor, Tensor, Tensor]:
        """CTC log-probabilities (B, T, V), frames (B,), decoder logits (B, U + 1, V); scores hypotheses, too."""
        if stage == sb.Stage.TRAIN:
            return self.modules.model(batch.wavs, batch.samples, batch.token_ids)
        encoded, frames = self.model.encode(batch.wavs, batch.samples)
        self.decode(encoded, frames, batch, stage)
        logits = self.model.decode_teacher_forced(encoded, frames, batch.token_ids)
        return self.model.ctc_log_probs(encoded), frames, logits

    def compute_objectives(self, predictions: tuple[Tensor, Tensor, Tensor], batch: Batch, stage: sb.Stage) -> Tensor:
        """ctc_weight * CTC + (1 - ctc_weight) * cross-entropy, both a mean over utterances."""
        log_probs, frames, logits = predictions
        weight = self.ctc_weight
        loss = (1 - weight) * self._cross_entropy(logits, batch, stage)
        if not weight:
            return loss + 0.0 * log_probs.sum()  # in a distributed run, every parameter must have a gradient
        return loss + weight * self.ctc_objective(log_probs, frames, batch, stage)

    def _cross_entropy(self, logits: Tensor, batch: Batch, stage: sb.Stage) -> Tensor:
        """Summed over an utterance's tokens and its end, smoothed in training; logits (B, U + 1, V)."""
        targets = batch.tokens_eos.data
        inside = valid_mask(batch.token_counts + 1, targets.size(1))
        smoothing = self.hparams.label_smoothing if stage == sb.Stage.TRAIN else 0.0
        losses = cross_entropy(logits.float().transpose(1, 2), targets, reduction="none", label_smoothing=smoothing)
        return (losses * inside).sum() / len(batch)
