"""Training a language model."""

from __future__ import annotations

from typing import ClassVar

import speechbrain as sb
from torch import Tensor
from torch.nn.functional import cross_entropy

from toolkit.brains.base import RecipeBrain
from toolkit.dataio.batches import TextBatch
from toolkit.metrics.perplexity import perplexities
from toolkit.models.masking import valid_mask


class LanguageModelBrain(RecipeBrain):
    """Trains an `RNNLM` or `TransformerLM` (toolkit.models.language) and reports perplexity per token and per word."""

    needs: ClassVar[set[str]] = RecipeBrain.needs | {
        *("tokenizer", "train_text", "valid_text", "test_text", "batch_tokens")
    }
    reads: ClassVar[set[str]] = RecipeBrain.reads | {"epoch_sentences"}

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Start summing log-probabilities."""
        super().on_stage_start(stage, epoch)
        self.nats, self.tokens, self.words = 0.0, 0, 0

    def compute_forward(self, batch: TextBatch, stage: sb.Stage) -> Tensor:
        """Logits (B, U + 1, V) of every token and of the end."""
        model = self.modules.model if stage == sb.Stage.TRAIN else self.model
        return model(batch.tokens_bos.data)

    def compute_objectives(self, predictions: Tensor, batch: TextBatch, stage: sb.Stage) -> Tensor:
        """Cross-entropy, the mean over tokens and ends of sentences."""
        targets = batch.tokens_eos.data
        inside = valid_mask(batch.token_counts + 1, targets.size(1))
        losses = cross_entropy(predictions.float().transpose(1, 2), targets, reduction="none") * inside
        self.nats += float(losses.detach().sum())
        self.tokens += int(inside.sum())
        self.words += sum(len(words.split()) + 1 for words in batch.words)
        return losses.sum() / inside.sum()

    def stage_figures(self, stage: sb.Stage, stage_loss: float) -> dict[str, float]:
        """Loss in nats per token of the stage, and perplexities; an end of sentence counts as a token and as a word.

        Where a run continues, the figures of training are those of the rest of the epoch.
        """
        if not self.tokens:  # it was stopped in validation
            return perplexities(stage_loss, tokens=1, words=0)
        return perplexities(self.nats, self.tokens, self.words)
