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

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from lhotse.cut import Cut
from torch.utils.data import Dataset

from toolkit.dataio.augment import Augmentation
from toolkit.dataio.batches import Batch, pad_tokens
from toolkit.dataio.blend import Blend, sources_of
from toolkit.dataio.concatenation import Concatenation
from toolkit.dataio.config import DataConfig
from toolkit.dataio.cut_audio import load_cuts
from toolkit.dataio.cutset import read_cutset_from_config
from toolkit.dataio.epochs import EpochLoader, rank_and_world_size
from toolkit.dataio.indexed import Concatenated, Indexed
from toolkit.dataio.preparation import prepare_cuts
from toolkit.dataio.sampling import BucketSampler, LongestFirstSampler, caps_of
from toolkit.errors import ConfigError, DataError, did_you_mean


class Encoder(Protocol):
    """The part of a tokenizer that loading needs."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""


class CutDataset(Dataset):
    """The batch of an (epoch, numbers of cuts) pair; a DataError in its place when one of them cannot be read."""

    def __init__(
        self,
        source: Indexed[Cut],
        tokenizer: Encoder,
        augmentation: Augmentation,
        concatenation: Concatenation | None = None,
    ) -> None:
        self.source, self.tokenizer = source, tokenizer
        self.augmentation, self.concatenation = augmentation, concatenation

    def __getitem__(self, drawn: tuple[int, list[int]]) -> Batch | DataError:
        epoch, numbers = drawn
        try:
            cuts = [self.augmentation(self.source[number], epoch) for number in numbers]
            cuts = self.concatenation(cuts) if self.concatenation else cuts
            wavs, samples = load_cuts(cuts)
        except DataError as error:
            return error
        words = [" ".join(supervision.text or "" for supervision in cut.supervisions) for cut in cuts]
        tokens = [self.tokenizer.encode(text) for text in words]
        return Batch(words, *pad_tokens(tokens), [cut.id for cut in cuts], wavs, samples)


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
    source, weights = _examples(name, config)
    rank, world_size = rank_and_world_size()
    if not config.shuffle:
        sampler = LongestFirstSampler(source.lengths, caps_of(config), drop_last=config.drop_last)
    elif weights is None:
        sampler = BucketSampler.of(source, config, rank=rank, world_size=world_size)
    else:
        sampler = BucketSampler.of_blend(source, weights, config, rank=rank, world_size=world_size)
    changes = Augmentation.from_config(config), Concatenation.from_config(config)
    return EpochLoader(
        CutDataset(source, require("tokenizer", hparams), *changes),
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


def _examples(name: str, config: DataConfig) -> tuple[Indexed[Cut], Sequence[float] | None]:
    """The utterances of a data set, as the configuration wants them; and the weights of the parts of a blend.

    Evaluation hears every utterance once, whatever its weight.
    """
    cuts, _ = read_cutset_from_config(config if config.shuffle else replace(config, force_finite=True))
    data = sources_of(prepare_cuts(cuts, config, name))
    sources = data.sources if isinstance(data, Blend) else [data]
    if not all(isinstance(source, Indexed) for source in sources):
        raise ConfigError(f"{name}: some of its data can only be read from its beginning; make a manifest of it")
    others = [type(source[0]).__name__ for source in sources if not isinstance(source[0], Cut)]
    if others:
        raise ConfigError(f"{name}: expected utterances with audio, not {others[0]}")
    if len(sources) == 1:
        return sources[0], None
    return Concatenated(sources), None if data.finite else data.weights
