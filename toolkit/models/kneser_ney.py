"""Interpolated modified Kneser-Ney smoothing (Chen and Goodman 1999), as lmplz estimates it (Heafield et al. 2013).

With a(g) the occurrences of an n-gram of the highest order or one that begins with ``<s>``, and else the number of
words before it, and with the discount D of its order for a(g) = 1, 2, 3 and more::

    p(w | c) = (a(c w) - D(a(c w))) / sum_x a(c x)  +  backoff(c) p(w | c without its first word)
    backoff(c) = sum_x D(a(c x)) / sum_x a(c x)

The recursion ends with the uniform distribution over all words but ``<s>``, ``<unk>`` among them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from toolkit.errors import ConfigError, ModelError
from toolkit.models.ngram import BOS, NgramModel
from toolkit.models.ngram_build import Grams, build_ngram
from toolkit.models.ngram_counts import Counted, count_ngrams

logger = logging.getLogger(__name__)

DISCOUNT_FALLBACK = (0.5, 1.0, 1.5)  # lmplz's
LOG_ZERO = -99.0 * math.log(10.0)  # of <s>, which is never predicted; as ARPA files say it


def train_ngram(
    sentences: Iterable[Sequence[str]],
    order: int,
    *,
    vocabulary: Sequence[str] | None = None,
    prune: Sequence[int] = (),
    discount_fallback: Sequence[float] | None = DISCOUNT_FALLBACK,
) -> NgramModel:
    """An n-gram model of a text, which is read once, sentence by sentence.

    Parameters
    ----------
    sentences : iterable of sequences of str
        The words of each sentence, without marks.
    order : int
        Words in the longest n-grams.
    vocabulary : sequence of str, optional
        All words that there are: those that do not occur get a probability, others count as ``<unk>``. Left out, it is
        every word of the text.
    prune : sequence of int
        Leave n-grams that occur no more than so often out: a number for each order, the last for all longer ones, as
        in ``lmplz --prune``; the first is 0.
    discount_fallback : sequence of three floats, optional
        Discounts of an order whose counts say nothing of them, which is so in small texts, or for characters. With
        None this is an error.

    Raises
    ------
    ConfigError
        An option is impossible.
    ModelError
        There is no text, or it does not suffice and ``discount_fallback`` is None.
    """
    thresholds = prune_thresholds(order, prune)
    words, levels = count_ngrams(sentences, order, vocabulary)
    adjusted = _adjusted_counts(levels)
    discounts = [_discounts(order, counts, discount_fallback) for order, counts in enumerate(adjusted, start=1)]
    kept = [level.count > threshold for level, threshold in zip(levels, thresholds, strict=False)]
    kept[0][:] = True
    probabilities, backoffs = _smoothed(levels, adjusted, discounts, kept)
    return build_ngram(words, _as_grams(levels, kept, probabilities, backoffs))


def prune_thresholds(order: int, prune: Sequence[int]) -> list[int]:
    """How often an n-gram of each order may occur and yet be left out; a ConfigError where that cannot be."""
    if isinstance(order, bool) or not isinstance(order, int) or order < 1:
        raise ConfigError(f"order must be a whole number of at least 1, got {order!r}")
    thresholds = list(prune) or [0]
    if thresholds[0] != 0 or sorted(thresholds) != thresholds or len(thresholds) > order:
        raise ConfigError(f"prune must be at most {order} numbers that begin with 0 and never fall, got {prune!r}")
    return thresholds + thresholds[-1:] * (order - len(thresholds))


def _adjusted_counts(levels: list[Counted]) -> list[np.ndarray]:
    """a(g) by order: of an n-gram that can follow a word, how many words it follows; of ``<s>``, 0."""
    adjusted, begins = [], levels[0].word == BOS
    for level, longer in pairwise(levels):
        followed = np.bincount(longer.suffix, minlength=len(level.word))
        adjusted.append(np.where(begins, level.count, followed))
        begins = begins[longer.context]
    adjusted.append(levels[-1].count.copy())
    adjusted[0][BOS] = 0
    return adjusted


def _discounts(order: int, adjusted: np.ndarray, fallback: Sequence[float] | None) -> np.ndarray:
    """(4,) discounts of an order for a(g) = 0, 1, 2, and 3 or more (Chen and Goodman 1999, equation 26)."""
    once, twice, thrice, more = (int(np.count_nonzero(adjusted == count)) for count in (1, 2, 3, 4))
    if once and twice and thrice:
        ratio = once / (once + 2 * twice)
        discounts = 1 - 2 * ratio * twice / once, 2 - 3 * ratio * thrice / twice, 3 - 4 * ratio * more / thrice
        if all(0 <= discount <= count for count, discount in enumerate(discounts, start=1)):
            return np.array([0.0, *discounts])
    if fallback is None:
        raise ModelError(
            f"the text does not say how to discount {order}-grams: {once}, {twice} and {thrice} of them occur once, "
            "twice and three times; train on more text, lower the order or give discount_fallback"
        )
    logger.info("%d-grams: discounts are %s, as the counts do not say", order, ", ".join(f"{d:g}" for d in fallback))
    return np.array([0.0, *fallback])


def _smoothed(
    levels: list[Counted], adjusted: list[np.ndarray], discounts: list[np.ndarray], kept: list[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Probabilities of the n-grams and their back-off weights, by order; what is not kept is left to backing off."""
    probabilities, backoffs = [np.array([1.0 / (len(levels[0].word) - 1)])], []
    for level, counts, discount, keep in zip(levels, adjusted, discounts, kept, strict=True):
        lower = probabilities[-1]
        total = np.bincount(level.context, weights=counts, minlength=len(lower))
        spared = np.where(keep, discount[np.minimum(counts, 3)], counts)
        rest = np.bincount(level.context, weights=spared, minlength=len(lower))
        backoff = np.divide(rest, total, out=np.ones(len(lower)), where=total > 0)
        probabilities.append((counts - spared) / total[level.context] + backoff[level.context] * lower[level.suffix])
        backoffs.append(backoff)
    return probabilities[1:], [*backoffs[1:], np.ones(len(probabilities[-1]))]


def _as_grams(
    levels: list[Counted], kept: list[np.ndarray], probabilities: list[np.ndarray], backoffs: list[np.ndarray]
) -> list[Grams]:
    """The n-grams that are kept, in the order of an automaton's arcs."""
    grams, rank = [], np.zeros(1, dtype=np.int64)
    for level, keep, probability, backoff in zip(levels, kept, probabilities, backoffs, strict=True):
        chosen = np.flatnonzero(keep)
        if not len(chosen):
            break
        chosen = chosen[np.lexsort((level.word[chosen], rank[level.context[chosen]]))]
        with np.errstate(divide="ignore"):
            logs = np.log(probability[chosen]), np.log(backoff[chosen])
        grams.append(Grams(rank[level.context[chosen]], level.word[chosen], *logs))
        rank = np.full(len(keep), -1)
        rank[chosen] = np.arange(len(chosen))
    grams[0].logp[BOS] = LOG_ZERO
    return grams
