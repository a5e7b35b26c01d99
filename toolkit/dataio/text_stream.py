"""Text that is too much to hold, streamed through HuggingFace `datasets`: LibriSpeech's has 40 million sentences.

An epoch is ``epoch_sentences`` lines of it, the next one those that follow, and after the last line comes the first
again. Lines are shuffled within a window. Every rank reads all of them and takes its share of the batches.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from itertools import chain, islice, repeat
from pathlib import Path

import datasets
import numpy as np
from torch.utils.data import Dataset

from toolkit.dataio.batches import TextBatch, pad_tokens
from toolkit.dataio.buckets import Buckets, Caps
from toolkit.dataio.draws import EveryExample
from toolkit.dataio.epochs import SeekableSampler, rank_and_world_size
from toolkit.dataio.loaders import Encoder
from toolkit.dataio.sampling import BucketSampler
from toolkit.errors import DataError

# Sentences that are encoded, sorted by length and shuffled together: 2 s of encoding, 10 MB of tokens.
WINDOW = 50_000

Drawn = tuple[list[str], list[list[int]]]


class StreamedBatches(Dataset):
    """The batch of the texts and tokens that :class:`TextStream` yields."""

    def __getitem__(self, drawn: Drawn) -> TextBatch:
        texts, tokens = drawn
        return TextBatch(texts, *pad_tokens(tokens))


class TextStream(SeekableSampler):
    """Texts of similar length and their tokens, for each batch on this rank; empty lines are no sentences.

    Parameters
    ----------
    paths
        Text files, as they are or compressed, which are one text.
    tokenizer
        Makes the tokens.
    caps
        Of a batch; eos is a token, too.
    sentences
        Lines of an epoch.
    seed
        With the epoch, decides the order.
    """

    def __init__(
        self, paths: Sequence[Path], tokenizer: Encoder, caps: Caps, *, sentences: int, seed: int, window: int = WINDOW
    ) -> None:
        super().__init__()
        self.paths, self.tokenizer, self.caps = paths, tokenizer, caps
        self.sentences, self.seed, self.window = sentences, seed, window
        self.rank, self.world_size = rank_and_world_size()
        self.origin = {"epoch_sentences": sentences, "seed": seed, "world_size": self.world_size}

    def batches(self, epoch: int, skipped: int = 0) -> Iterator[Drawn]:
        """From batch number ``skipped`` of ``epoch`` on; what lies before is read, and encoded, again."""
        return islice(self._batches(epoch), skipped, None)

    def count(self, epoch: int) -> int:
        """It is not known."""
        raise TypeError(f"epoch {epoch} of a text that is streamed: its batches are not counted")

    def _batches(self, epoch: int) -> Iterator[Drawn]:
        begin = epoch * self.sentences
        lines = islice(chain.from_iterable(map(stream_lines, repeat(self.paths))), begin, begin + self.sentences)
        is_empty = True
        while window := list(islice(lines, self.window)):
            if texts := [text.strip() for text in window if text.strip()]:
                is_empty = False
                yield from self._share(texts, epoch)
        if is_empty:
            raise DataError(f"{', '.join(map(str, self.paths))}: {self.sentences} lines without a sentence")

    def _share(self, texts: list[str], epoch: int) -> Iterator[Drawn]:
        """The batches of a window that are this rank's."""
        encoded = [self.tokenizer.encode(text) for text in texts]
        lengths = np.array([len(tokens) + 1 for tokens in encoded])
        buckets = Buckets.by_length(lengths, self.caps, np.unique(lengths)[:-1])
        draw = EveryExample(len(texts), seed=self.seed)
        plan = BucketSampler(draw, buckets, seed=self.seed, rank=self.rank, world_size=self.world_size).plan(epoch)
        for number in range(len(plan)):
            yield [texts[one] for one in plan[number]], [encoded[one] for one in plan[number]]


def stream_lines(paths: Sequence[Path]) -> Iterator[str]:
    """The lines of text files (.txt or .gz), one after another; nothing is unpacked, and nothing held.

    Raises
    ------
    DataError
        One is damaged, or not text in UTF-8.
    """
    names = [glob.escape(str(path.resolve())) for path in paths]
    try:
        lines = datasets.load_dataset("text", data_files=names, split="train", streaming=True)
        for block in lines.iter(batch_size=1000):
            yield from block["text"]
    except Exception as error:  # datasets raises whatever its builders raise
        raise DataError(f"{', '.join(map(str, paths))}: datasets cannot stream it ({error})") from error
