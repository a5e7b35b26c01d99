"""The longest that each bucket of a corpus holds, of audio and of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from toolkit.dataio.corpus import Corpus
from toolkit.dataio.corpus_lengths import CorpusLengths
from toolkit.dataio.manifest_writers import said
from toolkit.errors import ConfigError

End = float | tuple[float, float]


@dataclass(frozen=True)
class Extreme:
    """The worst that a batch of a bucket can hold: so many utterances of the longest audio and the longest text.

    Attributes
    ----------
    end
        Upper end of the bucket: seconds, or seconds and tokens.
    seconds, tokens
        Of the audio and of the text.
    text
        With so many tokens.
    count
        Utterances of the bucket; there is no use for larger batches.
    """

    end: End
    seconds: float
    tokens: int
    text: str
    count: int

    def dominates(self, other: Extreme) -> bool:
        """Whether what fits of this fits of the other too."""
        return self.seconds >= other.seconds and self.tokens >= other.tokens


def extremes_of(corpus: Corpus, lengths: CorpusLengths, ends: Sequence[End]) -> list[Extreme]:
    """The extremes of buckets with these upper ends, ascending; of durations, the text also of all shorter buckets.

    Raises
    ------
    ConfigError
        There are longer utterances.
    """
    pairs = isinstance(ends[0], Sequence)
    place = _place_2d(ends, lengths) if pairs else np.searchsorted(ends, lengths.seconds)
    beyond = int(np.sum(place == len(ends)))
    if beyond:
        raise ConfigError(
            f"bucket_duration_bins: {beyond} of {len(place)} utterances fit none, the last of which is {ends[-1]}; "
            "set max_duration to leave out what is longer"
        )
    longest = [_longest_text(lengths, np.flatnonzero(place == number)) for number in range(len(ends))]
    if not pairs:
        longest = list(accumulate(longest, lambda *two: max(two, key=lambda number: _tokens(lengths, number))))
    counts = np.bincount(place, minlength=len(ends)).tolist()
    return [_extreme(corpus, lengths, *of) for of in zip(ends, longest, counts, strict=True)]


def _place_2d(pairs: Sequence[tuple[float, float]], lengths: CorpusLengths) -> np.ndarray:
    """(N,) the first bucket that each utterance fits; their number where it fits none."""
    place = np.full(len(lengths.seconds), len(pairs))
    for number, (seconds, tokens) in reversed(list(enumerate(pairs))):
        place[(lengths.seconds <= seconds) & (lengths.tokens <= tokens)] = number
    return place


def _longest_text(lengths: CorpusLengths, numbers: np.ndarray) -> int | None:
    """The utterance among these with most tokens; None without any."""
    return int(numbers[lengths.tokens[numbers].argmax()]) if len(numbers) else None


def _tokens(lengths: CorpusLengths, number: int | None) -> int:
    return -1 if number is None else int(lengths.tokens[number])


def _extreme(corpus: Corpus, lengths: CorpusLengths, end: End, number: int | None, count: int) -> Extreme:
    seconds = end[0] if isinstance(end, Sequence) else end
    if number is None:
        return Extreme(end, seconds, 0, "", count)
    return Extreme(end, seconds, _tokens(lengths, number), said(corpus.examples[number]), count)
