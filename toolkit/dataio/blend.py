"""Data sets blended by weight.

A blend is iterable, by Lhotse's multiplexers, so that ``CutSet(blend)`` is a lazy CutSet; and it keeps its sources, so
that where all of them are :class:`~toolkit.dataio.indexed.Indexed` an epoch can be planned.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.lazy import LazyInfiniteApproximateMultiplexer, LazyIteratorMultiplexer, LazyMapper, LazyRepeater

from toolkit.dataio.indexed import Indexed, Listed, Mapped
from toolkit.errors import ConfigError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Blend:
    """Examples of several sources, each next one from a source drawn by weight.

    Attributes
    ----------
    sources
        Finite iterables of examples.
    weights
        Of each source, above 0, in any unit.
    finite
        Whether it ends with the last example of the last source, each given once; else the sources are repeated for
        ever, and the ids of their cuts end in ``_repeat0``, ``_repeat1`` and so on.
    seed
        A number, or Lhotse's ``randomized`` or ``trng``.
    max_open_streams
        How many sources are read at a time, where they are endless; those are drawn by weight too.
    names
        Of each source in messages; or none.
    """

    sources: Sequence[Iterable[Any]]
    weights: Sequence[float]
    finite: bool = False
    seed: int | str = 0
    max_open_streams: int | None = None
    names: Sequence[str] = ()

    def __iter__(self) -> Iterator[Any]:
        if self.finite:
            return iter(self._in_turns(self.sources))
        # What is Indexed opens files as it needs them, and few at a time.
        streams = sum(not isinstance(source, Indexed) for source in self.sources)
        if self.max_open_streams is not None and streams > self.max_open_streams:
            options = {"weights": list(self.weights), "seed": self.seed, "max_open_streams": self.max_open_streams}
            return iter(LazyInfiniteApproximateMultiplexer(*self.sources, **options))
        return iter(self._in_turns([LazyRepeater(source) for source in self.sources]))

    def _in_turns(self, sources: Sequence[Iterable[Any]]) -> Iterable[Any]:
        if len(sources) == 1:
            return sources[0]
        return LazyIteratorMultiplexer(*sources, weights=list(self.weights), seed=self.seed)

    def __len__(self) -> int:
        if not self.finite:
            raise TypeError("an endless blend has no length")
        return sum(map(len, self.sources))


def sources_of(cuts: CutSet) -> Iterable[Any]:
    """What the CutSet iterates over, where it can be told: a Blend, an Indexed, or its own iterable.

    A CutSet that another one repeats for ever is an endless blend of it alone, and a list of cuts is Indexed.
    """
    data = cuts.data
    while isinstance(data, CutSet):
        data = data.data
    if isinstance(data, LazyRepeater) and data.times is None:
        inner = data.iterator
        inner = sources_of(inner) if isinstance(inner, CutSet) else inner
        return replace(inner, finite=False) if isinstance(inner, Blend) else Blend([inner], [1.0])
    if isinstance(data, (list, tuple)) and all(isinstance(one, Cut) for one in data):
        return Listed(data, lambda cut: cut.duration)
    return data


def on_sources(cuts: CutSet, change: Callable[[Iterable[Any]], Iterable[Any]]) -> CutSet:
    """The CutSet with ``change`` applied to its source, or to each source of its blend."""
    data = sources_of(cuts)
    if isinstance(data, Blend):
        return CutSet(replace(data, sources=[change(source) for source in data.sources]))
    return CutSet(change(data))


def mapped(cuts: CutSet, change: Callable[[Any], Any]) -> CutSet:
    """The CutSet with ``change``, which leaves lengths as they are, applied to each example."""
    return on_sources(cuts, partial(map_source, change=change))


def map_source(source: Iterable[Any], change: Callable[[Any], Any]) -> Iterable[Any]:
    """The source with ``change``, which leaves lengths as they are, applied to each example; Indexed stays Indexed."""
    return Mapped(source, change) if isinstance(source, Indexed) else LazyMapper(source, change)


def count_examples(data: Iterable[Any]) -> int | None:
    """How many examples a source has; None where only reading it would tell."""
    try:
        if isinstance(data, Blend):
            return sum(map(len, data.sources))
        return len(data)
    except (TypeError, NotImplementedError):
        return None


def blend(
    parts: Mapping[str, CutSet], weights: Sequence[float] | None, config: Mapping[str, Any], *, tarred: bool
) -> CutSet:
    """The CutSets as one blend, whose sources are theirs; a blend among them keeps its proportions within its weight.

    Parameters
    ----------
    parts
        What to blend, by their names in messages.
    weights
        Of each; without them each weighs as much as it has examples.
    config
        With ``force_finite``, ``metadata_only``, ``max_open_streams``, ``seed`` and ``shard_seed``.
    tarred
        Whether every process reads as it likes. Else all must draw the same, of which each takes its share: then
        ``shard_seed`` counts only where it is a number.
    """
    if weights is None:
        weights = _natural_weights(list(parts.values()))
    sources, shares, names = [], [], []
    for (name, cuts), weight in zip(parts.items(), weights, strict=True):
        data = sources_of(cuts)
        inner = data if isinstance(data, Blend) else Blend([data], [1.0])
        sources += inner.sources
        names += [f"{name}.{one}" for one in inner.names] or [name] * len(inner.sources)
        shares += [weight * share / sum(inner.weights) for share in inner.weights]
    seeds = [config["shard_seed"]] if tarred else [config["shard_seed"], config["seed"], 0]
    seed = next((seed for seed in seeds if isinstance(seed, int)), config["shard_seed"])
    finite = config["force_finite"] or config["metadata_only"]
    return CutSet(Blend(sources, shares, finite, seed, config["max_open_streams"], names))


def _natural_weights(parts: Sequence[CutSet]) -> list[float]:
    counts = [count_examples(sources_of(cuts)) for cuts in parts]
    if None in counts:
        logger.warning(
            "no weights, and %d of %d data sets have no known size: all weigh the same", counts.count(None), len(counts)
        )
        return [1.0] * len(counts)
    return [float(count) for count in counts]


def check_weight(where: str, weight: Any) -> None:
    """Raise a ConfigError unless the weight is a finite number above 0."""
    if not isinstance(weight, (int, float)) or isinstance(weight, bool) or not 0 < weight < math.inf:
        raise ConfigError(f"{where}: expected a number above 0, not {weight!r}; to leave a data set out, delete it")


def endless(data: Iterable[Any], config: Mapping[str, Any]) -> CutSet:
    """The source again and again, unless the configuration says ``force_finite`` or ``metadata_only``."""
    return CutSet(data if config["force_finite"] or config["metadata_only"] else Blend([data], [1.0]))
