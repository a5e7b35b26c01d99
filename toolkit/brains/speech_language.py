"""Training a speech language model on conversations and texts."""

from __future__ import annotations

from typing import ClassVar

import speechbrain as sb
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from toolkit.brains.asr import ASRBrain
from toolkit.dataio.conversations import ConversationBatch


class SpeechLMBrain(ASRBrain):
    """Trains a `toolkit.models.speech_language.SpeechLM` to say what the assistant says."""

    needs: ClassVar[set[str]] = ASRBrain.needs | {"label_smoothing"}

    def compute_forward(self, batch: ConversationBatch, stage: sb.Stage) -> Tensor:
        """Logits (B, U - 1, V) of each token but the first; in evaluation, answers are searched and scored, too."""
        model = self.modules.model if stage == sb.Stage.TRAIN else self.model
        if stage != sb.Stage.TRAIN:
            self._answer(batch, stage)
        return model(batch.input_ids, batch.counts, batch.learned, batch.wavs, batch.samples)

    def compute_objectives(self, predictions: Tensor, batch: ConversationBatch, stage: sb.Stage) -> Tensor:
        """Cross-entropy, the mean over the tokens of the assistant's turns, smoothed in training."""
        learned = batch.learned[:, 1:]
        smoothing = self.hparams.label_smoothing if stage == sb.Stage.TRAIN else 0.0
        return cross_entropy(predictions[learned].float(), batch.input_ids[:, 1:][learned], label_smoothing=smoothing)

    @torch.no_grad()
    def _answer(self, batch: ConversationBatch, stage: sb.Stage) -> None:
        """Search the answers to prompts, without their last token, which the search begins with."""
        audio = self.model.hear(batch.wavs, batch.samples)
        prompts, lengths, _ = self.model.embed(batch.input_ids, batch.context_counts - 1, *audio)
        self.decode(prompts, lengths, batch, stage)
