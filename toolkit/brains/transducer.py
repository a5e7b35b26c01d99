"""Training a transducer, optionally together with CTC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import speechbrain as sb
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from torchaudio.functional import rnnt_loss

from toolkit.brains.asr import ASRBrain
from toolkit.dataio.batches import Batch

# Logits of the joint network held at a time, frames x prefixes x tokens of one utterance or several: 128 MiB in
# float32, and as much for their gradient.
MAX_LOGITS = 2**25

Predictions = tuple[Tensor, Tensor, Tensor, Tensor]


class TransducerBrain(ASRBrain):
    """Trains a `toolkit.models.transducer.TransducerModel` (Graves 2012)."""

    reads: ClassVar[set[str]] = ASRBrain.reads | {"ctc_weight", "number_of_ctc_epochs"}

    def compute_forward(self, batch: Batch, stage: sb.Stage) -> Predictions:
        """CTC log-probabilities (B, T, V), frames (B,), projected frames (B, T, J) and prefixes (B, U + 1, J)."""
        if stage == sb.Stage.TRAIN:
            return self.modules.model(batch.wavs, batch.samples, batch.token_ids)
        encoded, frames = self.model.encode(batch.wavs, batch.samples)
        self.decode(encoded, frames, batch, stage)
        return self.model.ctc_log_probs(encoded), frames, *self.model.project(encoded, batch.token_ids)

    def compute_objectives(self, predictions: Predictions, batch: Batch, stage: sb.Stage) -> Tensor:
        """ctc_weight * CTC + (1 - ctc_weight) * transducer loss, both a mean over utterances."""
        log_probs, frames, acoustic, prefixes = predictions
        weight = self.ctc_weight
        loss = (1 - weight) * self._transducer_loss(acoustic, frames, prefixes, batch)
        if not weight:
            return loss + 0.0 * log_probs.sum()  # in a distributed run, every parameter must have a gradient
        return loss + weight * self.ctc_objective(log_probs, frames, batch, stage)

    def _transducer_loss(self, acoustic: Tensor, frames: Tensor, prefixes: Tensor, batch: Batch) -> Tensor:
        """-log p(tokens), the mean over utterances, of which as many at a time as `MAX_LOGITS` allows."""
        parts = list(_parts(frames, batch.token_counts, self.model.vocab_size))
        losses = []
        for rows in parts:
            T, U = int(frames[rows].max()), int(batch.token_counts[rows].max())
            given = acoustic[rows, :T], frames[rows], prefixes[rows, : U + 1]
            wanted = batch.token_ids[rows, :U], batch.token_counts[rows]
            if len(parts) == 1:
                losses.append(self._losses(*given, *wanted))
            else:  # with the logits of one part in memory, also on the way back
                losses.append(checkpoint(self._losses, *given, *wanted, use_reentrant=False))
        return torch.cat(losses).mean()

    def _losses(self, acoustic: Tensor, frames: Tensor, prefixes: Tensor, tokens: Tensor, counts: Tensor) -> Tensor:
        """-log p(tokens) of each utterance (B,); of one without frames, which rnnt_loss cannot take, 0."""
        logits = self.model.joint(acoustic.unsqueeze(2), prefixes.unsqueeze(1)).float()
        lengths = frames.clamp_min(1).int(), counts.int()
        return rnnt_loss(logits, tokens.int(), *lengths, blank=0, reduction="none") * (frames > 0)


def _parts(frames: Tensor, counts: Tensor, vocab_size: int) -> Iterator[slice]:
    """The utterances of a batch in runs whose logits, padded, are at most `MAX_LOGITS`, or that are one utterance."""
    sizes = list(zip(frames.tolist(), counts.tolist(), strict=True))
    start = 0
    for end in range(1, len(sizes) + 1):
        T, U = (max(lengths) for lengths in zip(*sizes[start : end + 1], strict=True))
        if end == len(sizes) or T * (U + 1) * vocab_size * (end + 1 - start) > MAX_LOGITS:
            yield slice(start, end)
            start = end
