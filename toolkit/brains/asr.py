"""Brains of recognisers: what they share is how transcripts are found and scored."""

from __future__ import annotations

import logging

import speechbrain as sb
import torch
from speechbrain.utils.distributed import if_main_process
from torch import Tensor
from torch.nn.functional import ctc_loss, kl_div

from toolkit.brains.base import RecipeBrain
from toolkit.dataio.batches import Batch
from toolkit.metrics.error_rate import ErrorRateTracker
from toolkit.metrics.report import write_report
from toolkit.models.masking import valid_mask

logger = logging.getLogger(__name__)

LISTED = 20  # utterances named in a warning


class ASRBrain(RecipeBrain):
    """Decodes in validation and testing, and reports word and character error rates.

    Also read from the hyperparameters: ``tokenizer``, ``valid_search`` and ``test_search``.
    """

    def on_stage_start(self, stage: sb.Stage, epoch: int | None = None) -> None:
        """Start counting: errors of the stage, and utterances too short for CTC."""
        super().on_stage_start(stage, epoch)
        self.too_short: list[str] = []
        self.scored = ErrorRateTracker()

    def stage_figures(self, stage: sb.Stage, stage_loss: float) -> dict[str, float]:
        """Word and character error rate in percent, then the loss."""
        if stage == sb.Stage.TRAIN:
            self._report_too_short()
            return {"loss": stage_loss}
        return {"WER": self.scored.wer, "CER": self.scored.cer, "loss": stage_loss}

    def on_stage_end(self, stage: sb.Stage, stage_loss: float, epoch: int | None = None) -> None:
        """Write ``wer_<test>.txt`` after a test."""
        super().on_stage_end(stage, stage_loss, epoch)
        if stage == sb.Stage.TEST and if_main_process():
            path = self.output_folder / f"wer_{self.test_name}.txt"
            write_report(self.scored, path)
            logger.info("%s: WER %.2f %%, CER %.2f %% (%s)", self.test_name, self.scored.wer, self.scored.cer, path)

    @torch.no_grad()
    def decode(self, encoded: Tensor, frames: Tensor, batch: Batch, stage: sb.Stage) -> None:
        """Search the encoded (B, T, D) utterances and score what was found."""
        search = self.hparams.valid_search if stage == sb.Stage.VALID else self.hparams.test_search
        found = search(self.model, encoded, frames)
        for utterance, words, hypotheses in zip(batch.ids, batch.words, found, strict=True):
            self.scored.add(utterance, words, self.hparams.tokenizer.decode(hypotheses[0].tokens))

    def ctc_loss(self, log_probs: Tensor, frames: Tensor, batch: Batch) -> Tensor:
        """Mean CTC loss of log-probabilities (B, T, V) over utterances that have a path; zero when none has.

        A path needs a frame for each token and a blank between equal neighbours.
        """
        views = len(log_probs) // len(batch)
        tokens, counts = batch.tokens.repeat(views, 1), batch.token_counts.repeat(views)
        inside = torch.arange(1, tokens.size(1), device=tokens.device) < counts.unsqueeze(1)
        repeats = ((tokens[:, 1:] == tokens[:, :-1]) & inside).sum(1)
        possible = counts + repeats <= frames
        self.too_short += [name for name, fits in zip(batch.ids * views, possible.tolist(), strict=True) if not fits]
        losses = ctc_loss(log_probs.transpose(0, 1), tokens, frames, counts, reduction="none", zero_infinity=True)
        return losses.where(possible, torch.zeros_like(losses)).sum() / possible.sum().clamp_min(1)

    @property
    def views(self) -> int:
        """How many times a training utterance is augmented and heard: twice where the outputs are to agree."""
        return 2 if getattr(self.hparams, "consistency_weight", 0.0) else 1

    def consistency_loss(self, log_probs: Tensor, frames: Tensor) -> Tensor:
        """How far the CTC output (2 B, T, V) of each view is from that of the other (Yao et al. 2025, CR-CTC, eq. 5).

        The Kullback-Leibler divergence, summed over an utterance's frames (2 B,), from the other's output taken as given.
        """
        other = log_probs.detach().roll(len(log_probs) // 2, dims=0)
        divergence = kl_div(log_probs, other, reduction="none", log_target=True).sum(2)
        return (divergence * valid_mask(frames, log_probs.size(1))).sum() / len(log_probs)

    def _report_too_short(self) -> None:
        """Warn of utterances that were left out, when they are others than in the epoch before."""
        names, before = set(self.too_short), getattr(self, "reported", set())
        if names - before:
            shown = ", ".join(sorted(names)[:LISTED]) + (", ..." if len(names) > LISTED else "")
            logger.warning("too short for CTC, with more tokens than frames, and left out: %d (%s)", len(names), shown)
        self.reported = names | before
