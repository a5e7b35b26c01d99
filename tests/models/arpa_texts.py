"""ARPA files for tests: random n-grams {words: (log10 probability, log10 back-off)} and their text."""

from __future__ import annotations

import itertools
import math

import numpy as np

LN10 = math.log(10.0)
WORDS = ("A", "B", "É", "\u2003")  # an em space is no ASCII white space


def random_grams(seed, order, share, *, closed=False):
    """A share of all n-grams up to an order; ``closed``: none without its context and its suffix, as kenlm wants."""
    rng = np.random.default_rng(seed)
    grams = {(word,): _numbers(rng) for word in ("<unk>", "<s>", "</s>", *WORDS)}
    for length in range(2, order + 1):
        for gram in itertools.product(("<s>", *WORDS), *[WORDS] * (length - 2), ("</s>", *WORDS)):
            listed = rng.random() < share
            if listed and not (closed and not {gram[1:], gram[:-1]} <= grams.keys()):
                grams[gram] = _numbers(rng, ends=length == order or gram[-1] == "</s>")
    return grams


def _numbers(rng, ends=False):
    backoff = 0.0 if ends or rng.random() < 0.3 else round(-rng.random(), 4)
    return round(-3 * rng.random(), 4), backoff


def arpa_text(grams, *, between=" ", tab="\t"):
    """The file; a back-off of zero is left out."""
    orders = range(1, 1 + max(map(len, grams)))
    lines = ["", "\\data\\", *(f"ngram {order}={sum(len(gram) == order for gram in grams)}" for order in orders)]
    for order in orders:
        lines += ["", f"\\{order}-grams:"]
        for gram, (logp, backoff) in grams.items():
            if len(gram) == order:
                lines.append(f"{logp:g}{tab}{between.join(gram)}" + (f"{tab}{backoff:g}" if backoff else ""))
    return "\n".join([*lines, "", "\\end\\", ""])
