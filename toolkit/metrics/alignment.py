"""Levenshtein alignment of two token sequences.

The distance comes from a bit-parallel dynamic programme: one Python integer holds a whole column of the table, bit i
standing for reference token i, so that a column costs some twenty operations on integers whatever its height.
    G. Myers, "A fast bit-vector algorithm for approximate string matching", JACM 46 (1999);
    H. Hyyrö, "A bit-vector algorithm for computing Levenshtein and Damerau edit distances", NJC 10 (2003).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

HIT, SUBSTITUTION, INSERTION, DELETION = "=", "S", "I", "D"


class Edit(NamedTuple):
    """One column of an alignment; ``ref`` is None for an insertion, ``hyp`` for a deletion."""

    op: str
    ref: Hashable | None
    hyp: Hashable | None


def align(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> list[Edit]:
    """The alignment with the fewest errors, as edits from the first token to the last; see `edit_ops` for ties."""
    refs, hyps = iter(reference), iter(hypothesis)
    return [
        Edit(op, None if op == INSERTION else next(refs), None if op == DELETION else next(hyps))
        for op in edit_ops(reference, hypothesis)
    ]


def edit_ops(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> str:
    """The operations of the alignment with the fewest errors, such as ``"==SI=D"``.

    Of several such alignments the same one is always chosen: what the sequences share at their beginning and end are
    hits; between, from the end backwards, tokens that agree are a hit, and of others a substitution is preferred to
    a deletion, and that to an insertion.

    It takes R * H / 4 bytes while it runs, for R reference and H hypothesis tokens without what they share.
    """
    start = _shared(reference, hypothesis)
    end = _shared(reference[start:][::-1], hypothesis[start:][::-1])
    middle = _differing_ops(reference[start : len(reference) - end], hypothesis[start : len(hypothesis) - end])
    return HIT * start + middle + HIT * end


def _shared(first: Sequence[Hashable], second: Sequence[Hashable]) -> int:
    """How many tokens the beginnings of two sequences share."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))


def _differing_ops(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> str:
    """The operations found by following the table from its end."""
    columns = list(_columns(reference, hypothesis))
    i, j = len(reference), len(hypothesis)
    backwards = []
    while i and j:
        diagonal_free, rises = columns[j - 1]
        if reference[i - 1] == hypothesis[j - 1]:
            i, j, op = i - 1, j - 1, HIT
        elif not diagonal_free >> (i - 1) & 1:
            i, j, op = i - 1, j - 1, SUBSTITUTION
        elif rises >> (i - 1) & 1:
            i, op = i - 1, DELETION
        else:
            j, op = j - 1, INSERTION
        backwards.append(op)
    return DELETION * i + INSERTION * j + "".join(reversed(backwards))


def _columns(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> Iterator[tuple[int, int]]:
    """Two bit vectors for each hypothesis token, about the distances D(i, j) of the first i and j tokens.

    Bit i - 1 of the first tells that D(i, j) = D(i-1, j-1): the diagonal step is free. Bit i - 1 of the second tells
    that D(i, j) = D(i-1, j) + 1: deleting reference token i is optimal.
    """
    everything = (1 << len(reference)) - 1
    places: dict[Hashable, int] = {}
    for index, token in enumerate(reference):
        places[token] = places.get(token, 0) | 1 << index
    # rises and falls: the vertical difference D(i, j) - D(i-1, j) is +1 and -1. D(i, 0) = i.
    rises, falls = everything, 0
    for token in hypothesis:
        equal = places.get(token, 0)
        diagonal_free = (((equal & rises) + rises) ^ rises) | equal | falls
        # the horizontal difference D(i, j) - D(i, j-1), shifted to the row below; D(0, j) = j always rises
        right_rises = (falls | ~(diagonal_free | rises)) << 1 | 1
        right_falls = (diagonal_free & rises) << 1
        rises = (right_falls | ~(diagonal_free | right_rises)) & everything
        falls = (right_rises & diagonal_free) & everything
        yield diagonal_free & everything, rises
