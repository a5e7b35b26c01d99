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
from typing import Any, Protocol

from lhotse.cut import Cut
from torch.utils.data import Dataset

from toolkit.dataio.augment import Augmentation, with_speed_copies
from toolkit.dataio.batches import Batch, pad_tokens, pad_wavs
from toolkit.dataio.config import DataConfig
from toolkit.dataio.cut_audio import load_cut
from toolkit.dataio.epochs import EpochLoader, rank_and_world_size
from toolkit.dataio.manifests import read_manifest
from toolkit.dataio.sampling import BucketSampler, LongestFirstSampler
from toolkit.errors import AudioError, ConfigError, DataError, did_you_mean

logger = logging.getLogger(__name__)


class Encoder(Protocol):
    """The part of a tokenizer that loading needs."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""


class CutDataset(Dataset):
    """The batch of an (epoch, cuts) pair; an AudioError in its place when audio cannot be read."""

    def __init__(self, tokenizer: Encoder, augmentation: Augmentation) -> None:
        self.tokenizer = tokenizer
        self.augmentation = augmentation

    def __getitem__(self, drawn: tuple[int, list[Cut]]) -> Batch | AudioError:
        epoch, cuts = drawn
        try:
            wavs, samples = pad_wavs([load_cut(self.augmentation(cut, epoch)) for cut in cuts])
        except AudioError as error:
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
    config = DataConfig.from_hparams(name, _with_shared(name, values[test] if test else values, hparams))
    cuts = _cuts(name, config)
    if config.shuffle:
        rank, world_size = rank_and_world_size()
        sampler = BucketSampler(cuts, config, rank=rank, world_size=world_size)
    else:
        sampler = LongestFirstSampler(cuts, config)
    return EpochLoader(
        CutDataset(require("tokenizer", hparams), Augmentation.from_config(config)),
        sampler,
        num_workers=config.num_workers,
        persistent_workers=config.num_workers > 0,
        pin_memory=config.pin_memory,
    )


def _with_shared(name: str, values: Any, hparams: Mapping[str, Any]) -> Any:
    """A data set's values with the YAML's ``sample_rate`` and ``seed``, of which it may not have others."""
    if not isinstance(values, Mapping):
        return values
    shared = {key: hparams[key] for key in ("sample_rate", "seed") if key in hparams}
    for key, value in shared.items():
        if values.get(key) not in (None, value):
            raise ConfigError(f"{name}.{key}: {values[key]!r}, but the YAML's {key} is {value!r}; leave it out here")
    return {**values, **shared}


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


def _cuts(name: str, config: DataConfig) -> list[Cut]:
    """The utterances of the configured duration and rate, with their copies at other speeds."""
    everything = read_manifest(config.manifest_filepath, config.data_root)
    kept = [cut for cut in everything if config.min_duration <= cut.duration <= config.max_duration]
    if len(kept) < len(everything):
        outside = f"outside {config.min_duration} to {config.max_duration} s"
        logger.info("%s: %d of %d utterances are %s", name, len(everything) - len(kept), len(everything), outside)
    if not kept:
        raise DataError(f"{name}: {config.manifest_filepath}: no utterance from min_duration to max_duration")
    kept = [cut if cut.sampling_rate == config.sample_rate else cut.resample(config.sample_rate) for cut in kept]
    return with_speed_copies(kept) if config.perturb_speed else kept
