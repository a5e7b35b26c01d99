"""What a configuration changes of utterances before any batch is planned: channel, rate, speed and extent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from lhotse.cut import Cut, MultiCut
from lhotse.lazy import LazyFlattener, LazyMapper

from toolkit.dataio.augment import SPEEDS, with_speed_copies
from toolkit.dataio.blend import map_source
from toolkit.dataio.config import DataConfig
from toolkit.dataio.indexed import Indexed, Mapped, unchanged
from toolkit.dataio.reshape import Reshape
from toolkit.dataio.text_adapters import AudioTurn, NeMoMultimodalConversation
from toolkit.errors import DataError

logger = logging.getLogger(__name__)

Source = Iterable[Any]


def change_source(source: Source, config: DataConfig) -> Source:
    """The examples of a source as the configuration wants them, Indexed where it is; those without audio stay."""
    if config.channel_selector not in (None, "average"):  # channels are averaged when they are read
        source = map_source(source, partial(on_cuts, change=partial(select_channel, selector=config.channel_selector)))
    if config.sample_rate is not None:
        source = map_source(source, partial(on_cuts, change=partial(at_rate, sample_rate=config.sample_rate)))
    if config.perturb_speed:
        source = with_copies(source)
    shape = Reshape.from_config(config)
    if not shape.changes_nothing:
        source = reshaped(source, shape)
    if config.cut_into_windows_duration is not None:
        window, hop = config.cut_into_windows_duration, config.cut_into_windows_hop or config.cut_into_windows_duration
        source = in_windows(source, Windows(window, hop, config.keep_excessive_supervisions))
    return source


def on_cuts(example: Any, change: Callable[[Cut], Cut]) -> Any:
    """The example with ``change`` applied to its audio: a cut, or the audio turns of a conversation."""
    if isinstance(example, Cut):
        return change(example)
    if isinstance(example, NeMoMultimodalConversation):
        turns = [replace(turn, cut=change(turn.cut)) if isinstance(turn, AudioTurn) else turn for turn in example.turns]
        return replace(example, turns=turns)
    return example


def select_channel(cut: Cut, selector: int | str) -> Cut:
    """One channel of a cut: by its number, or by the number that is in the custom field of that name.

    Raises
    ------
    DataError
        There is no such channel or field.
    """
    channel = selector if isinstance(selector, int) else (cut.custom or {}).get(selector)
    if channel is None:
        raise DataError(f"channel_selector: cut {cut.id!r} has no field {selector!r}")
    known = cut.channel if isinstance(cut, MultiCut) else [cut.channel]
    if channel not in known:
        raise DataError(f"channel_selector: cut {cut.id!r} has no channel {channel!r}; it has {known}")
    return next(one for one in cut.to_mono() if one.channel == channel).with_id(cut.id) if len(known) > 1 else cut


def at_rate(cut: Cut, sample_rate: int) -> Cut:
    """The cut, resampled where it has another rate."""
    return cut if cut.sampling_rate == sample_rate else cut.resample(sample_rate)


def with_copies(source: Source) -> Source:
    """The utterances and copies of each at other speeds; conversations are not copied, which the log says."""
    copier = _Copier()
    if not isinstance(source, Indexed):
        return LazyFlattener(LazyMapper(source, copier))
    return with_speed_copies(source) if len(copier(source[0])) > 1 else source


@dataclass
class _Copier:
    """An example and, where it is an utterance, its copies; warns of the first conversation."""

    has_warned: bool = False

    def __call__(self, example: Any) -> list[Any]:
        if isinstance(example, Cut):
            return [example, *(example.perturb_speed(speed) for speed in SPEEDS)]
        if isinstance(example, NeMoMultimodalConversation) and not self.has_warned:
            logger.warning("perturb_speed: copies utterances alone; conversations, as %r, are as they were", example.id)
            self.has_warned = True
        return [example]


def reshaped(source: Source, shape: Reshape) -> Source:
    """The utterances at other lengths; of an Indexed only the lengths: each epoch takes its own part, when it reads.

    Audio turns of conversations are what they are in every epoch.
    """
    if isinstance(source, Indexed) and isinstance(source[0], Cut):
        return Mapped(source, unchanged, shape.lengths(source.lengths))
    return map_source(source, partial(on_cuts, change=shape))


@dataclass(frozen=True)
class Windows:
    """Parts of so many ``seconds``, one every ``hop`` seconds, as Lhotse's ``cut_into_windows`` makes them."""

    seconds: float
    hop: float
    keep_excessive: bool = True

    def count(self, lengths: np.ndarray) -> np.ndarray:
        """(N,) int64: windows of utterances of so many seconds (N,); the last one may be shorter."""
        hops = np.ceil(np.maximum(lengths - self.seconds, 0.0) / self.hop - _ROUNDING)
        return (hops + (lengths - hops * self.hop > _ROUNDING)).astype(np.int64)

    def window(self, cut: Cut, number: int) -> Cut:
        """Window ``number`` of a cut, whose id ends in it."""
        offset = self.hop * number
        seconds = min(self.seconds, cut.duration - offset)
        part = cut.truncate(offset=offset, duration=seconds, keep_excessive_supervisions=self.keep_excessive)
        return part.with_id(f"{cut.id}-{number}")

    def all(self, example: Any) -> Iterator[Any]:
        """Every window of a cut; other examples as they are."""
        if not isinstance(example, Cut):
            return iter([example])
        return (self.window(example, number) for number in range(int(self.count(np.array(example.duration)))))


# Durations are decimal fractions (seconds).
_ROUNDING = 1e-6


class Windowed(Indexed[Cut]):
    """The windows of all utterances of a source."""

    def __init__(self, source: Indexed[Cut], windows: Windows) -> None:
        self.source, self.windows = source, windows
        counts = windows.count(source.lengths)
        self.places = np.repeat(np.arange(len(source)), counts)
        self.numbers = np.arange(len(self.places)) - np.repeat(np.cumsum(counts) - counts, counts)
        self.lengths = np.minimum(windows.seconds, source.lengths[self.places] - windows.hop * self.numbers)
        self.pieces = None if source.pieces is None else source.pieces[self.places]

    def __getitem__(self, number: int) -> Cut:
        return self.windows.window(self.source[int(self.places[number])], int(self.numbers[number]))


def in_windows(source: Source, windows: Windows) -> Source:
    """The windows of the utterances of a source."""
    if isinstance(source, Indexed):
        return Windowed(source, windows) if isinstance(source[0], Cut) else source
    return LazyFlattener(LazyMapper(source, windows.all))
