"""Hotwords: phrases that are likely to be said, as an automaton over characters that all searches share.

The automaton of Aho and Corasick (1975) follows all phrases at once. A phrase earns its bonus letter by letter, as a
promise that is withdrawn when the phrase breaks off, and kept when it is complete, between spaces. Where no token
begins with a space, a phrase may stand anywhere.

Compiled CTC search walks through the automaton letter by letter (`Phrases`). In searches in tensors, tokens take the
place of letters (`PhraseTable`).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from toolkit.decoders.ctc_tables import NOWHERE, Arcs, Letters, Phrases
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
    edge = [SPACE] if alphabet.letters.begins_word.any() else []
    for phrase in phrases:
        spelled = [alphabet.numbers.get(character, SPACE) for character in phrase if edge or character != " "]
        bonus, state = weight * len(phrase.split()), 0
        for place, letter in enumerate([*edge, *spelled, *edge]):
            promise[state] = max(promise[state], bonus * max(0, place - len(edge)) / len(spelled))
            if letter not in children[state]:
                children[state][letter] = len(children)
                children.append({})
                reward.append(0.0)
                promise.append(0.0)
            state = children[state][letter]
        reward[state] = bonus
    return _with_fallbacks(children, np.array(promise), np.array(reward))


@dataclass(frozen=True)
class PhraseTable:
    """The automaton in tensors, S states with an arc for each of V tokens: one gather answers all tokens of a beam."""

    next: Tensor  # (S, V) int32
    gain: Tensor  # (S, V) what is promised and earned, less what was promised before
    end: Tensor  # (S,) the same of the end of the transcript
    begin: int

    def to(self, device: torch.device) -> PhraseTable:
        """The same on a device."""
        return PhraseTable(self.next.to(device), self.gain.to(device), self.end.to(device), self.begin)


def phrase_table(phrases: Phrases, letters: Letters) -> PhraseTable:
    """The automaton with tokens for letters."""
    arcs, S, V = _all_arcs(phrases, letters), len(phrases.fallback), len(letters.begins_word)
    after_space, earned_by_space = _spaced(phrases, arcs[:, SPACE])
    states = np.where(letters.begins_word, after_space[:, None], np.arange(S)[:, None])
    earned = np.where(letters.begins_word, earned_by_space[:, None], np.zeros((S, V), np.float32))
    lengths = np.diff(letters.start)
    for place in range(lengths.max(initial=0)):
        tokens = np.flatnonzero(lengths > place)
        states[:, tokens] = arcs[states[:, tokens], letters.label[letters.start[tokens] + place]]
        earned[:, tokens] += phrases.reward[states[:, tokens]]
    gain = earned + phrases.promise[states] - phrases.promise[:, None]
    parts = (states.astype(np.int32), gain.astype(np.float32), (earned_by_space - phrases.promise).astype(np.float32))
    return PhraseTable(*map(torch.from_numpy, parts), phrases.begin)


def _all_arcs(phrases: Phrases, letters: Letters) -> np.ndarray:
    """The states (S, A) after each letter in each state."""
    start, label, following = phrases.arcs
    own = np.full((len(phrases.fallback), 1 + int(letters.label.max(initial=0))), NOWHERE, np.int32)
    own[np.repeat(np.arange(len(own)), np.diff(start)), label] = following
    arcs, suffix = own, phrases.fallback
    while suffix.any():
        arcs = np.where(arcs == NOWHERE, own[suffix], arcs)
        suffix = phrases.fallback[suffix]
    return np.maximum(np.where(arcs == NOWHERE, own[0], arcs), 0)


def _spaced(phrases: Phrases, after_space: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The states (S,) after a space in each state, and what it earns: a second space is none."""
    states = np.arange(len(after_space))
    ends_in_space = np.isin(states, after_space)
    return np.where(ends_in_space, states, after_space), np.where(ends_in_space, 0.0, phrases.reward[after_space])


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
