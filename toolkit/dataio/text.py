"""Sentences of text files, read through HuggingFace `datasets`, as batches of tokens for a language model.

::

    train_text: manifests/lm_train.txt          # one sentence a line; a list of files is one text
    valid_text: manifests/lm_valid.txt
    test_text: {test: manifests/lm_test.txt}
    batch_tokens: 5000                          # tokens a batch, eos and padding included; a cap
    epoch_sentences: 2000000                    # of a training text that is streamed: so many lines are an epoch

Shuffling and sharing among ranks are those of :mod:`toolkit.dataio.loaders`: training text only.
"""

from __future__ import annotations

import glob
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from torch.utils.data import Dataset

from toolkit.dataio.batches import TextBatch, pad_tokens
from toolkit.dataio.buckets import Buckets, Caps
from toolkit.dataio.draws import EveryExample
from toolkit.dataio.epochs import EpochLoader, rank_and_world_size
from toolkit.dataio.loaders import Encoder, named_tests, require
from toolkit.dataio.sampling import BucketSampler, LongestFirstSampler
from toolkit.dataio.text_stream import StreamedBatches, TextStream
from toolkit.errors import ConfigError, DataError

# Below the output folder: Arrow copies of the text files, which are mapped into memory rather than read.
CACHE = "text_cache"


class SentenceDataset(Dataset):
    """The batch of an (epoch, sentence numbers) pair; empty lines of the files are no sentences.

    Tokens are kept in one flat array.
    """

    def __init__(self, lines: datasets.Dataset, tokenizer: Encoder) -> None:
        numbers, lengths, tokens = array("q"), array("q"), array("i")
        for number, text in enumerate(_texts(lines)):
            if text.strip():
                encoded = tokenizer.encode(text.strip())
                numbers.append(number)
                lengths.append(len(encoded))
                tokens.extend(encoded)
        self.lines = lines
        self.numbers = np.array(numbers)
        self.lengths = np.array(lengths)
        self.ends = np.cumsum(self.lengths)
        self.tokens = np.array(tokens)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, drawn: tuple[int, Sequence[int]]) -> TextBatch:
        _, sentences = drawn
        ends, lengths = self.ends[sentences], self.lengths[sentences]
        pieces = [self.tokens[end - length : end] for end, length in zip(ends, lengths, strict=True)]
        words = self.lines[self.numbers[sentences]]["text"]
        return TextBatch([text.strip() for text in words], *pad_tokens(pieces))


def _texts(lines: datasets.Dataset) -> Iterator[str]:
    for block in lines.iter(batch_size=1000):
        yield from block["text"]


def load_text_splits(hparams: Mapping[str, Any]) -> tuple[EpochLoader, EpochLoader, dict[str, EpochLoader]]:
    """Loaders of ``train_text``, ``valid_text`` and of each entry of ``test_text``.

    With ``epoch_sentences``, the training text is streamed (:mod:`toolkit.dataio.text_stream`).

    Raises
    ------
    ConfigError
        A key is missing or impossible.
    DataError
        A file is missing or holds no sentence.
    """
    seed = hparams.get("seed", 0)
    load_train = load_text if hparams.get("epoch_sentences") is None else stream_text
    train = load_train("train_text", require("train_text", hparams), hparams, seed=seed)
    valid = load_text("valid_text", require("valid_text", hparams), hparams)
    tests = named_tests("test_text", hparams)
    return train, valid, {name: load_text(f"test_text.{name}", files, hparams) for name, files in tests.items()}


def stream_text(
    name: str, files: str | Path | Sequence[str | Path], hparams: Mapping[str, Any], *, seed: int
) -> EpochLoader:
    """The loader of a training text of which ``epoch_sentences`` lines are an epoch."""
    caps, sentences = Caps(_require_count("batch_tokens", hparams)), _require_count("epoch_sentences", hparams)
    stream = TextStream(_paths(name, files), require("tokenizer", hparams), caps, sentences=sentences, seed=seed)
    return EpochLoader(StreamedBatches(), stream, in_workers=True, num_workers=1)


def load_text(
    name: str, files: str | Path | Sequence[str | Path], hparams: Mapping[str, Any], *, seed: int | None = None
) -> EpochLoader:
    """The loader of one text; shuffled, and shared by the ranks, when it has a seed."""
    batch_tokens = _require_count("batch_tokens", hparams)
    dataset = SentenceDataset(read_lines(name, files, hparams), require("tokenizer", hparams))
    if not len(dataset):
        raise DataError(f"{name}: {files}: holds no sentence")
    lengths, caps = dataset.lengths + 1, Caps(batch_tokens)  # eos is a token too
    if seed is None:
        return EpochLoader(dataset, LongestFirstSampler(lengths, caps))
    buckets = Buckets.by_length(lengths, caps, np.unique(lengths)[:-1])  # one for each length, so as to pad least
    rank, world_size = rank_and_world_size()
    draw = EveryExample(len(dataset), seed=seed)
    return EpochLoader(dataset, BucketSampler(draw, buckets, seed=seed, rank=rank, world_size=world_size))


def read_sentences(name: str, hparams: Mapping[str, Any]) -> Iterator[str] | dict[str, Iterator[str]]:
    """Sentences of the text under the YAML's key ``name``, without empty lines: to train a tokenizer on.

    Where the YAML has texts by language, so are the sentences.
    """
    files = require(name, hparams)
    if isinstance(files, Mapping):
        return {language: _sentences(f"{name}.{language}", some, hparams) for language, some in files.items()}
    return _sentences(name, files, hparams)


def _sentences(name: str, files: Any, hparams: Mapping[str, Any]) -> Iterator[str]:
    return (text.strip() for text in _texts(read_lines(name, files, hparams)) if text.strip())


def read_lines(name: str, files: str | Path | Sequence[str | Path], hparams: Mapping[str, Any]) -> datasets.Dataset:
    """The lines of text files (column ``text``), mapped from a cache below the output folder.

    Raises
    ------
    DataError
        A file is missing, empty or not UTF-8.
    """
    paths = _paths(name, files)
    cache = Path(require("output_folder", hparams)) / CACHE
    noisy = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(
            "text", data_files=[glob.escape(str(path.resolve())) for path in paths], split="train", cache_dir=str(cache)
        )
    except (datasets.exceptions.DatasetGenerationError, UnicodeDecodeError) as error:
        raise DataError(f"{name}: {', '.join(map(str, paths))}: cannot be read ({error.__cause__ or error})") from error
    finally:
        if noisy:
            datasets.enable_progress_bars()


def _require_count(key: str, hparams: Mapping[str, Any]) -> int:
    value = require(key, hparams)
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ConfigError(f"{key}: expected a whole number above 0, not {value!r}")
    return value


def _paths(name: str, files: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files of a text, which are there."""
    paths = [Path(files)] if isinstance(files, (str, Path)) else [Path(one) for one in files]
    for path in paths:
        if not path.is_file():
            raise DataError(f"{name}: {path}: no such text file; the recipe's <dataset>_prepare.py makes it")
        if path.stat().st_size == 0:
            raise DataError(f"{name}: {path}: holds no sentence")
    return paths
