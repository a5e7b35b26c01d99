"""From the examples of data sets to those that batches are made of.

They are changed as :mod:`toolkit.dataio.cut_changes` says, and those outside the configured lengths are left out. What
is Indexed stays so, so that an epoch can be planned.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from lhotse import CutSet
from lhotse.cut import Cut

from toolkit.dataio.blend import Blend, mapped, on_sources, sources_of
from toolkit.dataio.config import DataConfig
from toolkit.dataio.cut_changes import change_source
from toolkit.dataio.indexed import Indexed, Listed, Selected
from toolkit.dataio.length_filters import (
    DurationFilter,
    TokenCountFilter,
    TokenPerSecondFilter,
    TokenPerTokenFilter,
)
from toolkit.dataio.line_index import keeps_damage
from toolkit.dataio.measures import measured
from toolkit.errors import DataError

logger = logging.getLogger(__name__)

Keep = Callable[[Any], bool]

# Of a stream of which nothing is kept, so many examples are read before it is given up.
_PATIENCE = 100_000


def prepare_cuts(
    cuts: CutSet, config: DataConfig, where: str, *, tokenize: Callable[[Any], Any] | None = None
) -> CutSet:
    """The examples as the configuration wants them, without those that it does not want.

    Parameters
    ----------
    cuts
        What :func:`~toolkit.dataio.cutset.read_cutset_from_config` read.
    config
        The same configuration.
    where
        Its name, for messages.
    tokenize
        Gives an example its tokens, which limits on them count.

    Raises
    ------
    DataError
        No example of a source is left (which says what left out how many), or without ``sample_rate`` they have
        several.
    """
    if config.sample_rate is None:
        cuts = of_one_rate(cuts, where)
    if tokenize is not None:
        cuts = mapped(cuts, tokenize)
    cuts = on_sources(cuts, partial(change_source, config=config))
    data = sources_of(cuts)
    if not isinstance(data, Blend):
        return CutSet(select(data, config, where))
    places = [f"{where}.{name}" for name in data.names] or [where] * len(data.sources)
    sources = [select(source, config, place) for source, place in zip(data.sources, places, strict=True)]
    return CutSet(replace(data, sources=sources))


def of_one_rate(cuts: CutSet, where: str) -> CutSet:
    """The CutSet, whose cuts are checked to have the sampling rate of the first cut of its first source."""
    data = sources_of(cuts)
    rate = None
    for source in data.sources if isinstance(data, Blend) else [data]:
        first = next(iter(source), None)
        if isinstance(first, Cut):
            rate = rate or first.sampling_rate
            _same_rate(first, rate, where)
    return mapped(cuts, partial(_same_rate, rate=rate, where=where))


def _same_rate(example: Any, rate: int, where: str) -> Any:
    if isinstance(example, Cut) and example.sampling_rate != rate:
        rates = f"one of {example.sampling_rate} Hz ({example.id!r}) among cuts of {rate} Hz"
        raise DataError(f"{where}: {rates}; set sample_rate, and those of another rate are resampled")
    return example


def select(source: Iterable[Any], config: DataConfig, where: str) -> Iterable[Any]:
    """The examples of a source within all bounds of the configuration, of an Indexed one by their numbers."""
    filters = _filters(config)
    if not isinstance(source, Indexed):
        return Filtered(source, filters, where) if filters else source
    numbers, removed = np.arange(len(source)), Counter[str]()
    if isinstance(first_example(source), Cut):
        if filters.pop(_TOKENS, None) is not None:
            logger.warning("%s: %s: are of texts and conversations, and leave out no utterance", where, _TOKENS)
        for name in (_DURATION, _TOKENS_A_TOKEN):  # the one is told by the index, the other is not of utterances
            filters.pop(name, None)
        inside = (source.lengths >= config.min_duration) & (source.lengths <= config.max_duration)
        inside |= np.isnan(source.lengths)  # damage that is kept
        removed[_DURATION] = int(np.sum(~inside))
        numbers = numbers[inside]
    if filters:
        names = list(filters)
        failed = _failures(Selected(source, numbers), filters, f"{where}: filters")
        removed.update(names[int(number)] for number in failed if number >= 0)
        numbers = numbers[failed < 0]
    report(where, len(source), removed)
    return Selected(source, numbers) if len(numbers) < len(source) else source


def _failures(source: Indexed[Any], filters: Mapping[str, Keep], what: str) -> np.ndarray:
    """(N,) the number of the first filter that leaves each example out, or -1, as where damage is kept."""
    if not keeps_damage():
        return measured(source, partial(_number_failed, filters=filters), what)

    def failed(number: int) -> float:
        try:
            return _number_failed(source[number], filters)
        except DataError:
            return -1.0

    # No cache remembers what a function within another has measured: the damage may be mended.
    return measured(Listed(range(len(source)), float), failed, what)


def first_example(source: Indexed[Any]) -> Any:
    """The first example; where damage is kept, the first that can be built. None where there is none."""
    for number in range(len(source)):
        try:
            return source[number]
        except DataError:
            if not keeps_damage():
                raise
    return None


_DURATION = "min_duration, max_duration"
_TOKENS = "min_tokens, max_tokens"
_TOKENS_A_TOKEN = "min_tpt, max_tpt"


def _filters(config: DataConfig) -> dict[str, Keep]:
    """The filters that have a bound, by their keys."""
    filters: dict[str, Keep] = {}
    if config.min_duration > 0 or config.max_duration < np.inf:
        filters[_DURATION] = DurationFilter(config.min_duration, config.max_duration)
    if config.min_tokens is not None or config.max_tokens is not None:
        total = config.measure_total_length
        filters[_TOKENS] = TokenCountFilter(config.min_tokens, config.max_tokens, measure_total_length=total)
    if config.min_tps > 0 or config.max_tps < np.inf:
        filters["min_tps, max_tps"] = TokenPerSecondFilter(config.min_tps, config.max_tps)
    if config.min_tpt > 0 or config.max_tpt < np.inf:
        filters[_TOKENS_A_TOKEN] = TokenPerTokenFilter(config.min_tpt, config.max_tpt)
    return filters


def needs_tokens(config: DataConfig) -> bool:
    """Whether a limit or a batch counts tokens, so that every example has to be built to be planned."""
    limits = (config.min_tokens, config.max_tokens) != (None, None)
    rates = config.min_tps > 0 or config.max_tps < np.inf or config.min_tpt > 0 or config.max_tpt < np.inf
    return limits or rates or config.use_multimodal_sampling or np.ndim(config.bucket_duration_bins or ()) > 1


def _failed(example: Any, filters: Mapping[str, Keep]) -> str | None:
    """The first filter that leaves the example out."""
    return next((name for name, keeps in filters.items() if not keeps(example)), None)


def _number_failed(example: Any, filters: Mapping[str, Keep]) -> float:
    """The number of that filter; -1 where there is none."""
    name = _failed(example, filters)
    return -1.0 if name is None else float(list(filters).index(name))


class Filtered:
    """The examples of a stream that all filters keep; what they leave out is counted in each pass."""

    def __init__(self, source: Iterable[Any], filters: Mapping[str, Keep], where: str) -> None:
        self.source, self.filters, self.where = source, filters, where

    def __iter__(self) -> Iterator[Any]:
        count, removed = 0, Counter[str]()
        for count, example in enumerate(self.source, start=1):
            name = _failed(example, self.filters)
            if name is None:
                yield example
            else:
                removed[name] += 1
                if count == removed.total() == _PATIENCE:
                    break
        report(self.where, count, removed)


def within_bins(source: Indexed[Any], config: DataConfig, where: str) -> Indexed[Any]:
    """The examples that fit a bucket of a size that is given, of a source whose lengths are those of batches.

    Raises
    ------
    DataError
        None does.
    """
    if not config.use_bucketing or config.bucket_batch_size is None:
        return source
    ends = config.bucket_duration_bins
    fits = source.lengths >= 0 if np.ndim(ends) > 1 else source.lengths <= ends[-1]  # the number of a pair, or a length
    report(where, len(source), Counter(bucket_duration_bins=int(np.sum(~fits))))
    return source if fits.all() else Selected(source, np.flatnonzero(fits))


def report(where: str, count: int, removed: Counter[str]) -> None:
    """Log how many of so many examples the filters left out.

    Raises
    ------
    DataError
        They left out all.
    """
    said = ", ".join(f"{number} by {name}" for name, number in removed.items() if number)
    if count and removed.total() == count:
        raise DataError(f"{where}: none of {count} examples is left; left out: {said}")
    if said:
        logger.info("%s: of %d examples left out: %s", where, count, said)
