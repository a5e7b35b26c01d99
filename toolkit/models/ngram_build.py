"""From lists of n-grams to the automaton of `toolkit.models.ngram`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.models.ngram import NgramModel


@dataclass
class Grams:
    """The M n-grams of one order, sorted by context and then by word, each once.

    Parameters
    ----------
    context
        (M,) int64: which n-gram of the next lower order stands before the word; zeros for single words.
    word
        (M,) int64 ids of the last word; of single words, all ids in order.
    logp
        (M,) natural log-probabilities; NaN where the model knows no more than what backing off gives.
    backoff
        (M,) natural logs of the back-off weights; not read for the longest n-grams.
    """

    context: np.ndarray
    word: np.ndarray
    logp: np.ndarray
    backoff: np.ndarray


@dataclass
class Listed:
    """N-grams of one order in any order: (M, n) words, (M,) natural logs, and (M,) where a file has them."""

    words: np.ndarray
    logp: np.ndarray
    backoff: np.ndarray
    offset: np.ndarray

    @classmethod
    def unscored(cls, words: np.ndarray, logp: float) -> Listed:
        """N-grams (M, n) that no file lists, with the same log-probability."""
        return cls(words, np.full(len(words), logp), np.zeros(len(words)), np.zeros(len(words), dtype=np.int64))

    @classmethod
    def joined(cls, parts: Iterable[Listed]) -> Listed:
        """The n-grams of all parts."""
        columns = zip(*((one.words, one.logp, one.backoff, one.offset) for one in parts), strict=True)
        return cls(*map(np.concatenate, columns))


def sorted_grams(listed: Sequence[Listed], vocabulary: int, twice: Callable[[int, int], Exception]) -> list[Grams]:
    """The n-grams of each order, from single words on, with the contexts that are not listed.

    Of an n-gram that is there twice, ``twice(order, place)`` is raised.
    """
    levels: list[Grams] = []
    for order, one in enumerate(listed, start=1):
        context = _contexts(levels, one.words, vocabulary)
        if (context < 0).any():  # put in, and begin again
            missing = Listed.unscored(np.unique(one.words[context < 0, :-1], axis=0), math.nan)
            whole = Listed.joined([listed[order - 2], missing])
            return sorted_grams([*listed[: order - 2], whole, *listed[order - 1 :]], vocabulary, twice)
        keys = context * vocabulary + one.words[:, -1]
        by_key = np.argsort(keys, kind="stable")
        for again in by_key[1:][np.diff(keys[by_key]) == 0]:
            raise twice(order, int(again))
        levels.append(Grams(context[by_key], one.words[by_key, -1], one.logp[by_key], one.backoff[by_key]))
    return levels


def build_ngram(words: list[str], levels: Sequence[Grams]) -> NgramModel:
    """The model of the n-grams of each order, from single words to the longest.

    An n-gram is a state when words follow it or when it costs something to back off from it. As a word's n-gram may be
    missing where a longer one is there (in pruned models), its states are found by walking: the longest proper suffix
    of "context word" is where the word leads from the longest proper suffix of the context (Aho and Corasick 1975).
    """
    numbers = _number_states(levels)
    sources = [np.zeros(len(words), dtype=np.int64)]
    sources += [number[level.context] for number, level in zip(numbers, levels[1:], strict=False)]
    model = _without_links(words, levels, numbers, np.concatenate(sources))
    first = 0
    for level, number, source in zip(levels, numbers, sources, strict=True):
        arcs = slice(first, first + len(source))
        _link(model, level, number, source, arcs=arcs)
        first = arcs.stop
    return model


def _number_states(levels: Sequence[Grams]) -> list[np.ndarray]:
    """The state (M,) of each n-gram by order; -1 where it is none."""
    numbers, states = [], 1
    for level, longer in zip(levels, [*levels[1:], None], strict=True):
        kept = np.zeros(len(level.word), dtype=bool)
        if longer is not None:
            kept = level.backoff != 0
            kept[longer.context] = True
        numbers.append(np.where(kept, states - 1 + np.cumsum(kept), -1))
        states += np.count_nonzero(kept)
    return numbers


def _without_links(
    words: list[str], levels: Sequence[Grams], numbers: Sequence[np.ndarray], source: np.ndarray
) -> NgramModel:
    """The automaton, with every arc and every back-off leading to state 0."""
    backoffs = [level.backoff[number >= 0] for level, number in zip(levels, numbers, strict=True)]
    backoff_logp = np.concatenate([[0.0], *backoffs]).astype(np.float32)
    return NgramModel(
        words=words,
        order=len(levels),
        arc_start=np.searchsorted(source, np.arange(len(backoff_logp) + 1)),
        arc_word=np.concatenate([level.word for level in levels]).astype(np.int32),
        arc_logp=np.concatenate([level.logp for level in levels]).astype(np.float32),
        arc_next=np.zeros(len(source), dtype=np.int32),
        backoff_logp=backoff_logp,
        backoff_state=np.zeros(len(backoff_logp), dtype=np.int32),
    )


def _link(model: NgramModel, level: Grams, number: np.ndarray, source: np.ndarray, *, arcs: slice) -> None:
    """Let the arcs of one order lead to their states; all shorter ones do already."""
    if arcs.start == 0:
        model.arc_next[arcs] = np.maximum(number, 0)
        return
    logp, suffix = model.score_many(model.backoff_state[source], level.word)
    unknown = np.isnan(level.logp)
    model.arc_logp[arcs][unknown] = (model.backoff_logp[source] + logp)[unknown]
    model.arc_next[arcs] = np.where(number >= 0, number, suffix)
    model.backoff_state[number[number >= 0]] = suffix[number >= 0]


def _contexts(levels: list[Grams], words: np.ndarray, vocabulary: int) -> np.ndarray:
    """Which n-grams of the last level are the contexts of n-grams (M, n); -1 where there is none."""
    if not levels:
        return np.zeros(len(words), dtype=np.int64)
    index = words[:, 0]
    for level, word in zip(levels[1:], words.T[1:-1], strict=True):
        keys, wanted = level.context * vocabulary + level.word, index * vocabulary + word
        index = np.searchsorted(keys, wanted)
        found = keys[np.minimum(index, len(keys) - 1)] == wanted if len(keys) else np.zeros(len(wanted), dtype=bool)
        index = np.where(found, index, -1)
    return index
