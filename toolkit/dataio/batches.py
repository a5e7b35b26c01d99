"""What the loaders hand to a Brain: padded tensors beside the whole-number length of every row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self  # in typing from Python 3.11 on


class Tensors:
    """Moves of all tensors of a dataclass at once."""

    def to(self, device: torch.device | str) -> Self:
        """The same batch on ``device``; pinned memory is copied while the device computes."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=tensor.is_pinned()))

    def pin_memory(self) -> Self:
        """The same batch in page-locked memory (called by the DataLoader)."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Self:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: change(value) for name, value in values.items() if isinstance(value, Tensor)})


@dataclass
class Batch(Tensors):
    """Utterances: audio, words and tokens.

    Attributes
    ----------
    ids
        Utterance ids; copies at another speed end in ``_sp0.9`` or ``_sp1.1``.
    wavs
        (B, S) float32, zero-padded.
    samples
        (B,) int64: samples of each row that are not padding.
    words
        Reference transcripts.
    tokens
        (B, U) int64, zero-padded, without bos and eos.
    token_counts
        (B,) int64.
    """

    ids: list[str]
    wavs: Tensor
    samples: Tensor
    words: list[str]
    tokens: Tensor
    token_counts: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def repeat(self, times: int) -> Batch:
        """All utterances, then all of them again, so many times: (times * B, ...)."""
        names = {"ids": self.ids * times, "words": self.words * times}
        return replace(self._map(lambda tensor: tensor.repeat(times, *[1] * (tensor.dim() - 1))), **names)


@dataclass
class TextBatch(Tensors):
    """Sentences for a language model: words, (B, U) int64 zero-padded tokens without bos and eos, (B,) int64 counts."""

    words: list[str]
    tokens: Tensor
    token_counts: Tensor

    def __len__(self) -> int:
        return len(self.words)


def pad_tokens(sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """(B, U) int64 tokens padded with 0, and (B,) int64 counts; no sequence gives (0, 0) and (0,)."""
    counts = torch.tensor([len(sequence) for sequence in sequences], dtype=torch.int64)
    tokens = torch.zeros(len(sequences), max(map(len, sequences), default=0), dtype=torch.int64)
    for row, sequence in zip(tokens, sequences, strict=True):
        row[: len(sequence)] = torch.as_tensor(sequence, dtype=torch.int64)
    return tokens, counts


def pad_wavs(wavs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """(B, S) float32 waveforms padded with zeros, and (B,) int64 samples."""
    samples = torch.tensor([len(wav) for wav in wavs], dtype=torch.int64)
    return torch.nn.utils.rnn.pad_sequence(list(wavs), batch_first=True), samples
