"""From a YAML's data sets to batches: manifests, Lhotse cuts, samplers, augmentation, waveforms and tokens.

::

    train, valid, tests = load_splits(hparams)
    train.seek(epoch=3, batches=120)     # a resumed run: the next batch is number 120 of epoch 3
    for batch in train:
        ...

Training data (``shuffle: true``) is divided among the ranks of a distributed run. Evaluation data is not: every rank
that iterates an evaluation loader gets all of it, so that the main rank alone can score, and score everything once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

import numpy as np
from lhotse.cut import Cut
from torch.utils.data import Dataset

from toolkit.dataio.augment import Augmentation, with_speed_copies
from toolkit.dataio.batches import Batch, pad_tokens
from toolkit.dataio.config import DataConfig
from toolkit.dataio.cut_audio import load_cuts
from toolkit.dataio.epochs import EpochLoader, rank_and_world_size
from toolkit.dataio.indexed import Indexed, Listed, Mapped, Selected
from toolkit.dataio.manifests import read_manifest
from toolkit.dataio.sampling import BucketSampler, LongestFirstSampler, caps_of
from toolkit.errors import ConfigError, DataError, did_you_mean

logger = logging.getLogger(__name__)


class Encoder(Protocol):
    """The part of a tokenizer that loading needs."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""


class CutDataset(Dataset):
    """The batch of an (epoch, numbers of cuts) pair; a DataError in its place when one of them cannot be read."""

    def __init__(self, source: Indexed[Cut], tokenizer: Encoder, augmentation: Augmentation) -> None:
        self.source = source
        self.tokenizer = tokenizer
        self.augmentation = augmentation

    def __getitem__(self, drawn: tuple[int, list[int]]) -> Batch | DataError:
        epoch, numbers = drawn
        try:
            cuts = [self.source[number] for number in numbers]
            wavs, samples = load_cuts([self.augmentation(cut, epoch) for cut in cuts])
        except DataError as error:
            return error
        words = [cut.supervisions[0].text for cut in cuts]
        tokens, counts = pad_tokens([self.tokenizer.encode(text) for text in words])
        return Batch([cut.id for cut in cuts], wavs, samples, words, tokens, counts)


def load_splits(hparams: Mapping[str, Any]) -> tuple[EpochLoader, EpochLoader, dict[str, EpochLoader]]:
    """Loaders of ``train_data``, ``valid_data`` and of each entry of ``test_data``.

    Raises
    ------
    ConfigError
        A data set's configuration is missing or impossible.
    ManifestError
        A manifest is missing or damaged.
    DataError
        No utterance is left after the filters.
    """
    train = load_split("train_data", hparams)
    valid = load_split("valid_data", hparams)
    return train, valid, {name: load_split(f"test_data.{name}", hparams) for name in named_tests("test_data", hparams)}


def load_split(name: str, hparams: Mapping[str, Any]) -> EpochLoader:
    """The loader of one data set: ``train_data``, ``valid_data`` or ``test_data.<name>``."""
    key, _, test = name.partition(".")
    values = require(key, hparams)
    config = DataConfig.from_hparams(name, values[test] if test else values)
    source = _cuts(name, config)
    if config.shuffle:
        rank, world_size = rank_and_world_size()
        sampler = BucketSampler.of(source, config, rank=rank, world_size=world_size)
    else:
        sampler = LongestFirstSampler(source.lengths, caps_of(config), drop_last=config.drop_last)
    return EpochLoader(
        CutDataset(source, require("tokenizer", hparams), Augmentation.from_config(config)),
        sampler,
        num_workers=config.num_workers,
        persistent_workers=config.num_workers > 0,
        pin_memory=config.pin_memory,
    )


def require(key: str, hparams: Mapping[str, Any]) -> Any:
    """The value of a key that loading cannot do without.

    Raises
    ------
    ConfigError
        The YAML has no such key.
    """
    if key not in hparams:
        raise ConfigError(f"the YAML has no {key}{did_you_mean(key, hparams)}")
    return hparams[key]


def named_tests(key: str, hparams: Mapping[str, Any]) -> Mapping[str, Any]:
    """The tests by name under ``key``.

    Raises
    ------
    ConfigError
        They are missing or have no names.
    """
    tests = require(key, hparams)
    if not isinstance(tests, Mapping):
        raise ConfigError(f"{key}: expected the name and the data of each test, such as `test: ...`, not {tests!r}")
    return tests


def _cuts(name: str, config: DataConfig) -> Indexed[Cut]:
    """The utterances of the configured duration and rate, with their copies at other speeds."""
    everything = Listed(list(read_manifest(config.manifest_filepath, config.data_root)), lambda cut: cut.duration)
    kept = (config.min_duration <= everything.lengths) & (everything.lengths <= config.max_duration)
    if not kept.all():
        outside = f"outside {config.min_duration} to {config.max_duration} s"
        logger.info("%s: %d of %d utterances are %s", name, np.sum(~kept), len(kept), outside)
    if not kept.any():
        raise DataError(f"{name}: {config.manifest_filepath}: no utterance from min_duration to max_duration")
    source = Mapped(Selected(everything, np.flatnonzero(kept)), partial(_at_rate, sample_rate=config.sample_rate))
    return with_speed_copies(source) if config.perturb_speed else source


def _at_rate(cut: Cut, sample_rate: int) -> Cut:
    return cut if cut.sampling_rate == sample_rate else cut.resample(sample_rate)
