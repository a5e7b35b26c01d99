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

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from lhotse import CutSet
from lhotse.cut import Cut
from torch.utils.data import Dataset

from toolkit.dataio.batches import Batch, pad_tokens
from toolkit.dataio.config import DataConfig
from toolkit.dataio.config_values import as_mapping
from toolkit.dataio.conversations import ConversationDataset
from toolkit.dataio.cut_audio import load_cuts
from toolkit.dataio.dataloader import make_loader
from toolkit.dataio.epochs import EpochLoader, rank_and_world_size
from toolkit.dataio.parts import load_part
from toolkit.dataio.preparation import needs_tokens
from toolkit.dataio.tokenize import TokenizerWrapper, encode_cut
from toolkit.dataio.utterances import transcript
from toolkit.errors import ConfigError, did_you_mean


class Encoder(Protocol):
    """The part of a tokenizer that loading needs."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""


class SpeechDataset(Dataset):
    """The batch of a CutSet."""

    def __init__(self, tokenizer: Encoder) -> None:
        self.tokenizer = TokenizerWrapper(tokenizer)

    def __getitem__(self, cuts: CutSet) -> Batch:
        cuts = list(cuts)
        wavs, samples = load_cuts(cuts)
        words = [transcript(cut) for cut in cuts]
        tokens = [encode_cut(cut, self.tokenizer) for cut in cuts]
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
    """The loader of one data set: ``train_data``, ``valid_data`` or ``test_data.<name>``.

    Its batches are of utterances, or with a ``prompt_format`` of conversations and texts.
    """
    key, _, test = name.partition(".")
    values = require(key, hparams)
    values = _with_shared(name, values[test] if test else values, hparams)
    config = DataConfig.from_hparams(name, values)
    # Evaluation hears every utterance once, whatever its weight, and is not divided.
    place = rank_and_world_size() if config.shuffle else (0, 1)
    config = config if config.shuffle else replace(config, force_finite=True)
    tokenizer = require("tokenizer", hparams)
    is_prompted = config.prompt_format is not None and config.pretokenize
    tokens = tokenizer if is_prompted or needs_tokens(config) else None  # a Batch makes its own
    part = load_part(name, config, tokens, rank=place[0], world_size=place[1], in_epochs=True)
    first = part.examples.source[0]
    if isinstance(first, Cut) == is_prompted:
        wanted = "conversations or texts, as there is a prompt_format," if is_prompted else "utterances with audio,"
        raise ConfigError(f"{name}: expected {wanted} not {type(first).__name__}")
    dataset = ConversationDataset() if is_prompted else SpeechDataset(tokenizer)
    return make_loader(part, dataset, config, rank=place[0], world_size=place[1])


def _with_shared(name: str, values: Any, hparams: Mapping[str, Any]) -> dict[str, Any]:
    """A data set's values with the YAML's ``sample_rate`` and ``seed``, of which it may not have others."""
    values = as_mapping(name, values)
    if values.get("multi_config"):
        raise ConfigError(
            f"{name}.multi_config: the data of a recipe has one sampler; blend data sets with input_cfg and weights, "
            "or use get_lhotse_dataloader_from_config in a script of your own"
        )
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
