"""What the compiled CTC search reads and keeps: automata, n-grams and prefixes as plain arrays.

Everything is a named tuple of arrays or a structured array, which compiled code and Python share without copies.
An automaton is stored as arcs: those of state s are numbers ``start[s]`` to ``start[s + 1]``, labels ascending.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]

NOWHERE = -1  # the state, node or word that there is none of
UNIT = 6  # letters of a word of usual length: longer unknown words cost more (pyctcdecode's AVG_TOKEN_LEN)

# One prefix: where it hangs in the tree of prefixes, and what fusion remembers of it.
NODE = np.dtype(
    [
        ("parent", np.int32),
        ("token", np.int32),  # its last one; of the empty prefix a separator (see FusionTables), or NOWHERE
        ("child", np.int32),  # the first of the prefixes it was extended to
        ("sibling", np.int32),  # the next child of its parent
        ("slot", np.int32),  # its place in the beam, or NOWHERE
        ("letters", np.int32),  # characters of the word that it ends in; 0 after a separator
        ("spelling", np.int32),  # state of the vocabulary's tree after these letters; NOWHERE: no word begins so
        ("phrase", np.int32),  # state of the hotword automaton
        ("word_state", np.int32),  # state of the word n-gram after the last complete word
        ("word_next", np.int32),  # that state once the word it ends in is complete
        ("token_state", np.int32),  # state of the token n-gram
        ("word_score", np.float64),  # what completing the word adds; NaN until it is looked up
        ("spelled", np.float64),  # what the token n-gram says of the word so far
        ("settled", np.float64),  # fusion score that stays whatever comes
        ("pending", np.float64),  # fusion score of unfinished words and phrases
    ],
    align=True,
)

# One place of the beam. Log-probabilities are of all paths of the prefix so far.
PLACE = np.dtype(
    [
        ("node", np.int64),
        ("blank", np.float64),  # of those that end in blank
        ("token", np.float64),  # of those that end in the prefix's last token
        ("total", np.float64),  # of both
    ],
    align=True,
)

# What a search knows beside its prefixes.
PROGRESS = np.dtype(
    [
        ("nodes", np.int64),  # how many there are
        ("active", np.int64),  # of which so many are in the beam
        ("frames", np.int64),  # fed so far
        ("after_blank", np.int64),  # whether the last frame was skipped as nothing but blank
        ("skipped", np.float64),  # log-probability of the skipped blanks
        ("kept", np.int64),  # how many prefixes of this frame are among the best so far
        ("threshold", np.float64),  # what a prefix has to exceed to become one
        ("best", np.float64),  # score of the best
    ],
    align=True,
)


class Pruning(NamedTuple):
    """The options of a search."""

    beam_size: int
    candidates: int
    token_min_logp: float
    beam_prune_logp: float
    blank_skip_logp: float
    length_bonus: float


class Search(NamedTuple):
    """One utterance being searched."""

    nodes: NDArray[np.void]  # NODE, of which the first ``progress.nodes`` are in use; parents before children
    beam: NDArray[np.void]  # (K,) PLACE
    progress: NDArray[np.void]  # (1,) PROGRESS


class Scratch(NamedTuple):
    """Space for one frame: what the loop over frames would otherwise allocate."""

    row: NDArray[np.float64]  # (V,) the frame, with unlikely tokens as impossible
    tokens: NDArray[np.int64]  # (C,) candidates, best first
    token_scores: NDArray[np.float64]  # (C,)
    stays: NDArray[np.void]  # (K,) PLACE, the prefixes of the beam after this frame
    chosen: NDArray[np.void]  # (K,) PLACE, the next beam
    scores: NDArray[np.float64]  # (K,) heap of the best
    items: NDArray[np.int64]  # (K,) place * V + token, token 0 for a prefix that stays
    merged: NDArray[np.int64]  # (K, V) the last frame in which this extension was a prefix of the beam itself
    trial: NDArray[np.void]  # (1,) NODE


class Arcs(NamedTuple):
    """An automaton's transitions."""

    start: NDArray[np.int64]  # (S + 1,)
    label: Ints  # (A,)
    next: Ints  # (A,)


class Ngram(NamedTuple):
    """A back-off automaton: state 0 has an arc for every word in order, so every look-up ends there at the latest."""

    arcs: Arcs
    logp: Floats  # (A,) natural log
    backoff_logp: Floats  # (S,)
    backoff_state: Ints  # (S,)
    begin: int


# What an n-gram says of a token in a state. Both numbers are needed, and come from memory together.
ANSWER = np.dtype([("logp", np.float32), ("next", np.int32)])


class Spelling(NamedTuple):
    """The tree of the vocabulary's words over characters; its root is state 0."""

    arcs: Arcs
    word: Ints  # (S,) number in the word n-gram of the word that ends here, or NOWHERE
    follows: NDArray[np.int64]  # (S,) the labels of the arcs, a bit each, by their remainder of 64


class Phrases(NamedTuple):
    """The hotword automaton (Aho and Corasick 1975): a tree of phrases, and where to go on when one breaks off."""

    arcs: Arcs
    fallback: Ints  # (S,) state of the longest proper suffix that is in the tree
    promise: NDArray[np.float64]  # (S,) part of the bonus that the phrase so far has earned; withdrawn if it breaks off
    reward: NDArray[np.float64]  # (S,) bonus of the phrases that are complete here
    begin: int  # the state at the start of a word


class Letters(NamedTuple):
    """The tokens as text: token v has the characters ``label[start[v]:start[v + 1]]``."""

    start: NDArray[np.int64]  # (V + 1,)
    label: Ints  # character numbers from 1; 0 is the space
    begins_word: NDArray[np.bool_]  # (V,) begins with a space
    separator: int  # the token that is a space and nothing else, or NOWHERE


class Weights(NamedTuple):
    """The numbers of a fusion, in natural logs; a part with a False switch is absent."""

    words: bool
    tokens: bool
    phrases: bool
    boundaries: bool  # the n-grams know where a text ends
    alpha: float
    beta: float
    unknown: float  # added for an unknown word
    unknown_part: float  # for one that is still being spelled
    unknown_by_length: bool
    token_weight: float
    most: float  # more than this hotwords never add to an extension


class FusionTables(NamedTuple):
    """All that is added to CTC's score of a prefix."""

    weights: Weights
    letters: Letters
    spelling: Spelling
    words: Ngram
    tokens: Ngram
    token_ids: Ints  # (V,) the token n-gram's numbers of the recogniser's tokens
    token_rows: NDArray[np.void]  # (S, V) ANSWER: the token n-gram written out; (0, 0) where that takes too much memory
    phrases: Phrases


def no_arcs() -> Arcs:
    """The automaton of one state without transitions."""
    return Arcs(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int32))


def no_ngram() -> Ngram:
    """An n-gram of no words."""
    return Ngram(no_arcs(), np.zeros(0, np.float32), np.zeros(1, np.float32), np.zeros(1, np.int32), 0)


def no_rows() -> NDArray[np.void]:
    """No answers."""
    return np.empty((0, 0), ANSWER)


def no_fusion() -> FusionTables:
    """CTC alone."""
    none, nothing = np.zeros(0, np.int32), np.zeros(1)
    return FusionTables(
        weights=Weights(False, False, False, False, 0.0, 0.0, 0.0, 0.0, False, 0.0, 0.0),
        letters=Letters(np.zeros(1, np.int64), none, np.zeros(0, np.bool_), NOWHERE),
        spelling=Spelling(no_arcs(), np.full(1, NOWHERE, np.int32), np.zeros(1, np.int64)),
        words=no_ngram(),
        tokens=no_ngram(),
        token_ids=none,
        token_rows=no_rows(),
        phrases=Phrases(no_arcs(), np.zeros(1, np.int32), nothing, nothing, 0),
    )
