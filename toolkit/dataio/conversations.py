"""Batches of conversations and pairs of texts, in a prompt format, for a language model that hears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from toolkit.dataio.batches import _Tensors, pad_tokens
from toolkit.dataio.cut_audio import load_cuts
from toolkit.dataio.text_adapters import Formattable, NeMoMultimodalConversation, SourceTargetTextExample
from toolkit.errors import DataError


@dataclass
class ConversationBatch(_Tensors):
    """Conversations: token ids with the mark of audio among them, and the audio.

    Attributes
    ----------
    ids
        Of the conversations; a pair of texts has none, "".
    input_ids, counts
        (B, U) int64 zero-padded token ids, and (B,) how many count.
    context_counts
        (B,) how many of them stand before the answer.
    learned
        (B, U) bool, true where the model learns to say the token.
    wavs, samples
        (A, S) float32 zero-padded waveforms in the order of their marks, and (A,) samples that count.
    words
        (B,) the answers.
    """

    ids: list[str]
    input_ids: Tensor
    counts: Tensor
    context_counts: Tensor
    learned: Tensor
    wavs: Tensor
    samples: Tensor
    words: list[str]
    tokens: Tensor
    token_counts: Tensor

    def __len__(self) -> int:
        return len(self.ids)


def collate(examples: Sequence[Formattable], tokenizer: Any) -> ConversationBatch:
    """The batch of examples that were put into a prompt format and have an answer."""
    input_ids, counts = pad_tokens([example.input_ids for example in examples])
    learned, _ = pad_tokens([example.mask for example in examples])
    cuts = [cut for example in examples if isinstance(example, NeMoMultimodalConversation) for cut in example.list_cuts()]
    wavs, samples = load_cuts(cuts) if cuts else (torch.zeros(0, 0), torch.zeros(0, dtype=torch.int64))
    tokens, token_counts = pad_tokens([tokenizer.encode(cut.supervisions[0].text) for cut in cuts])
    return ConversationBatch(
        [getattr(example, "id", "") for example in examples],
        input_ids,
        counts,
        torch.tensor([len(example.context_ids) for example in examples]),
        learned.bool(),
        wavs,
        samples,
        [_answer(example) for example in examples], tokens, token_counts
    )


def _answer(example: Formattable) -> str:
    """What the model is to say at the end."""
    if isinstance(example, NeMoMultimodalConversation):
        return example.turns[-1].value
    return example.target.text if isinstance(example, SourceTargetTextExample) else example.text
