"""How long the utterances of a corpus are, in seconds and in tokens, and how often training hears each."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from lhotse.cut import Cut

from toolkit.dataio.corpus import Corpus, require_utterance
from toolkit.dataio.indexed import Indexed
from toolkit.dataio.manifest_writers import said

Encode = Callable[[str], list[int]]
Report = Callable[[int], object]


@dataclass(frozen=True)
class CorpusLengths:
    """Of each utterance.

    Attributes
    ----------
    seconds
        (N,) float64.
    tokens
        (N,) int64; None where nobody counted them.
    frequencies
        (N,) float64 relative to the others; one for each where the corpus is no blend.
    """

    seconds: np.ndarray
    tokens: np.ndarray | None
    frequencies: np.ndarray

    @classmethod
    def of(cls, corpus: Corpus, encode: Encode | None, report: Report) -> CorpusLengths:
        """Measure a corpus; its utterances are read where ``encode`` counts tokens, or where it has no index."""
        measured = [_measure(source, encode, report) for source in corpus.sources]
        counts = [len(seconds) for seconds, _ in measured]
        weights = counts if corpus.weights is None else corpus.weights
        return cls(
            np.concatenate([seconds for seconds, _ in measured]),
            None if encode is None else np.concatenate([tokens for _, tokens in measured]),
            np.repeat(np.divide(weights, counts), counts),
        )


def _measure(source: Iterable[Cut], encode: Encode | None, report: Report) -> tuple[np.ndarray, np.ndarray]:
    if encode is None and isinstance(source, Indexed):
        report(len(source))
        return np.asarray(source.lengths, np.float64), np.empty(0, np.int64)
    seconds, tokens = array("d"), array("q")
    for cut in map(require_utterance, source):
        seconds.append(cut.duration)
        tokens.append(len(encode(said(cut))) if encode else 0)
        report(1)
    return np.array(seconds), np.array(tokens)
