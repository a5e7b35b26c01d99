"""One training step of an experiment, and one search of each kind, on two of its own utterances."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from toolkit.brains.step_memory import Trainer
from toolkit.dataio.batches import TextBatch, pad_tokens
from toolkit.errors import DataError
from toolkit.rehearsal.coverage import Looked
from toolkit.rehearsal.findings import Findings

# More than one utterance in so many that is too short for CTC is a stride or a tokenizer that does not fit the data.
RARE = 100
SHOWN = 5


def try_step(trainer: Trainer, batch: Any, findings: Findings) -> None:
    """Train on a batch: forward, backward and a step of the optimizer; its loss has to be finite."""
    loss = float(trainer.train_on(batch))
    if math.isfinite(loss):
        size = sum(one.numel() for one in trainer.brain.model.parameters()) / 1e6
        findings.facts.append(f"a training step: loss {loss:.2f}, {size:.2f} M parameters, on {trainer.brain.device}")
    else:
        findings.problems.append(f"a training step: the loss is {loss}; expected a finite number")


def batch_of(data: Looked | Sequence[str], hparams: Mapping[str, Any], *, shortest: bool = False) -> Any:
    """The batch of the longest and the shortest utterance or sentence, or of the shortest alone.

    Raises
    ------
    DataError
        They cannot be read.
    """
    if isinstance(data, Looked):
        batch = data.dataset[(1, data.extremes[1:] if shortest else data.extremes)]
        if isinstance(batch, DataError):
            raise batch
        return batch
    chosen = [min(data, key=len)] if shortest else [max(data, key=len), min(data, key=len)]
    return TextBatch(chosen, *pad_tokens([hparams["tokenizer"].encode(text) for text in chosen]))


def find_too_short(trainer: Trainer, looked: Looked, findings: Findings) -> None:
    """Utterances whose audio has fewer frames behind the encoder than CTC needs for their tokens."""
    if not getattr(trainer.brain, "ctc_weight", 0.0) or not looked.needs:
        return
    frames = Frames(trainer)
    longest = max(seconds for seconds, _ in looked.needs.values())
    stride = longest / max(1, frames(longest))
    short = [
        name
        for name, (seconds, needed) in looked.needs.items()
        # the stride tells which can be short at all; of these, the encoder itself is asked
        if needed > seconds / stride - 3 and needed > frames(seconds)
    ]
    if short:
        message = (
            f"{len(short)} of {len(looked.needs)} utterances have more tokens than frames of {1000 * stride:.0f} ms "
            f"and are too short for CTC: {', '.join(short[:SHOWN])}{', ...' * (len(short) > SHOWN)}"
        )
        many = len(short) * RARE > len(looked.needs)
        (findings.problems if many else findings.notes).append(
            f"{message}; a smaller stride or a tokenizer of longer pieces would do" if many else message
        )


class Frames:
    """The frames that a model's encoder makes of silence of so many seconds; asked once for each length."""

    def __init__(self, trainer: Trainer) -> None:
        self.model, self.rate, self.device = trainer.brain.model, trainer.sample_rate, trainer.brain.device
        self.known: dict[int, int] = {}

    @torch.no_grad()
    def __call__(self, seconds: float) -> int:
        """Frames of a length."""
        samples = round(seconds * self.rate)
        if samples not in self.known:
            self.model.eval()
            wavs = torch.zeros(1, samples, device=self.device)
            frames: Tensor = self.model.encode(wavs, torch.tensor([samples], device=self.device))[1]
            self.known[samples] = int(frames[0])
        return self.known[samples]
