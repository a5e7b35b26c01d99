"""Batches of conversations and texts in a prompt format, for a language model that hears."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lhotse import CutSet
from torch import Tensor
from torch.utils.data import Dataset

from toolkit.dataio.batches import Tensors, pad_tokens
from toolkit.dataio.cut_audio import load_cuts
from toolkit.dataio.text_adapters import (
    AudioTurn,
    Formattable,
    NeMoMultimodalConversation,
    NeMoSFTExample,
    SourceTargetTextExample,
)
from toolkit.errors import DataError


@dataclass
class ConversationBatch(Tensors):
    """Conversations: token ids with the mark of audio among them, and the audio.

    Attributes
    ----------
    id
        Of the conversations; texts have none, and here the first words of their answers.
    words
        The answers.
    input_ids, token_counts
        (B, U) int64 zero-padded token ids, and (B,) int64 how many count.
    context_counts
        (B,) int64 how many of them stand before the answer.
    learned
        (B, U) bool, true for the tokens that the assistant says.
    wavs, samples
        (A, S) float32 zero-padded audio in the order of its marks, and (A,) int64 samples of each that count.
    """

    id: list[str]
    words: list[str]
    input_ids: Tensor
    token_counts: Tensor
    context_counts: Tensor
    learned: Tensor
    wavs: Tensor
    samples: Tensor

    def __len__(self) -> int:
        return len(self.id)

    @property
    def original_samples(self) -> int:
        """How many there are: conversations have no copies at another speed."""
        return int(self.samples.sum())


class ConversationDataset(Dataset):
    """The batch of a CutSet of conversations and texts that were put into a prompt format."""

    def __getitem__(self, examples: CutSet) -> ConversationBatch:
        examples = list(examples)
        words = [_answer(example) for example in examples]
        names = [getattr(example, "id", None) or text[:_NAME] for example, text in zip(examples, words, strict=True)]
        input_ids, counts = pad_tokens([example.input_ids for example in examples])
        learned, _ = pad_tokens([example.mask for example in examples])
        context_counts = torch.tensor([len(example.context_ids) for example in examples])
        conversations = (example for example in examples if isinstance(example, NeMoMultimodalConversation))
        cuts = [cut for conversation in conversations for cut in conversation.list_cuts()]
        audio = load_cuts(cuts) if cuts else (torch.zeros(0, 0), torch.zeros(0, dtype=torch.int64))
        return ConversationBatch(names, words, input_ids, counts, context_counts, learned.bool(), *audio)


_NAME = 30


def _answer(example: Formattable) -> str:
    """What the assistant writes at the end.

    Raises
    ------
    DataError
        There is nothing to learn or to score: another role has the last word, or the assistant says it aloud.
    """
    if isinstance(example, SourceTargetTextExample):
        return example.target.text
    if isinstance(example, NeMoMultimodalConversation):
        last = example.turns[-1]
        if not example.has_answer or isinstance(last, AudioTurn):
            raise DataError(
                f"conversation {example.id!r}: ends with what {last.role} "
                f"{'says' if isinstance(last, AudioTurn) else 'writes'}; expected what the assistant writes"
            )
        return last.value
    return example.data["conversations"][-1]["value"] if isinstance(example, NeMoSFTExample) else example.text
