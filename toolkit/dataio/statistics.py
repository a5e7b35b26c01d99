"""What a data set is like: hours, durations, voices, vocabulary, and what falls out of bounds."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from lhotse.cut import Cut
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from toolkit.dataio.corpus import require_utterance
from toolkit.dataio.manifest_writers import said
from toolkit.dataio.utterances import UnknownRate
from toolkit.files import replacing

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)

_BINS = 60  # of a histogram


@dataclass(frozen=True)
class Bounds:
    """From, to, inclusive, of a measure."""

    low: float = -math.inf
    high: float = math.inf

    def outside(self, values: np.ndarray) -> tuple[int, int]:
        """How many values are below, and above."""
        return int(np.sum(values < self.low)), int(np.sum(values > self.high))


@dataclass
class Statistics:
    """Counts of the utterances that were added; it grows by a few numbers an utterance.

    Attributes
    ----------
    encode
        From a text to its tokens; without it there are no figures of tokens.
    seconds, tokens
        Of each utterance.
    words, characters
        How often each occurs.
    """

    encode: Callable[[str], list[int]] | None = None
    seconds: array = field(default_factory=lambda: array("d"))
    tokens: array = field(default_factory=lambda: array("l"))
    character_counts: array = field(default_factory=lambda: array("l"))
    words: Counter[str] = field(default_factory=Counter)
    characters: Counter[str] = field(default_factory=Counter)
    speakers: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    rates: Counter[str] = field(default_factory=Counter)
    untranscribed: int = 0

    def add(self, cut: Cut) -> None:
        """Count an utterance."""
        text = said(cut)
        self.seconds.append(cut.duration)
        self.character_counts.append(len(text))
        if self.encode is not None:
            self.tokens.append(len(self.encode(text)))
        self.words.update(text.split())
        self.characters.update(text)
        first = cut.supervisions[0] if cut.supervisions else None
        self.speakers.update([first.speaker] if first and first.speaker else [])
        self.languages.update([first.language] if first and first.language else [])
        rate = cut.sampling_rate
        self.rates["not known" if isinstance(rate, UnknownRate) else f"{rate} Hz"] += 1
        self.untranscribed += not text

    def add_all(self, cuts: Iterable[Cut], report: Callable[[int], object]) -> None:
        """Count all utterances, and report each."""
        for cut in map(require_utterance, cuts):
            self.add(cut)
            report(1)

    def measures(self) -> dict[str, np.ndarray]:
        """(N,) values of each utterance, by what they are."""
        seconds = np.asarray(self.seconds)
        measures = {"seconds": seconds, "characters a second": np.asarray(self.character_counts) / seconds}
        if self.encode is not None:
            tokens = np.asarray(self.tokens)
            measures |= {"tokens": tokens, "tokens a second": tokens / seconds}
        return measures

    def table(self, bounds: Mapping[str, Bounds]) -> str:
        """Everything as lines of text; ``bounds`` by measure."""
        return "\n".join([*self._counts(), "", *self._distributions(), *self._outside(bounds)])

    def _counts(self) -> list[str]:
        rows: dict[str, Any] = {"utterances": f"{len(self.seconds):,}", "hours": f"{sum(self.seconds) / 3600:.2f}"}
        rows["speakers"] = f"{len(self.speakers):,}" if self.speakers else "not known"
        if self.languages:
            rows["languages"] = _most(self.languages)
        rows["sample rates"] = ", ".join(f"{rate}: {count:,}" for rate, count in self.rates.most_common())
        rows["words"] = f"{self.words.total():,}, {len(self.words):,} different"
        rows["characters"] = f"{len(self.characters):,} different: {_shown(self.characters)}"
        if self.encode is not None:
            rows["tokens"] = f"{sum(self.tokens):,}"
        if self.untranscribed:
            rows["without text"] = f"{self.untranscribed:,}"
        return [f"{name:14}{value}" for name, value in rows.items()]

    def _distributions(self) -> list[str]:
        heads = ["mean", "min", *(f"{percent} %" for percent in PERCENTILES), "max"]
        lines = [f"{'':22}" + "".join(f"{head:>9}" for head in heads)]
        for name, values in self.measures().items():
            figures = [values.mean(), values.min(), *np.percentile(values, PERCENTILES), values.max()]
            lines.append(f"{name:22}" + "".join(f"{figure:9.2f}" for figure in figures))
        return lines

    def _outside(self, bounds: Mapping[str, Bounds]) -> list[str]:
        lines = []
        for name, values in self.measures().items():
            if name in bounds:
                limits = bounds[name]
                below, above = limits.outside(values)
                said_of = [f"{below:,} below {limits.low:g}"] if limits.low > -math.inf else []
                said_of += [f"{above:,} above {limits.high:g}"] if limits.high < math.inf else []
                lines.append(f"{name}: {', '.join(said_of)} ({(below + above) / len(values):.2%} out of range)")
        return ["", *lines] if lines else []


def _shown(characters: Counter[str], named: int = 80) -> str:
    """The characters in order; of many, the most frequent."""
    if len(characters) <= named:
        return repr("".join(sorted(characters)))
    return repr("".join(character for character, _ in characters.most_common(named))) + " are the most frequent"


def _most(counts: Counter[str], named: int = 8) -> str:
    shown = ", ".join(f"{name}: {count:,}" for name, count in counts.most_common(named))
    return shown + (f", and {len(counts) - named} more" if len(counts) > named else "")


def plot_histograms(measures: Mapping[str, np.ndarray], bounds: Mapping[str, Bounds], png: Path) -> None:
    """Draw how each measure is distributed, with its bounds."""
    figure = Figure(figsize=(5 * len(measures), 4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, values) in zip(figure.subplots(1, len(measures), squeeze=False)[0], measures.items(), strict=True):
        axes.hist(values, bins=_edges(values))
        for bound in (bounds.get(name, Bounds()).low, bounds.get(name, Bounds()).high):
            if math.isfinite(bound):
                axes.axvline(bound, color="tab:red")
        axes.set(xlabel=name, ylabel="utterances")
        axes.grid(alpha=0.3)
    with replacing(png) as partial:
        figure.savefig(partial, dpi=100)


def _edges(values: np.ndarray) -> np.ndarray | int:
    """Of whole numbers, as many in each bin; else so many bins."""
    if not np.issubdtype(values.dtype, np.integer):
        return _BINS
    step = 1 + int(np.ptp(values)) // _BINS
    return np.arange(values.min(), values.max() + step + 1, step) - 0.5
