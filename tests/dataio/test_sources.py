"""Wherever a data set is read from, an epoch holds the same utterances, sample for sample."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tone_corpus import make_tone_corpus

from toolkit.cli.data_tools.convert import main as convert
from toolkit.dataio.batches import Batch
from toolkit.dataio.loaders import load_split

UTTERANCES = 24


class Letters:
    """A tokenizer of letters."""

    def encode(self, text: str) -> list[int]:
        return [ord(letter) - 64 for letter in text if letter != " "]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tone_corpus(tmp_path_factory.mktemp("tones"), UTTERANCES)["train"]


def epoch(data: dict[str, Any]) -> list[dict[str, tuple]]:
    """What is in each batch of an epoch of training, by utterance."""
    options = {"shuffle": True, "perturb_speed": True, "batch_duration": 8, "num_buckets": 3}
    hparams = {"train_data": data | options, "tokenizer": Letters(), "seed": 1}
    return [dict(utterances(batch)) for batch in load_split("train_data", hparams)]


def utterances(batch: Batch) -> Iterator[tuple[str, tuple]]:
    for row, name in enumerate(batch.id):
        wav, tokens = batch.wavs[row, : batch.samples[row]], batch.token_ids[row, : batch.token_counts[row]]
        yield name, (wav.numpy().tobytes(), tokens.tolist(), batch.words[row])


@pytest.mark.parametrize(
    ("output", "options"),
    [
        ("nemo.json", ["--to", "nemo"]),
        ("cuts.jsonl", ["--to", "lhotse"]),
        ("tarred", ["--to", "nemo_tarred", "--shards", "3"]),
    ],
)
def test_an_epoch_is_the_same_from_every_source(
    manifest: Path, tmp_path: Path, capsys, output: str, options: list[str]
):
    assert convert([str(manifest), str(tmp_path / output), *options]) == 0
    found = epoch(yaml.safe_load(capsys.readouterr().out))
    expected = epoch({"manifest_filepath": str(manifest)})
    together = {name: heard for batch in found for name, heard in batch.items()}
    assert sum(map(len, found)) == len(together) == 3 * UTTERANCES
    assert together == {name: heard for batch in expected for name, heard in batch.items()}
    if output != "tarred":  # shards are read in windows, which have an order of their own
        assert [list(batch) for batch in found] == [list(batch) for batch in expected]
