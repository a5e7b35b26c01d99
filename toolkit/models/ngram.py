"""Back-off n-gram models in memory: an automaton whose states are contexts, as plain numpy arrays.

A word that follows a context in the model is an arc. Any other word is looked for after the context without its first
word, at the price of the context's back-off weight, and so on down to the empty context, which has an arc for every
word (Katz 1987). So p(c | a b) of a model that knows neither "a b c" nor "b c" is backoff(a b) backoff(b) p(c).

    state 0 = ()      arcs <unk> <s> </s> a b ...      arc_start[0]:arc_start[1], arc index = word id
    state 1 = (<s>)   arcs a b                         arc_start[1]:arc_start[2]
    state 5 = (a b)   arcs </s>                        arc_start[5]:arc_start[6], ascending in word id

States are numbered by the length of their contexts, and arcs by their state, so that an array of (state, word) pairs
is sorted. Everything is a natural log, unlike an ARPA file (`toolkit.models.arpa`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from toolkit.errors import ModelError

UNK, BOS, EOS = 0, 1, 2
MARKS = ("<unk>", "<s>", "</s>")  # the words of these ids
SPACE = re.compile(r"[ \t\n\r\v\f]")  # what separates words in ARPA files
# What the model is made of besides its words; the class says what each holds.
ARRAYS = {
    "arc_start": np.int64,
    "arc_word": np.int32,
    "arc_logp": np.float32,
    "arc_next": np.int32,
    "backoff_logp": np.float32,
    "backoff_state": np.int32,
}


@dataclass(eq=False)
class NgramModel:
    """An n-gram model of V words, S states and A arcs.

    Parameters
    ----------
    words
        The word of each id; ids 0, 1 and 2 are ``<unk>``, ``<s>`` and ``</s>``.
    order
        Words in the longest n-grams.
    arc_start
        (S + 1,) int64: state s has the arcs ``arc_start[s]:arc_start[s + 1]``. State 0 has one for each word, in order.
    arc_word
        (A,) int32 word ids, ascending within a state.
    arc_logp
        (A,) float32 natural log-probabilities of the word in the state.
    arc_next
        (A,) int32 states after the word: the longest suffix that is a context of the model.
    backoff_logp
        (S,) float32 natural logs of the weights of backing off.
    backoff_state
        (S,) int32: the state with the longest shorter suffix, always of a lower number.

    Raises
    ------
    ModelError
        The arrays are no such automaton: a walk in them could leave them or never end.
    """

    words: list[str]
    order: int
    arc_start: np.ndarray
    arc_word: np.ndarray
    arc_logp: np.ndarray
    arc_next: np.ndarray
    backoff_logp: np.ndarray
    backoff_state: np.ndarray

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise ModelError(f"not an n-gram model, or damaged: {problem}")

    def __len__(self) -> int:
        """Number of n-grams of all orders."""
        return len(self.arc_word)

    @property
    def states(self) -> int:
        """Number of states S."""
        return len(self.backoff_state)

    @cached_property
    def ids(self) -> dict[str, int]:
        """Word -> id."""
        return {word: index for index, word in enumerate(self.words)}

    @cached_property
    def arc_source(self) -> np.ndarray:
        """(A,) int64 states that the arcs leave."""
        return np.repeat(np.arange(self.states), np.diff(self.arc_start))

    @cached_property
    def arc_key(self) -> np.ndarray:
        """(A,) int64, ascending: ``state * V + word`` of each arc, to look up many at once."""
        return self.arc_source * len(self.words) + self.arc_word

    @property
    def begin(self) -> int:
        """The state after ``<s>``."""
        return int(self.arc_next[BOS])

    def word_id(self, word: str) -> int:
        """The id of a word; of an unknown one, that of ``<unk>``."""
        return self.ids.get(word, UNK)

    def score(self, state: int, word: int) -> tuple[float, int]:
        """Log-probability of a word id in a state, and the state after it."""
        logp = 0.0
        while True:
            first, last = self.arc_start[state], self.arc_start[state + 1]
            arc = first + np.searchsorted(self.arc_word[first:last], word)
            if arc < last and self.arc_word[arc] == word:
                return logp + float(self.arc_logp[arc]), int(self.arc_next[arc])
            logp += float(self.backoff_logp[state])
            state = self.backoff_state[state]

    def score_many(self, states: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log-probabilities (N,) float64 of word ids (N,) in states (N,), and the states (N,) int64 after them."""
        states, words = np.array(states, dtype=np.int64), np.asarray(words, dtype=np.int64)
        logps, waiting = np.zeros(len(states)), np.arange(len(states))
        while len(waiting):
            arcs = self._find(states[waiting], words[waiting])
            found, waiting, arcs = waiting[arcs >= 0], waiting[arcs < 0], arcs[arcs >= 0]
            logps[found] += self.arc_logp[arcs]
            states[found] = self.arc_next[arcs]
            logps[waiting] += self.backoff_logp[states[waiting]]
            states[waiting] = self.backoff_state[states[waiting]]
        return logps, states

    def sentence_log_prob(self, words: Sequence[str], *, begin: bool = True, end: bool = True) -> float:
        """Log-probability of a sentence, after ``<s>`` where ``begin``, and with ``</s>`` where ``end``."""
        state, total = self.begin if begin else 0, 0.0
        for word in [*map(self.word_id, words), *([EOS] if end else [])]:
            logp, state = self.score(state, word)
            total += logp
        return total

    def _find(self, states: np.ndarray, words: np.ndarray) -> np.ndarray:
        """The arcs (N,) of words (N,) in states (N,); -1 where a state has none."""
        keys = states * len(self.words) + words
        arcs = np.searchsorted(self.arc_key, keys)
        return np.where(self.arc_key[np.minimum(arcs, len(self) - 1)] == keys, arcs, -1)

    def _problem(self) -> str | None:
        """What keeps the arrays from being an automaton of which every walk ends."""
        V, S, A = len(self.words), self.backoff_state.size, self.arc_word.size
        for (name, dtype), size in zip(ARRAYS.items(), (S + 1, A, A, A, S, S), strict=True):
            array = getattr(self, name)
            if array.dtype != dtype or array.shape != (size,):
                return f"{name} is {array.dtype} of shape {array.shape}, expected {np.dtype(dtype)} of {(size,)}"
        if S == 0:
            return "no state"
        if tuple(self.words[: len(MARKS)]) != MARKS:
            return f"its first words are {self.words[: len(MARKS)]}, not {list(MARKS)}"
        if "" in self.words or SPACE.search("\0".join(self.words)) or len(set(self.words)) < V:
            return "a word is empty, holds white space or is there twice"
        counts = np.diff(self.arc_start)
        if self.arc_start[0] != 0 or self.arc_start[-1] != A or counts.min() < 0:
            return "arcs that belong to no state"
        if counts[0] != V or (self.arc_word[:V] != np.arange(V)).any():
            return "the empty context does not have an arc for each word"
        if self.arc_word.min() < 0 or self.arc_word.max() >= V or (np.diff(self.arc_key) <= 0).any():
            return "the arcs of a state are not in the order of their words"
        if self.arc_next.min() < 0 or self.arc_next.max() >= S:
            return "an arc leads to no state"
        if self.backoff_state.min() < 0 or (self.backoff_state[1:] >= np.arange(1, S)).any():
            return "a state backs off to no shorter one"
        return None
