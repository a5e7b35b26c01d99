"""An epoch of training on AN4, fed by our loader and by what SpeechBrain's template for speech recognition has.

The model is that of recipes/AN4/hparams/ctc.yaml, its Brain trains on both, and both have every utterance once. The
template sorts them and takes so many at a time; 2 is its own number.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from side_by_side import Row, compare
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataio import read_audio
from speechbrain.dataio.dataloader import SaveableDataLoader
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.utils.data_pipeline import provides, takes
from torch.utils.data import DataLoader

from toolkit.brains.ctc import CTCBrain
from toolkit.dataio.epochs import EpochLoader
from toolkit.dataio.loaders import load_split
from toolkit.dataio.manifests import write_manifest
from toolkit.hparams import HparamsDocument
from toolkit.tokenizer import Tokenizer, train_tokenizer

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes/AN4"
CORPUS = Path(os.environ.get("ASR_DATA", ROOT.parent / "shared/data")) / "an4"
BATCH_SECONDS = 32
UTTERANCES, QUICK = 422, 40  # half of the training set, which takes a core eight seconds
REPEATS = 3


class Summing(CTCBrain):
    """Notes how many utterances and samples it was trained on."""

    def compute_forward(self, batch, stage):
        """Count, then compute."""
        self.seen += torch.tensor([len(batch), int(batch.samples.sum())])
        return super().compute_forward(batch, stage)


def rows(quick: bool) -> Iterator[Row]:
    """The template's batches, and longer ones; none where there is no AN4."""
    if not CORPUS.is_dir():
        print(f"{CORPUS} is not there: no rows of training", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        manifest, tokenizer = prepare(Path(folder), QUICK if quick else UTTERANCES)
        brain, ours = make_brain(Path(folder) / "run", tokenizer), our_loader(manifest, tokenizer)
        for batch_size in (2, 8):
            peer = template_loader(manifest, tokenizer, batch_size)
            yield compare(
                f"epoch of CTC training on {len(peer.dataset)} utterances of AN4",
                lambda: train(brain, ours),
                lambda peer=peer: train(brain, peer),
                peer_name=f"SpeechBrain's template, sorted, batches of {batch_size}",
                goal=1.3,
                same=lambda one, other: one == other,
                repeats=REPEATS,
                note=f"ours shuffled, at most {BATCH_SECONDS} s a batch",
            )


def prepare(folder: Path, count: int) -> tuple[Path, Tokenizer]:
    """A manifest of so many utterances of the recipe's training set, and a tokenizer of characters."""
    subprocess.run(
        [sys.executable, RECIPE / "an4_prepare.py", CORPUS, folder], check=True, stdout=subprocess.DEVNULL, cwd=ROOT
    )
    manifest = folder / "train.json"
    entries = json.loads(manifest.read_text())
    names = list(entries)[:: len(entries) // count][:count]
    write_manifest(manifest, {name: entries[name] for name in names})
    sentences = (folder / "lm_train.txt").read_text().splitlines()
    train_tokenizer(sentences, folder / "tokenizer.model", model_type="char")
    return manifest, Tokenizer(folder / "tokenizer.model")


def make_brain(folder: Path, tokenizer: Tokenizer) -> CTCBrain:
    """Of the recipe's CTC model, which hears each utterance once."""
    document = HparamsDocument(RECIPE / "hparams/ctc.yaml")
    document.keep(document.needed_by(["model", "opt_class", "lr_schedule", "epoch_counter", "output_folder"]))
    document.override({"output_folder": str(folder), "tokenizer_file": str(tokenizer.model_file)})
    return Summing(document.build(), {"device": "cpu", "noprogressbar": True})


def our_loader(manifest: Path, tokenizer: Tokenizer) -> EpochLoader:
    """As the recipe's YAML has it, without copies at other speeds."""
    data = {"manifest_filepath": str(manifest), "batch_duration": BATCH_SECONDS, "num_buckets": 20, "shuffle": True}
    return load_split("train_data", {"train_data": data, "tokenizer": tokenizer, "seed": 1})


def template_loader(manifest: Path, tokenizer: Tokenizer, batch_size: int) -> SaveableDataLoader:
    """The pipelines of the template, ascending."""

    @takes("wav")
    @provides("sig")
    def read(wav: str) -> torch.Tensor:
        return read_audio(wav)

    @takes("words")
    @provides("words", "tokens_list", "tokens_bos", "tokens_eos", "tokens")
    def encode(words: str) -> Iterator[object]:
        yield words
        tokens = tokenizer.encode(words)
        yield tokens
        yield torch.LongTensor([0, *tokens])
        yield torch.LongTensor([*tokens, 0])
        yield torch.LongTensor(tokens)

    dataset = DynamicItemDataset.from_json(
        manifest,
        replacements={"data_root": (manifest.parent / "data_root.txt").read_text().strip()},
        dynamic_items=[read, encode],
        output_keys=["id", "sig", "words", "tokens_bos", "tokens_eos", "tokens"],
    )
    dataset = dataset.filtered_sorted(sort_key="length")
    return SaveableDataLoader(dataset, batch_size=batch_size, collate_fn=PaddedBatch)


def train(brain: Summing, loader: DataLoader) -> list[int]:
    """Train for an epoch; utterances and samples that were heard."""
    brain.seen, brain.train_loader = torch.zeros(2, dtype=torch.int64), loader
    brain.fit(epoch_counter=[1], train_set=loader)
    return brain.seen.tolist()
