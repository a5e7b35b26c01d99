"""Synthetic corpora with durations as in LibriSpeech, and both sides' samplers over them."""

from __future__ import annotations

import itertools
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.cut.set import deserialize_cut
from lhotse.dataset import DynamicBucketingSampler

from toolkit.dataio.config import DataConfig
from toolkit.dataio.indexed import Lines
from toolkit.dataio.line_index import LineIndex
from toolkit.dataio.sampling import BucketSampler

CAP = 300.0  # seconds a batch
BUCKETS = 30

Batches = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Corpus:
    """A JSONL manifest of Lhotse's cuts, whose ids are their numbers, and their durations (N,)."""

    path: Path
    lengths: np.ndarray

    def source(self) -> Lines[Cut]:
        """The cuts by number, each built when it is asked for."""
        return Lines(LineIndex.of(self.path, _seconds, "seconds"), _build)

    def opened(self, *, rank: int = 0, world_size: int = 1) -> tuple[Lines[Cut], BucketSampler]:
        """The cuts and our sampler."""
        source = self.source()
        return source, BucketSampler.of(source, CONFIG, rank=rank, world_size=world_size)

    def sampler(self, *, rank: int = 0, world_size: int = 1) -> BucketSampler:
        """Ours alone."""
        return self.opened(rank=rank, world_size=world_size)[1]

    def lhotse(self, *, rank: int = 0, world_size: int = 1) -> DynamicBucketingSampler:
        """Lhotse's, with its buffer of 20,000 cuts."""
        return DynamicBucketingSampler(
            CutSet.from_jsonl_lazy(self.path),
            max_duration=CAP,
            num_buckets=BUCKETS,
            shuffle=True,
            seed=0,
            rank=rank,
            world_size=world_size,
        )

    def padded(self, batches: Batches) -> list[float]:
        """Seconds of each batch, padding included."""
        return [len(batch) * self.lengths[batch].max() for batch in batches]

    def padding(self, batches: Batches) -> float:
        """Per cent of the audio that padding adds."""
        return 100 * (sum(self.padded(batches)) / sum(self.lengths[batch].sum() for batch in batches) - 1)

    def check(self, batches: Batches, *, ours: bool) -> bool:
        """Whether every cut is there once, and our batches keep to the cap."""
        complete = sorted(itertools.chain.from_iterable(batches)) == list(range(len(self.lengths)))
        return complete and (not ours or max(self.padded(batches)) <= CAP * (1 + 1e-9))


CONFIG = DataConfig.from_hparams(
    "benchmark",
    {"manifest_filepath": "-", "batch_duration": CAP, "num_buckets": BUCKETS, "shuffle": True, "seed": 0},
)


def _seconds(line: bytes) -> float:
    return json.loads(line)["duration"]


def _build(line: bytes) -> Cut:
    return deserialize_cut(json.loads(line))


def numbers(batches: Iterator[CutSet]) -> list[list[int]]:
    """Of Lhotse's batches."""
    return [[int(cut.id) for cut in batch] for batch in batches]


@contextmanager
def corpora(*counts: int) -> Iterator[list[Corpus]]:
    """Corpora of so many cuts, indexed, in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        made = [write_corpus(Path(folder) / f"{count}.jsonl", count) for count in counts]
        for corpus in made:
            corpus.source()
        yield made


def write_corpus(path: Path, count: int) -> Corpus:
    """A manifest of ``count`` cuts."""
    lengths = durations(count)
    with path.open("w") as file:
        file.writelines(_line(number, length) for number, length in enumerate(lengths.tolist()))
    long_ago = time.time() - 60  # a file of this moment would not be given an index that is kept
    os.utime(path, (long_ago, long_ago))
    return Corpus(path, lengths)


def durations(count: int) -> np.ndarray:
    """(N,) seconds: two thirds around 14.2, the others anything shorter, as in LibriSpeech; mean 12.4."""
    rng = np.random.default_rng(0)
    long, short = rng.normal(14.2, 1.3, count), rng.uniform(1.3, 16.5, count)
    return np.where(rng.random(count) < 0.66, long, short).clip(1.2, 24.5).round(2)


def _line(number: int, length: float) -> str:
    text = f"THE {number} SENTENCES OF A CORPUS ARE ABOUT AS LONG AS THIS ONE"
    supervision = {"id": f"{number}", "recording_id": f"{number}", "start": 0.0, "duration": length, "channel": 0}
    source = {"type": "file", "channels": [0], "source": f"/data/corpus/{number % 100}/{number}.flac"}
    samples = {"sampling_rate": 16000, "num_samples": round(length * 16000), "duration": length}
    recording = {"id": f"{number}", "sources": [source], **samples, "channel_ids": [0]}
    cut = {"id": f"{number}", "start": 0.0, "duration": length, "channel": 0}
    cut |= {"supervisions": [supervision | {"text": text, "speaker": "1"}], "recording": recording, "type": "MonoCut"}
    return json.dumps(cut) + "\n"
