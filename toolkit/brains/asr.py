"""Brains of recognisers: what they share is how transcripts are found and scored."""

from __future__ import annotations

import logging
import math
from typing import Any, ClassVar

import speechbrain as sb
import torch
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.utils.distributed import if_main_process
from torch import Tensor
from torch.nn.functional import ctc_loss, kl_div

from toolkit.brains.base import RecipeBrain
from toolkit.dataio.batches import Batch, TextBatch
from toolkit.errors import ConfigError
from toolkit.metrics.error_rate import ErrorRateTracker
from toolkit.metrics.report import write_report
from toolkit.models.masking import valid_mask

logger = logging.getLogger(__name__)

LISTED = 20  # utterances named in a warning
RANKING = ("WER", "CER")


class ASRBrain(RecipeBrain):
    """Decodes in validation and testing, and reports word and character error rates.

    Checkpoints are ranked by the word error rate, or as ``ranked_by`` says: Chinese is written without spaces, and a
    sentence would be a word.

    With ``consistency_weight``, every training utterance is heard twice, with the augmentation and dropout of two
    draws, and what CTC makes of both is to agree (Yao et al. 2025, "CR-CTC").

    A data set of one's own, SpeechBrain's DynamicItemDataset with output_keys id, sig, words and tokens, serves as well
    as a loader of `toolkit.dataio.loaders`; methods get a Batch in either case::

        train = SaveableDataLoader(dataset, batch_size=8, shuffle=True, collate_fn=PaddedBatch)
        brain.train_on(train, valid)
    """

    needs: ClassVar[set[str]] = RecipeBrain.needs | {
        *("tokenizer", "valid_search", "test_search"),
        *("train_data", "valid_data", "test_data"),
    }
    reads: ClassVar[set[str]] = RecipeBrain.reads | {"consistency_weight", "ranked_by"}
    batch_type: ClassVar[type[TextBatch]] = Batch
    samples_heard = 0

    def __init__(self, hparams: dict[str, Any], run_opts: dict[str, Any] | None = None) -> None:
        self.ranked_by = hparams.get("ranked_by", "WER")
        if self.ranked_by not in RANKING:
            raise ConfigError(f"ranked_by: {self.ranked_by!r}; expected {' or '.join(RANKING)}")
        super().__init__(hparams, run_opts)

    def fit_batch(self, batch: Batch | PaddedBatch) -> Tensor:
        """Train on one batch, in which every utterance stands twice where two views of it are to agree."""
        batch = self.receive(batch)
        self.samples_heard += batch.original_samples
        return super().fit_batch(batch.repeat(2) if self.ctc_weight and self._consistency_weight else batch)

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Start counting: errors of the stage, and utterances too short for CTC."""
        super().on_stage_start(stage, epoch)
        self.too_short: list[str] = []
        if stage == sb.Stage.TRAIN:
            self.samples_heard = 0
        self.scored = ErrorRateTracker()

    def stage_figures(self, stage: sb.Stage, stage_loss: float) -> dict[str, float]:
        """Word and character error rate in percent, the one first that ranks checkpoints, then the loss."""
        if stage == sb.Stage.TRAIN:
            self._report_too_short()
            return {"loss": stage_loss}
        figures = {"WER": self.scored.wer, "CER": self.scored.cer, "loss": stage_loss}
        return {self.ranked_by: figures[self.ranked_by], **figures}

    def facts_of_epoch(self, epoch: int) -> dict[str, Any]:
        """With the hours of audio of an epoch, without copies at other speeds; the most of any epoch, for one goes on.

        A run that was stopped hears the rest of its epoch only.
        """
        facts = super().facts_of_epoch(epoch)
        heard = self._mean_over_ranks({"samples": self.samples_heard})["samples"] * facts["processes"]
        hours = heard / getattr(self.hparams, "sample_rate", math.inf) / 3600
        return facts | {"train_hours": round(max(hours, self.facts.known.get("train_hours", 0.0)), 3)}

    def on_stage_end(self, stage: sb.Stage, stage_loss: float, epoch: int | None = None) -> None:
        """Write ``wer_<test>.txt`` after a test, into ``retested/`` where the run's own is of other settings."""
        super().on_stage_end(stage, stage_loss, epoch)
        if stage == sb.Stage.TEST and if_main_process():
            path = self.reports / f"wer_{self.test_name}.txt"
            write_report(self.scored, path)
            logger.info("%s: WER %.2f %%, CER %.2f %% (%s)", self.test_name, self.scored.wer, self.scored.cer, path)

    @torch.no_grad()
    def decode(self, encoded: Tensor, frames: Tensor, batch: Batch, stage: sb.Stage) -> None:
        """Search the encoded (B, T, D) utterances and score what was found."""
        search = self.hparams.valid_search if stage == sb.Stage.VALID else self.hparams.test_search
        found = search(self.model, encoded, frames)
        for utterance, words, hypotheses in zip(batch.id, batch.words, found, strict=True):
            self.scored.add(utterance, words, self.hparams.tokenizer.decode(hypotheses[0].tokens))

    def ctc_objective(self, log_probs: Tensor, frames: Tensor, batch: Batch, stage: sb.Stage) -> Tensor:
        """CTC loss of log-probabilities (B, T, V) and, in training, how far the two views of an utterance disagree."""
        loss = self.ctc_loss(log_probs, frames, batch)
        if stage == sb.Stage.TRAIN and self._consistency_weight:
            loss = loss + self._consistency_weight * consistency_loss(log_probs, frames)
        return loss

    def ctc_loss(self, log_probs: Tensor, frames: Tensor, batch: Batch) -> Tensor:
        """Mean CTC loss of log-probabilities (B, T, V) over utterances that have a path; zero when none has.

        A path needs a frame for each token and a blank between equal neighbours.
        """
        tokens, counts = batch.token_ids, batch.token_counts
        inside = torch.arange(1, tokens.size(1), device=tokens.device) < counts.unsqueeze(1)
        repeats = ((tokens[:, 1:] == tokens[:, :-1]) & inside).sum(1)
        possible = counts + repeats <= frames
        self.too_short += [name for name, fits in zip(batch.id, possible.tolist(), strict=True) if not fits]
        losses = ctc_loss(log_probs.transpose(0, 1), tokens, frames, counts, reduction="none", zero_infinity=True)
        return losses.where(possible, torch.zeros_like(losses)).sum() / possible.sum().clamp_min(1)

    @property
    def ctc_weight(self) -> float:
        """The share of CTC in the loss of this epoch."""
        if self.epoch > getattr(self.hparams, "number_of_ctc_epochs", self.epoch):
            return 0.0
        return getattr(self.hparams, "ctc_weight", 0.0)

    @property
    def _consistency_weight(self) -> float:
        return getattr(self.hparams, "consistency_weight", 0.0)

    def _report_too_short(self) -> None:
        """Warn of utterances that were left out, when they are others than in the epoch before."""
        names, before = set(self.too_short), getattr(self, "reported", set())
        if names - before:
            shown = ", ".join(sorted(names)[:LISTED]) + (", ..." if len(names) > LISTED else "")
            logger.warning("too short for CTC, with more tokens than frames, and left out: %d (%s)", len(names), shown)
        self.reported = names | before


def consistency_loss(log_probs: Tensor, frames: Tensor) -> Tensor:
    """How far the CTC outputs (2 B, T, V) of two views of B utterances are apart (Yao et al. 2025, equation 5).

    The Kullback-Leibler divergence of each view from the other, which is taken as given: summed over valid frames, of
    which there are ``frames`` (2 B,), the mean over views.
    """
    other = log_probs.detach().roll(len(log_probs) // 2, dims=0)
    divergence = kl_div(log_probs, other, reduction="none", log_target=True).sum(2)
    return (divergence * valid_mask(frames, log_probs.size(1))).sum() / len(log_probs)
