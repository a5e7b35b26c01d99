"""Tokens and words as characters: the text of each token, and the tree of a vocabulary's words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from toolkit.decoders.ctc_tables import NOWHERE, Arcs, Letters, Spelling

MARK = "▁"  # SentencePiece's space; other label sets are to be written like this
SPECIAL = re.compile(r"<.+>|\[.+\]")  # <pad>, [UNK]: tokens that nobody says


class HasPieces(Protocol):
    """A tokenizer: it names its tokens."""

    def pieces(self) -> list[str]:
        """The tokens in the order of their numbers; a space is written as ``▁``."""


def pieces_of(tokenizer: HasPieces | Sequence[str]) -> list[str]:
    """The tokens of a tokenizer, or of a list of them."""
    return list(tokenizer.pieces() if hasattr(tokenizer, "pieces") else tokenizer)


def tokens_of(text: str, pieces: Sequence[str]) -> list[int]:
    """The tokens that spell a text, at each place the longest; characters that no token has are left out."""
    numbers = {piece: number for number, piece in reversed(list(enumerate(pieces))) if number and piece}
    longest, tokens = max(map(len, numbers), default=0), []
    rest = (text if MARK in numbers else f" {text}").replace(" ", MARK)  # a mark alone stands between words
    while rest:
        sizes = (size for size in range(longest, 0, -1) if rest[:size] in numbers)
        if size := next(sizes, 0):
            tokens.append(numbers[rest[:size]])
        rest = rest[size or 1 :]
    return tokens


class Alphabet:
    """The characters of the tokens, numbered from 1; 0 is the space.

    A token that begins with ``▁`` begins a word; one that is ``▁`` alone separates words. Token 0 is blank.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        texts = ["", *(piece.replace(MARK, "") for piece in pieces[1:])]
        self.numbers = {character: number for number, character in enumerate(sorted(set("".join(texts))), start=1)}
        self.said = "".join(text for text in texts if not SPECIAL.fullmatch(text))
        labels = [self.numbers[character] for text in texts for character in text]
        begins = np.array([place > 0 and piece.startswith(MARK) for place, piece in enumerate(pieces)], np.bool_)
        self.letters = Letters(
            start=np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64),
            label=np.array(labels, np.int32),
            begins_word=begins,
            separator=pieces.index(MARK, 1) if MARK in pieces[1:] else NOWHERE,
        )

    def missing(self, word: str) -> list[str]:
        """The characters of a word that no token has."""
        return sorted(set(word) - set(self.numbers))

    def normalise(self, text: str) -> str:
        """The text in the case of the alphabet, where that has only one."""
        if self.said == self.said.upper() != self.said.lower():
            return text.upper()
        return text.lower() if self.said == self.said.lower() != self.said.upper() else text

    def tree(self, words: Sequence[str], numbers: Sequence[int]) -> Spelling:
        """The tree of the words that the alphabet can spell; where one ends stands its number."""
        spelled = {word: number for word, number in zip(words, numbers, strict=True) if word and not self.missing(word)}
        ordered = sorted((tuple(map(self.numbers.__getitem__, word)), number) for word, number in spelled.items())
        longest = max((len(letters) for letters, _ in ordered), default=0)
        table = np.zeros((len(ordered), longest), np.int32)
        for row, (letters, _) in enumerate(ordered):
            table[row, : len(letters)] = letters
        return _tree(table, np.array([number for _, number in ordered], np.int32))


def _tree(table: np.ndarray, numbers: np.ndarray) -> Spelling:
    """The tree of words as sorted rows (N, L) of letters, filled up with 0.

    States are numbered level by level, and within a level in the order of the rows, so that the children of a state are
    neighbours, and so are their arcs.
    """
    N, L = table.shape
    parents, labels, states, count = [], [], np.zeros(N, np.int64), 1
    differs = np.zeros(N, np.bool_)
    differs[:1] = True
    word_state = np.zeros(N, np.int64)
    for level in range(L):
        letters = table[:, level]
        differs[1:] |= letters[1:] != letters[:-1]
        first = differs & (letters > 0)
        parents.append(states[first])
        labels.append(letters[first])
        states = np.where(letters > 0, count + np.cumsum(first) - 1, 0)
        word_state = np.where(letters > 0, states, word_state)
        count += int(first.sum())
    parent = np.concatenate([*parents, np.zeros(0, np.int64)])
    start = np.searchsorted(parent, np.arange(count + 1)).astype(np.int64)
    label = np.concatenate([*labels, np.zeros(0, np.int32)]).astype(np.int32)
    word = np.full(count, NOWHERE, np.int32)
    word[word_state] = numbers
    follows = np.zeros(count, np.int64)
    np.bitwise_or.at(follows, parent, np.int64(1) << (label.astype(np.int64) & 63))
    return Spelling(Arcs(start, label, np.arange(1, count, dtype=np.int32)), word, follows)
