"""What the loaders hand to a Brain: padded tensors beside the whole-number length of every row.

The fields that SpeechBrain's users know are there, too, with lengths relative to the longest row::

    wavs, wav_lens = batch.sig
    tokens, token_lens = batch.tokens    # also tokens_bos and tokens_eos
    batch.id, batch.words
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from toolkit.errors import DataError

COPIES = ("_sp0.9", "_sp1.1")  # how the ids end of copies at another speed (toolkit.dataio.augment)

if TYPE_CHECKING:
    from typing_extensions import Self  # in typing from Python 3.11 on


class PaddedData(NamedTuple):
    """What SpeechBrain calls by this name: padded rows (B, N), and (B,) lengths relative to the longest, 1.0."""

    data: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, data: Tensor, counts: Tensor) -> PaddedData:
        """Rows (B, N) of (B,) whole-number lengths."""
        return cls(data, counts / max(1, data.size(1)))


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
class TextBatch(Tensors):
    """Texts and their tokens.

    Attributes
    ----------
    words
        The texts.
    token_ids
        (B, U) int64, zero-padded, without bos and eos.
    token_counts
        (B,) int64.
    """

    words: list[str]
    token_ids: Tensor
    token_counts: Tensor

    taken: ClassVar[tuple[str, ...]] = ("words", "tokens")  # of a PaddedBatch

    @classmethod
    def of(cls, batch: Any) -> Self:
        """What SpeechBrain's PaddedBatch holds by the names in `taken`.

        Its ``tokens`` are as the YAML's tokenizer makes them: without bos and eos, of which the Brains take care.
        Lengths are exact up to eight million samples or tokens a row; padding of any value becomes zeros.

        Raises
        ------
        DataError
            Names what is missing or not padded.

        Examples
        --------
        >>> from speechbrain.dataio.batch import PaddedBatch
        >>> utterances = [
        ...     {"id": "a", "sig": torch.ones(3), "words": "YES", "tokens": torch.tensor([4, 2])},
        ...     {"id": "b", "sig": torch.ones(7), "words": "NO", "tokens": torch.tensor([5])},
        ... ]
        >>> batch = Batch.of(PaddedBatch(utterances))
        >>> batch.samples, batch.token_ids
        (tensor([3, 7]), tensor([[4, 2],
                [5, 0]]))
        """
        missing = [name for name in cls.taken if not hasattr(batch, name)]
        if missing:
            raise DataError(
                f"a {type(batch).__name__} without {' and '.join(missing)}: the Brain needs {', '.join(cls.taken)}; "
                "name them in the data set's output_keys"
            )
        return cls(**cls._read(batch))

    @classmethod
    def _read(cls, batch: Any) -> dict[str, Any]:
        tokens, counts = _unpadded("tokens", batch.tokens)
        return {"words": list(batch.words), "token_ids": tokens.long(), "token_counts": counts}

    def __len__(self) -> int:
        return len(self.words)

    @property
    def tokens(self) -> PaddedData:
        """``token_ids`` (B, U) with relative lengths."""
        return PaddedData.of(self.token_ids, self.token_counts)

    @property
    def tokens_bos(self) -> PaddedData:
        """(B, U + 1): a 0, which every model here takes for the beginning, then the tokens."""
        return PaddedData.of(pad(self.token_ids, (1, 0)), self.token_counts + 1)

    @property
    def tokens_eos(self) -> PaddedData:
        """(B, U + 1): the tokens, then a 0, which every model here takes for the end."""
        return PaddedData.of(pad(self.token_ids, (0, 1)), self.token_counts + 1)


@dataclass
class Batch(TextBatch):
    """Utterances: audio, words and tokens.

    Attributes
    ----------
    id
        Utterance ids; copies at another speed end in ``_sp0.9`` or ``_sp1.1``.
    wavs
        (B, S) float32, zero-padded.
    samples
        (B,) int64: samples of each row that are not padding.
    """

    id: list[str]
    wavs: Tensor
    samples: Tensor

    taken: ClassVar[tuple[str, ...]] = ("id", "sig", "words", "tokens")

    @property
    def sig(self) -> PaddedData:
        """``wavs`` (B, S) with relative lengths."""
        return PaddedData.of(self.wavs, self.samples)

    @property
    def original_samples(self) -> int:
        """How many there are, but for the copies at another speed."""
        return int(self.samples[[not name.endswith(COPIES) for name in self.id]].sum())

    @classmethod
    def _read(cls, batch: Any) -> dict[str, Any]:
        wavs, samples = _unpadded("sig", batch.sig)
        return super()._read(batch) | {"id": list(batch.id), "wavs": wavs.float(), "samples": samples}

    def repeat(self, times: int) -> Batch:
        """All utterances, then all of them again, so many times: (times * B, ...)."""
        names = {"id": self.id * times, "words": self.words * times}
        return replace(self._map(lambda tensor: tensor.repeat(times, *[1] * (tensor.dim() - 1))), **names)


def _unpadded(name: str, padded: Any) -> tuple[Tensor, Tensor]:
    """Rows (B, N) with zeros for padding and their (B,) int64 lengths, of rows and relative lengths."""
    if not hasattr(padded, "lengths") or padded.data.dim() != 2:
        found = f"shape {tuple(padded.data.shape)}" if hasattr(padded, "lengths") else type(padded).__name__
        raise DataError(f"{name} of a PaddedBatch: expected a tensor of one dimension for each utterance, not {found}")
    data, lengths = padded
    counts = (lengths.double() * data.size(1)).round().long()
    inside = torch.arange(data.size(1), device=data.device) < counts.unsqueeze(1)
    return data.masked_fill(~inside, 0), counts


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
