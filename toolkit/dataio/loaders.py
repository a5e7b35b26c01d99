"""From a YAML's data sets to batches: manifests, Lhotse cuts, samplers, augmentation, waveforms and tokens.

::

    train, valid, tests = load_splits(hparams)
    train.seek(epoch=3, batches=120)     # a resumed run: the next batch is number 120 of epoch 3
    for batch in train:
        ...

Training data is divided among the ranks of a distributed run. Evaluation data is not: every rank that iterates an
evaluation loader gets all of it, so that the main rank alone can score, and scores each utterance once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from lhotse.cut import Cut
from torch import distributed
from torch.utils.data import DataLoader, Dataset

from toolkit.dataio.augment import Augmentation, with_speed_copies
from toolkit.dataio.batches import Batch, pad_tokens, pad_wavs
from toolkit.dataio.config import DataConfig
from toolkit.dataio.cut_audio import load_cut
from toolkit.dataio.manifests import read_manifest
from toolkit.dataio.sampling import EpochSampler
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
            # Raised in a worker process it would reach the user with the worker's traceback for a message.
            return error
        words = [cut.supervisions[0].text for cut in cuts]
        tokens, counts = pad_tokens([self.tokenizer.encode(text) for text in words])
        return Batch([cut.id for cut in cuts], wavs, samples, words, tokens, counts)


class CutLoader(DataLoader):
    """Batches of cuts, epoch after epoch, from any batch on."""

    def __init__(self, dataset: CutDataset, sampler: EpochSampler) -> None:
        config = sampler.config
        super().__init__(
            dataset,
            sampler=sampler,
            batch_size=None,
            num_workers=config.num_workers,
            pin_memory=config.pin_memory,
            persistent_workers=config.num_workers > 0,
        )

    def seek(self, epoch: int, batches: int = 0) -> None:
        """The next iteration is ``epoch``, from its batch number ``batches`` on, the skipped audio unread.

        Without ``seek``, every iteration is the epoch after the one before, beginning with 0.
        """
        self.sampler.seek(epoch, batches)

    def __iter__(self) -> Iterator[Batch]:
        """Batches of the epoch.

        Raises
        ------
        AudioError
            Names the utterance and the file that cannot be read.
        """
        for batch in super().__iter__():
            if isinstance(batch, AudioError):
                raise batch
            yield batch


def load_splits(hparams: Mapping[str, Any]) -> tuple[CutLoader, CutLoader, dict[str, CutLoader]]:
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
    tests = _get("test_data", hparams)
    if not isinstance(tests, Mapping):
        raise ConfigError(f"test_data: expected a name and a data set for each test, not {tests!r}")
    return train, valid, {name: load_split(f"test_data.{name}", hparams) for name in tests}


def load_split(name: str, hparams: Mapping[str, Any]) -> CutLoader:
    """The loader of one data set: ``train_data``, ``valid_data`` or ``test_data.<name>``."""
    key, _, test = name.partition(".")
    values = _get(key, hparams)
    config = DataConfig.from_hparams(name, values[test] if test else values)
    rank, world_size = _place() if config.shuffle else (0, 1)
    sampler = EpochSampler(_cuts(name, config), config, rank=rank, world_size=world_size)
    return CutLoader(CutDataset(_get("tokenizer", hparams), Augmentation.from_config(config)), sampler)


def _get(key: str, hparams: Mapping[str, Any]) -> Any:
    if key not in hparams:
        raise ConfigError(f"the YAML has no {key}{did_you_mean(key, hparams)}")
    return hparams[key]


def _place() -> tuple[int, int]:
    """Rank and world size of a distributed run; 0 and 1 of any other."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


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
