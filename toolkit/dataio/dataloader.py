"""From a configuration to batches: NeMo's function, for any dataset that makes a batch of a CutSet.

::

    # data.yaml                                    class Speech(torch.utils.data.Dataset):
    input_cfg:                                         def __getitem__(self, cuts: CutSet) -> dict:
      - type: nemo_tarred                                  wavs, samples = load_cuts(cuts)
        manifest_filepath: m_{0..31}.json                  return {"wavs": wavs, "samples": samples}
        tarred_audio_filepaths: a_{0..31}.tar
        weight: 0.7                                loader = get_lhotse_dataloader_from_config(
      - {type: kaldi, data_dir: digits, weight: 0.3}   "data.yaml", 0, 1, Speech()
    batch_duration: 300                            )
    num_buckets: 30                                for batch in loader:  # for ever: the blend has no end
    shuffle: true                                      ...

What has an index is planned (:mod:`toolkit.dataio.plan`), in the main process; what has none is read from its beginning
(:mod:`toolkit.dataio.streams`), in the workers. ``loader.state_dict()`` is where training stands, for both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.dataset.dataloading import make_worker_init_fn
from lhotse.dataset.sampling.base import SamplingConstraint
from omegaconf import DictConfig
from torch.utils.data import Dataset

from toolkit.dataio.augment import Augmentation
from toolkit.dataio.blend import Blend, on_sources, sources_of
from toolkit.dataio.concatenation import Concatenation
from toolkit.dataio.config import DataConfig, multi_configs
from toolkit.dataio.config_values import as_mapping
from toolkit.dataio.cutset import read_cutset_from_config
from toolkit.dataio.epochs import EpochLoader, SeekableSampler, agreed_seed
from toolkit.dataio.fusion import FusedSampler
from toolkit.dataio.indexed import Indexed, Mapped, Selected
from toolkit.dataio.measures import MOST_MEASURED, measured
from toolkit.dataio.preparation import needs_tokens, prepare_cuts, report
from toolkit.dataio.prompt_fn import tokenize_with_prompt
from toolkit.dataio.prompts.formatter import PromptFormatter
from toolkit.dataio.reshape import Reshape
from toolkit.dataio.sampling import constraint_of, planned_sampler
from toolkit.dataio.streams import Streamed, StreamSampler
from toolkit.dataio.tokenize import TokenizerWrapper, tokenize
from toolkit.errors import ConfigError, DataError


def get_lhotse_dataloader_from_config(
    config: DictConfig | Mapping[str, Any] | str | Path,
    global_rank: int,
    world_size: int,
    dataset: Dataset,
    tokenizer: Any = None,
) -> EpochLoader:
    """The loader of what ``dataset`` makes of each batch.

    Parameters
    ----------
    config
        The keys of :class:`~toolkit.dataio.config.DataConfig`; with ``multi_config: true``, several of such by name,
        which inherit the keys beside them.
    global_rank, world_size
        The place of this process among those that share the data: each gets other batches, and as many.
    dataset
        Its ``__getitem__`` takes the CutSet of a batch. A DataError that it raises is raised to the user as it is.
    tokenizer
        Gives each example its tokens before batches are made, in the ``prompt_format`` where one is given.

    Raises
    ------
    ConfigError
        Names all unknown, missing and impossible keys.
    DataError
        A data set cannot be read, or no example is left after the filters.
    """
    values = as_mapping("config", config)
    if not values.get("multi_config"):
        whole = DataConfig.from_hparams("config", values)
        part = load_part("config", whole, tokenizer, rank=global_rank, world_size=world_size)
        return make_loader(part, dataset, whole, rank=global_rank, world_size=world_size)
    whole, groups = multi_configs("config", values)
    whole = replace(whole, seed=agreed_seed(whole.seed))
    parts = {
        name: load_part(f"config.{name}", group, tokenizer, rank=global_rank, world_size=world_size)
        for name, group in groups.items()
    }
    samplers = {name: part.sampler for name, part in parts.items()}
    sampler = FusedSampler(samplers, whole.sampler_fusion, whole.sampler_weights, whole.seed)
    examples = FusedExamples({name: part.examples for name, part in parts.items()})
    is_stream = any(part.is_stream for part in parts.values())
    part = Part(sampler, examples, is_stream=is_stream)
    return make_loader(part, dataset, whole, rank=global_rank, world_size=world_size)


@dataclass(frozen=True)
class Part:
    """One data set: what makes its batches, and what their examples are; a stream is best read by the workers."""

    sampler: SeekableSampler
    examples: Callable[[Any], list[Any]]
    is_stream: bool = False


def load_part(
    where: str,
    config: DataConfig,
    tokenizer: Any = None,
    *,
    rank: int = 0,
    world_size: int = 1,
    in_epochs: bool = False,
) -> Part:
    """The data set of one configuration.

    Parameters
    ----------
    where
        Its name, for messages.
    in_epochs
        Whether endless data is divided into epochs, of as many examples as there are.

    Raises
    ------
    ConfigError
        The configuration does not fit the data, such as epochs a stream.
    DataError
        The data cannot be read, or no example is left after the filters.
    """
    config = _with_agreed_seeds(config)
    cuts, _ = read_cutset_from_config(config)
    change = _tokenization(config, tokenizer)
    if needs_tokens(config) and _count(cuts) > MOST_MEASURED:
        cuts = on_sources(cuts, partial(_streamed, config=config))
    cuts = prepare_cuts(cuts, config, where, tokenize=change)
    changes = Augmentation.from_config(config), Concatenation.from_config(config)
    data = sources_of(cuts)
    sources = data.sources if isinstance(data, Blend) else [data]
    if not all(isinstance(source, Indexed) for source in sources):
        if in_epochs:
            raise ConfigError(f"{where}: some of its data can only be read from its beginning; make a manifest of it")
        sampler = StreamSampler(cuts, config, where, rank=rank, world_size=world_size)
        return Part(sampler, Examples(*changes), is_stream=True)
    sources = [_with_lengths(source, config, where) for source in sources]
    is_endless = isinstance(data, Blend) and not data.finite
    weights = data.weights if is_endless and not (in_epochs and len(sources) == 1) else None
    source, sampler = planned_sampler(
        sources, weights, config, rank=rank, world_size=world_size, endless=is_endless and not in_epochs
    )
    return Part(sampler, Examples(*changes, source=source))


def make_loader(part: Part, dataset: Dataset, config: DataConfig, *, rank: int = 0, world_size: int = 1) -> EpochLoader:
    """The loader of what ``dataset`` makes of the batches of a part, with the workers of the configuration."""
    return EpochLoader(
        BatchDataset(part.examples, dataset),
        part.sampler,
        in_workers=config.force_iterable_dataset or (part.is_stream and not config.force_map_dataset),
        num_workers=config.num_workers,
        persistent_workers=config.num_workers > 0,
        pin_memory=config.pin_memory,
        worker_init_fn=make_worker_init_fn(rank, world_size, seed=agreed_seed(config.seed)),
    )


class BatchDataset(Dataset):
    """What a user's dataset makes of the CutSet of a batch; a DataError in its place when that cannot be read."""

    def __init__(self, examples: Callable[[Any], list[Any]], dataset: Dataset) -> None:
        self.examples, self.dataset = examples, dataset

    def __getitem__(self, drawn: Any) -> Any:
        try:
            return self.dataset[CutSet(self.examples(drawn))]
        except DataError as error:
            return error


@dataclass(frozen=True)
class Examples:
    """The examples of a batch as its epoch hears them, of (epoch, numbers), or without a source (epoch, examples)."""

    augmentation: Augmentation
    concatenation: Concatenation | None = None
    source: Indexed[Any] | None = None

    def __call__(self, drawn: tuple[int, list[Any]]) -> list[Any]:
        """The examples of what a sampler yields."""
        epoch, examples = drawn
        if self.source is not None:
            examples = [self.source[number] for number in examples]
        examples = [self.augmentation(example, epoch) for example in examples]
        joins = self.concatenation is not None and all(isinstance(example, Cut) for example in examples)
        return self.concatenation(examples) if joins else examples


@dataclass(frozen=True)
class FusedExamples:
    """The examples of a batch of several parts, of [(name, what its sampler yields), ...]."""

    parts: Mapping[str, Callable[[Any], list[Any]]]

    def __call__(self, drawn: list[tuple[str, Any]]) -> list[Any]:
        """The examples of what a FusedSampler yields."""
        return [example for name, one in drawn for example in self.parts[name](one)]


def _with_agreed_seeds(config: DataConfig) -> DataConfig:
    """The configuration with seeds that are numbers, the same in all processes, which read and draw the same.

    Ranks cannot agree before they are connected: what ends, and so has to be divided exactly, has the order of ``seed``
    where ``shard_seed`` is drawn.
    """
    shard_seed = config.shard_seed
    if isinstance(shard_seed, str) and config.force_finite and isinstance(config.seed, int):
        shard_seed = config.seed
    return replace(config, seed=agreed_seed(config.seed), shard_seed=agreed_seed(shard_seed))


def _tokenization(config: DataConfig, tokenizer: Any) -> Callable[[Any], Any] | None:
    if tokenizer is None or not config.pretokenize:
        return None
    if config.prompt_format is not None:
        return partial(tokenize_with_prompt, prompt=PromptFormatter.resolve(config.prompt_format)(tokenizer))
    return partial(tokenize, tokenizer=TokenizerWrapper(tokenizer))


def _count(cuts: CutSet) -> int:
    data = sources_of(cuts)
    return sum(len(one) for one in getattr(data, "sources", [data]) if isinstance(one, Indexed))


def _streamed(source: Any, config: DataConfig) -> Any:
    return Streamed(source, shuffle=config.shuffle, seed=config.seed) if isinstance(source, Indexed) else source


def _with_lengths(source: Indexed[Any], config: DataConfig, where: str) -> Indexed[Any]:
    """The source with lengths as batches are measured: its seconds, or tokens; for pairs of bins, the number of a pair.

    What fits no pair is left out.
    """
    bins = config.bucket_duration_bins if config.use_bucketing else None
    in_pairs = bins is not None and np.ndim(bins) > 1
    if not (config.use_multimodal_sampling or in_pairs):
        if config.batch_duration is not None and not isinstance(source[0], Cut):
            kind = type(source[0]).__name__
            raise ConfigError(
                f"{where}.batch_duration: {kind} has no duration; set use_multimodal_sampling and batch_tokens, or "
                "batch_size"
            )
        return source
    measure = Length(constraint_of(config), Reshape.from_config(config), in_pairs=in_pairs)
    lengths = measured(source, measure, f"{where}: lengths")
    source = Mapped(source, _unchanged, lengths)
    if not in_pairs:
        return source
    report(where, len(source), Counter(bucket_duration_bins=int(np.sum(lengths < 0))))
    return Selected(source, np.flatnonzero(lengths >= 0))


def _unchanged(example: Any) -> Any:
    return example


@dataclass(frozen=True)
class Length:
    """The length of an example by a constraint, of a cut in its shape; or the number of its pair of bins, else -1."""

    constraint: SamplingConstraint
    shape: Reshape
    in_pairs: bool

    def __call__(self, example: Any) -> float:
        """The length of an example."""
        length = self.constraint.measure_length(self.shape(example) if isinstance(example, Cut) else example)
        if not self.in_pairs:
            return float(length)
        place = self.constraint.find_bucket(length)
        return -1.0 if place is None else float(place)
