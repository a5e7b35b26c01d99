"""Hotwords in frame-synchronous search: phrases that are likely to be said, as an automaton over characters.

The automaton of Aho and Corasick (1975) follows all phrases at once. A phrase earns its bonus letter by letter, as a
promise that is withdrawn when the phrase breaks off, and kept when it is complete, between spaces.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable

import numpy as np

from toolkit.decoders.ctc_tables import Arcs, Phrases
from toolkit.decoders.spelling import Alphabet

logger = logging.getLogger(__name__)

SPACE = 0


def known_phrases(phrases: Iterable[str], alphabet: Alphabet) -> list[str]:
    """The phrases in the alphabet's case, each once; one that it cannot spell is left out with a warning."""
    known: dict[str, None] = {}
    for phrase in phrases:
        text = " ".join(alphabet.normalise(phrase).split())
        if missing := alphabet.missing(text.replace(" ", "")):
            logger.warning("hotword %r is left out: no token has %s", phrase, ", ".join(map(repr, missing)))
        elif text:
            known[text] = None
    return list(known)


def phrase_automaton(phrases: Iterable[str], alphabet: Alphabet, weight: float) -> Phrases:
    """The automaton that pays ``weight`` for each word of a phrase, once the phrase is complete."""
    children: list[dict[int, int]] = [{}]
    reward, promise = [0.0], [0.0]
    for phrase in phrases:
        letters = [SPACE, *(alphabet.numbers.get(character, SPACE) for character in phrase), SPACE]
        bonus, state = weight * len(phrase.split()), 0
        for place, letter in enumerate(letters):
            promise[state] = max(promise[state], bonus * max(0, place - 1) / (len(letters) - 2))
            if letter not in children[state]:
                children[state][letter] = len(children)
                children.append({})
                reward.append(0.0)
                promise.append(0.0)
            state = children[state][letter]
        reward[state] = bonus
    return _with_fallbacks(children, np.array(promise), np.array(reward))


def _with_fallbacks(children: list[dict[int, int]], promise: np.ndarray, reward: np.ndarray) -> Phrases:
    """The automaton of a tree: where a state has no arc, the longest suffix of it that is in the tree goes on."""
    fallback = np.zeros(len(children), np.int32)
    waiting = deque(children[0].values())
    while waiting:
        state = waiting.popleft()
        promise[state] = max(promise[state], promise[fallback[state]])
        reward[state] += reward[fallback[state]]
        for letter, target in children[state].items():
            suffix = fallback[state]
            while suffix and letter not in children[suffix]:
                suffix = fallback[suffix]
            fallback[target] = children[suffix].get(letter, 0)
            waiting.append(target)
    ordered = [sorted(arcs.items()) for arcs in children]
    arcs = Arcs(
        start=np.concatenate([[0], np.cumsum([len(row) for row in ordered])]).astype(np.int64),
        label=np.array([letter for row in ordered for letter, _ in row], np.int32),
        next=np.array([target for row in ordered for _, target in row], np.int32),
    )
    return Phrases(arcs, fallback, promise, reward, begin=children[0].get(SPACE, 0))
