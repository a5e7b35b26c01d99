"""Reading, decoding and collating audio in two worker processes, beside SpeechBrain and Lhotse, in the same batches."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch
from dataloading_corpus import CAP, durations
from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.dataset import AudioSamples
from side_by_side import Row, compare
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataio import read_audio
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.utils.data_pipeline import provides, takes
from torch.utils.data import DataLoader, Dataset

from toolkit.dataio.epochs import EpochLoader
from toolkit.dataio.loaders import load_split

WORKERS = 2
RATE = 16000
VOICES = 60  # files that differ; more utterances are the same ones again

Summary = list[tuple[int, float]]


def rows(quick: bool) -> Iterator[Row]:
    """Both containers, beside both peers."""
    for suffix in ("wav", "flac"):
        with tempfile.TemporaryDirectory() as folder:
            manifest = write_corpus(Path(folder), suffix, 180 if quick else 900)
            loader = our_loader(manifest)
            for name, peer, goal in (
                ("SpeechBrain read_audio + PaddedBatch", speechbrain_loader(manifest, loader), 1.0),
                ("Lhotse AudioSamples", lhotse_loader(loader), 1.3),
            ):
                yield compare(
                    f"{sum(map(len, cuts_of(loader)))} utterances of .{suffix}, {WORKERS} workers",
                    lambda loader=loader: sums(loader),
                    lambda peer=peer: sums(peer),
                    peer_name=name,
                    goal=goal,
                    same=lambda one, other: len(one) == len(other) > 0 and np.allclose(one, other, rtol=1e-4),
                    note="ours makes tokens too",
                )


def write_corpus(folder: Path, suffix: str, count: int) -> Path:
    """A manifest of speech-like sounds: harmonics that come and go, and noise."""
    entries = {}
    for number, length in enumerate(durations(VOICES).tolist()):
        soundfile.write(folder / f"{number}.{suffix}", sound(number, round(length * RATE)), RATE, subtype="PCM_16")
        about = {"length": length, "words": "A", "sample_rate": RATE, "num_samples": round(length * RATE)}
        wav = str(folder / f"{number}.{suffix}")
        entries |= {f"{number}_{turn}": {"wav": wav} | about for turn in range(count // VOICES)}
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(entries))
    return manifest


def sound(seed: int, samples: int) -> np.ndarray:
    """(S,) float32."""
    rng, seconds = np.random.default_rng(seed), np.arange(samples) / RATE
    pitch = rng.uniform(90, 220)
    voiced = sum(np.sin(2 * np.pi * pitch * number * seconds) / number for number in range(1, 12))
    loudness = np.interp(seconds * 10, np.arange(samples // 1600 + 2), rng.random(samples // 1600 + 2) ** 2)
    return (0.1 * voiced * loudness + rng.normal(0, 0.003, samples)).astype(np.float32)


class Letters:
    """A tokenizer of letters."""

    def encode(self, text: str) -> list[int]:
        """Numbers of the letters."""
        return [ord(letter) for letter in text]


def our_loader(manifest: Path) -> EpochLoader:
    """What a YAML describes, with workers that end with the epoch, so that their CPU time is counted."""
    data = {"manifest_filepath": str(manifest), "batch_duration": CAP}
    loader = load_split("valid_data", {"valid_data": data, "tokenizer": Letters()})
    return EpochLoader(loader.dataset, loader.order, num_workers=WORKERS)


def cuts_of(ours: EpochLoader) -> list[list[Cut]]:
    """The cuts of each batch."""
    return [ours.dataset.examples(drawn) for drawn in ours.order]


def speechbrain_loader(manifest: Path, ours: EpochLoader) -> DataLoader:
    """As the recipes of SpeechBrain write it."""

    @takes("wav")
    @provides("sig")
    def read(wav: str) -> torch.Tensor:
        return read_audio(wav)

    dataset = DynamicItemDataset.from_json(manifest, dynamic_items=[read], output_keys=["id", "sig"])
    place = {name: number for number, name in enumerate(dataset.data_ids)}
    batches = [[place[cut.id] for cut in batch] for batch in cuts_of(ours)]
    return DataLoader(dataset, batch_sampler=batches, collate_fn=PaddedBatch, num_workers=WORKERS)


class LhotseDataset(Dataset):
    """As Lhotse's tutorials write it; cuts reach the worker with their batch."""

    def __init__(self) -> None:
        self.read = AudioSamples()

    def __getitem__(self, cuts: CutSet) -> tuple[torch.Tensor, torch.Tensor]:
        return self.read(cuts)


def lhotse_loader(ours: EpochLoader) -> DataLoader:
    """The same batches as CutSets."""
    batches = [CutSet.from_cuts(batch) for batch in cuts_of(ours)]
    return DataLoader(LhotseDataset(), sampler=batches, batch_size=None, num_workers=WORKERS)


def sums(loader: DataLoader) -> Summary:
    """Rows and power of each batch of one epoch."""
    if isinstance(loader, EpochLoader):
        loader.seek(0)
    return [(len(wavs), float(wavs[:, ::100].square().sum())) for wavs in map(waveforms, loader)]


def waveforms(batch: object) -> torch.Tensor:
    """(B, S) of a batch of any kind."""
    if isinstance(batch, PaddedBatch):
        return batch.sig.data
    return batch[0] if isinstance(batch, (tuple, list)) else batch.wavs
