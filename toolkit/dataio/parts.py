"""One data set of a loader: the sampler of its batches, and the examples of each as its epoch hears them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.dataset.sampling.base import SamplingConstraint

from toolkit.dataio.augment import Augmentation
from toolkit.dataio.blend import Blend, on_sources, sources_of
from toolkit.dataio.concatenation import Concatenation
from toolkit.dataio.config import DataConfig
from toolkit.dataio.cutset import read_cutset_from_config
from toolkit.dataio.epochs import SeekableSampler, agreed_seed, rank_and_world_size
from toolkit.dataio.fault_tolerance import Tolerance
from toolkit.dataio.indexed import Indexed, Mapped, unchanged
from toolkit.dataio.measures import MOST_MEASURED, measured
from toolkit.dataio.preparation import needs_tokens, prepare_cuts, within_bins
from toolkit.dataio.prompt_fn import tokenize_with_prompt
from toolkit.dataio.prompts.formatter import PromptFormatter
from toolkit.dataio.reshape import Reshape
from toolkit.dataio.sampling import constraint_of, planned_sampler
from toolkit.dataio.streams import Streamed, StreamSampler
from toolkit.dataio.tokenize import TokenizerWrapper, tokenize
from toolkit.errors import ConfigError


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
    config = with_agreed_seeds(where, config, world_size)
    cuts, _ = read_cutset_from_config(config, where)
    if not _can_be_planned(cuts, config, at_any_cost=in_epochs):
        if in_epochs:
            raise ConfigError(f"{where}: some of its data can only be read from its beginning; make a manifest of it")
        cuts = on_sources(cuts, partial(_streamed, config=config))
    cuts = prepare_cuts(cuts, config, where, tokenize=_tokenization(config, tokenizer))
    tolerance = Tolerance() if config.fault_tolerant else None
    examples = Examples(Augmentation.from_config(config), Concatenation.from_config(config), tolerance=tolerance)
    data = sources_of(cuts)
    sources = data.sources if isinstance(data, Blend) else [data]
    if not all(isinstance(source, Indexed) for source in sources):
        return Part(StreamSampler(cuts, config, where, rank=rank, world_size=world_size), examples, is_stream=True)
    is_endless = isinstance(data, Blend) and not data.finite
    source, sampler = planned_sampler(
        [within_bins(_with_lengths(source, config, where), config, where) for source in sources],
        data.weights if is_endless and not (in_epochs and len(sources) == 1) else None,
        config,
        rank=rank,
        world_size=world_size,
        endless=is_endless and not in_epochs,
    )
    return Part(sampler, replace(examples, source=source))


@dataclass(frozen=True)
class Examples:
    """The examples of a batch as its epoch hears them, of (epoch, numbers), or without a source (epoch, examples)."""

    augmentation: Augmentation
    concatenation: Concatenation | None = None
    source: Indexed[Any] | None = None
    tolerance: Tolerance | None = None

    def __call__(self, drawn: tuple[int, list[Any]]) -> list[Any]:
        """The examples of what a sampler yields."""
        epoch, examples = drawn
        if self.source is not None:
            examples = self._built(self.source, examples)
        examples = [self.augmentation(example, epoch) for example in examples]
        joins = self.concatenation is not None and all(isinstance(example, Cut) for example in examples)
        return self.concatenation(examples) if joins else examples

    def _built(self, source: Indexed[Any], numbers: list[int]) -> list[Any]:
        """The examples of these numbers; a cut that comes again, as of a small source without end, has another id."""
        examples, seen = [], Counter[int]()

        def build(number: int) -> tuple[int, Any]:
            return number, source[number]

        for number, example in self.tolerance.kept(numbers, build) if self.tolerance else map(build, numbers):
            if seen[number] and isinstance(example, Cut):
                example = example.with_id(f"{example.id}_repeat{seen[number]}")
            examples.append(example)
            seen[number] += 1
        return examples


def with_agreed_seeds(where: str, config: DataConfig, world_size: int) -> DataConfig:
    """The configuration with seeds that are numbers, the same in all processes, which read and draw the same.

    Where ranks cannot agree, as they are not connected, or must not, as what ends is divided exactly by each of them,
    the order of shards is of ``seed``.
    """
    is_connected = world_size == 1 or rank_and_world_size()[1] > 1
    seed, shard_seed = config.seed, config.shard_seed
    if isinstance(seed, str) and not is_connected:
        raise ConfigError(
            f"{where}.seed: {world_size} processes that torch.distributed does not connect cannot agree on a random "
            f"one, which {seed!r} is; give a number"
        )
    if isinstance(shard_seed, str) and isinstance(seed, int) and (config.force_finite or not is_connected):
        shard_seed = seed
    return replace(config, seed=agreed_seed(seed), shard_seed=agreed_seed(shard_seed))


def _tokenization(config: DataConfig, tokenizer: Any) -> Callable[[Any], Any] | None:
    if tokenizer is None or not config.pretokenize:
        return None
    if config.prompt_format is not None:
        return partial(tokenize_with_prompt, prompt=PromptFormatter.resolve(config.prompt_format)(tokenizer))
    return partial(tokenize, tokenizer=TokenizerWrapper(tokenizer))


def _can_be_planned(cuts: CutSet, config: DataConfig, *, at_any_cost: bool) -> bool:
    """Whether all has an index, and not too much of it has to be built to be measured."""
    data = sources_of(cuts)
    sources = data.sources if isinstance(data, Blend) else [data]
    if not all(isinstance(source, Indexed) for source in sources):
        return False
    return at_any_cost or not needs_tokens(config) or sum(map(len, sources)) <= MOST_MEASURED


def _streamed(source: Any, config: DataConfig) -> Any:
    return Streamed(source, shuffle=config.shuffle, seed=config.seed) if isinstance(source, Indexed) else source


def _with_lengths(source: Indexed[Any], config: DataConfig, where: str) -> Indexed[Any]:
    """The source with lengths as batches are measured: seconds, tokens, or for pairs of bins the number of a pair."""
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
    return Mapped(source, unchanged, lengths)


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
