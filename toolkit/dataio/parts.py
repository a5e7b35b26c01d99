"""One data set of a loader: the sampler of its batches, and the examples of each as its epoch hears them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from toolkit.dataio.epochs import EpochSampler, SeekableSampler
from toolkit.dataio.fault_tolerance import Tolerance
from toolkit.dataio.indexed import Indexed, Mapped, Unbuilt, unchanged
from toolkit.dataio.measures import MOST_MEASURED, measured
from toolkit.dataio.preparation import needs_tokens, prepare_cuts, within_bins
from toolkit.dataio.prompt_fn import tokenize_with_prompt
from toolkit.dataio.prompts.formatter import PromptFormatter
from toolkit.dataio.reshape import Reshape
from toolkit.dataio.sampling import constraint_of, planned_sampler
from toolkit.dataio.seeds import drawn_seeds, seeds_of, with_agreed_seeds, with_seeds
from toolkit.dataio.streams import Streamed, StreamSampler
from toolkit.dataio.tokenize import TokenizerWrapper, tokenize
from toolkit.errors import ConfigError


@dataclass(frozen=True)
class Part:
    """One data set, or several: what makes its batches, and what their examples are.

    Attributes
    ----------
    sampler, examples
        The examples of a batch are ``examples`` of what the sampler yields.
    origin
        What the batches follow from, by name, seeds among it.
    drawn
        Names of the seeds that nobody chose.
    load
        The same data with other seeds in place of those.
    is_stream
        Whether it is best read by the workers.
    """

    sampler: SeekableSampler
    examples: Callable[[Any], list[Any]]
    origin: Mapping[str, Any]
    drawn: Sequence[str]
    load: Callable[[Mapping[str, int]], Part]
    is_stream: bool = False


class PartSampler(SeekableSampler):
    """The batches of a part, which is loaded anew with the seeds of the run whose state is restored."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.part = part

    @property
    def endless(self) -> bool:
        """Whether an iterator never ends."""
        return self.part.sampler.endless

    @property
    def origin(self) -> Mapping[str, Any]:
        """What the batches follow from."""
        return self.part.origin

    def restore(self, origin: Mapping[str, Any]) -> None:
        """Make the batches of that origin, where only seeds that nobody chose differ."""
        part = self.part
        drawn = {name: origin[name] for name in part.drawn if name in origin}
        if any(part.origin[name] != seed for name, seed in drawn.items()):
            self.part = replace(part.load(drawn), drawn=part.drawn)
        try:
            super().restore(origin)
        except ConfigError:
            self.part = part
            raise

    def batches(self, epoch: int, skipped: int = 0) -> Iterator[Any]:
        """An iterator from batch number ``skipped`` of ``epoch`` on."""
        return self.part.sampler.batches(epoch, skipped)

    def count(self, epoch: int) -> int:
        """Batches of a whole epoch on this rank, where it is known."""
        return self.part.sampler.count(epoch)

    @property
    def epoch_sizes(self) -> dict[Any, Any]:
        """Batches of the epochs that endless data has had."""
        return self.part.sampler.epoch_sizes

    def recall(self, epoch_sizes: Mapping[Any, Any]) -> None:
        """Know what a sampler of the same batches knew."""
        self.part.sampler.recall(epoch_sizes)

    def place(self, epoch: int, batches: int) -> tuple[int, int]:
        """The same place, as epoch and batch within it."""
        return self.part.sampler.place(epoch, batches)


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
    place = {"rank": rank, "world_size": world_size}
    again = partial(_load_with, where=where, config=config, tokenizer=tokenizer, in_epochs=in_epochs, **place)
    drawn, config = drawn_seeds(where, config), with_agreed_seeds(where, config, world_size)
    cuts, _ = read_cutset_from_config(config, where)
    tokenize, examples = _tokenization(config, tokenizer), Examples.from_config(config)
    is_stream = not _can_be_planned(cuts, config, at_any_cost=in_epochs)
    if is_stream and in_epochs:
        raise ConfigError(f"{where}: some of its data can only be read from its beginning; make a manifest of it")
    if is_stream and needs_tokens(config):  # whose limits and lengths only building tells
        cuts = on_sources(cuts, partial(_streamed, config=config))
    elif is_stream and _has_texts_as_read(config):
        tokenize, examples = None, replace(examples, tokenize=tokenize)
    cuts = prepare_cuts(cuts, config, where, tokenize=tokenize)
    origin = origin_of(where, config, cuts, world_size, stream=is_stream)
    if is_stream:
        cuts = on_sources(cuts, partial(_streamed, config=config))
        return Part(StreamSampler(cuts, config, where, **place), examples, origin, drawn, again, is_stream=True)
    source, sampler = _planned(cuts, config, where, **place, in_epochs=in_epochs)
    origin[f"{where}: examples"] = len(source)
    return Part(sampler, replace(examples, source=source), origin, drawn, again)


def _planned(
    cuts: CutSet, config: DataConfig, where: str, *, rank: int, world_size: int, in_epochs: bool
) -> tuple[Indexed[Any], EpochSampler]:
    """All examples of what is Indexed, and the sampler of their batches."""
    data = sources_of(cuts)
    sources = data.sources if isinstance(data, Blend) else [data]
    is_endless = isinstance(data, Blend) and not data.finite
    return planned_sampler(
        [within_bins(_with_lengths(source, config, where), config, where) for source in sources],
        data.weights if is_endless and not (in_epochs and len(sources) == 1) else None,
        config,
        rank=rank,
        world_size=world_size,
        endless=is_endless and not in_epochs,
    )


def _load_with(seeds: Mapping[str, int], *, where: str, config: DataConfig, **options: Any) -> Part:
    return load_part(where, with_seeds(where, config, seeds), **options)


# What decides, with the seeds and the examples, which of them share a batch and in which order.
_OF_BATCHES = (
    "batch_size", "batch_duration", "batch_tokens", "quadratic_duration", "quadratic_factor", "use_bucketing",
    "num_buckets", "bucket_duration_bins", "bucket_batch_size", "bucketing_2d_strict_mode", "drop_last", "shuffle",
    "force_finite",
)  # fmt: skip
_OF_STREAMS = (
    "num_cuts_for_bins_estimate", "bucket_buffer_size", "shuffle_buffer_size", "max_open_streams", "slice_length"
)  # fmt: skip


def origin_of(where: str, config: DataConfig, cuts: CutSet, world_size: int, *, stream: bool = False) -> dict[str, Any]:
    """What batches follow from beside the examples, by full names."""
    keys, data = [*_OF_BATCHES, *(_OF_STREAMS if stream else ())], sources_of(cuts)
    values = {f"{where}.{key}": getattr(config, key) for key in keys}
    weights = [float(weight) for weight in data.weights] if isinstance(data, Blend) else [1.0]
    return {"world_size": world_size, f"{where}: weights": weights, **values, **seeds_of(where, config)}


@dataclass(frozen=True)
class Examples:
    """The examples of a batch as its epoch hears them, of (epoch, numbers), or without a source (epoch, examples).

    Attributes
    ----------
    tokenize
        Gives an example of a stream its tokens, where batches are not measured in them: no process tokenizes what
        others use.
    """

    augmentation: Augmentation
    concatenation: Concatenation | None = None
    source: Indexed[Any] | None = None
    tokenize: Callable[[Any], Any] | None = None
    tolerance: Tolerance | None = None

    @classmethod
    def from_config(cls, config: DataConfig) -> Examples:
        """What the configuration asks for."""
        tolerance = Tolerance() if config.fault_tolerant else None
        return cls(Augmentation.from_config(config), Concatenation.from_config(config), tolerance=tolerance)

    def __call__(self, drawn: tuple[int, list[Any]]) -> list[Any]:
        """The examples of what a sampler yields."""
        epoch, examples = drawn
        examples = list(self._each(examples, _build)) if self.source is None else self._built(self.source, examples)
        if self.tokenize is not None:
            examples = [self.tokenize(example) for example in examples]
        examples = [self.augmentation(example, epoch) for example in examples]
        joins = self.concatenation is not None and all(isinstance(example, Cut) for example in examples)
        return self.concatenation(examples) if joins else examples

    def _built(self, source: Indexed[Any], numbers: list[int]) -> list[Any]:
        """The examples of these numbers; a cut that comes again, as of a small source without end, has another id."""
        examples, seen = [], Counter[int]()

        def build(number: int) -> tuple[int, Any]:
            return number, source[number]

        for number, example in self._each(numbers, build):
            if seen[number] and isinstance(example, Cut):
                example = example.with_id(f"{example.id}_repeat{seen[number]}")
            examples.append(example)
            seen[number] += 1
        return examples

    def _each(self, wanted: list[Any], build: Callable[[Any], Any]) -> Iterable[Any]:
        """What is built, without what cannot be, where that is to be left out."""
        return self.tolerance.kept(wanted, build) if self.tolerance else map(build, wanted)


def _build(example: Any) -> Any:
    return example.built() if isinstance(example, Unbuilt) else example


def _tokenization(config: DataConfig, tokenizer: Any) -> Callable[[Any], Any] | None:
    if tokenizer is None or not config.pretokenize:
        return None
    if config.prompt_format is not None:
        return partial(tokenize_with_prompt, prompt=PromptFormatter.resolve(config.prompt_format)(tokenizer))
    return partial(tokenize, tokenizer=TokenizerWrapper(tokenizer))


def _has_texts_as_read(config: DataConfig) -> bool:
    """Whether utterances keep the supervisions that they are read with, not parts of them or copies."""
    return Reshape.from_config(config).changes_nothing and config.cut_into_windows_duration is None


def _can_be_planned(cuts: CutSet, config: DataConfig, *, at_any_cost: bool) -> bool:
    """Whether all has an index, and not too much of it has to be built to be measured."""
    data = sources_of(cuts)
    sources = data.sources if isinstance(data, Blend) else [data]
    if not all(isinstance(source, Indexed) for source in sources):
        return False
    return at_any_cost or not needs_tokens(config) or sum(map(len, sources)) <= MOST_MEASURED


def _streamed(source: Any, config: DataConfig) -> Any:
    """An Indexed as a stream; of utterances that only their use has to build, where they aren't sent to workers."""
    if not isinstance(source, Indexed):
        return source
    lazily = not needs_tokens(config) and not config.force_map_dataset and isinstance(source[0], Cut)
    return Streamed(source, shuffle=config.shuffle, seed=config.seed, lazily=lazily)


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
