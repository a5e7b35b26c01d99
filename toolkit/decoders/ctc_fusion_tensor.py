"""What a `CTCFusion` adds to the prefixes of CTC search in tensors: the same scores as those in `ctc_compiled`.

What is remembered of a prefix is a few numbers: where it is in the n-grams, in the tree of the vocabulary's words and
in the hotword automaton. The answer for all extensions of all prefixes is gathers and binary searches in sorted arcs,
one for each letter of the longest token and each word that an n-gram backs off by. Nothing waits for a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from toolkit.decoders.ctc_fusion_tables import FusionTensors
from toolkit.decoders.ctc_tables import NOWHERE, UNIT


@dataclass(frozen=True)
class Prefixes:
    """What is remembered of prefixes, tensors (B, K) or, of their extensions, (B, K, C); see NODE in `ctc_tables`."""

    letters: Tensor
    spelling: Tensor
    spelled: Tensor
    phrase: Tensor
    token_state: Tensor
    word_state: Tensor
    word_score: Tensor
    word_next: Tensor
    pending: Tensor  # without what phrases promise, which their table adds and takes back

    def each(self, change: Callable[..., Tensor], *others: Prefixes) -> Prefixes:
        """What a function makes of each tensor, and of those of others."""
        return Prefixes(*map(change, *(vars(prefixes).values() for prefixes in (self, *others))))


class TensorFusion:
    """The fusion scores of the B x K prefixes of a beam."""

    def __init__(self, tables: FusionTensors, *, slots: Tensor, dtype: torch.dtype) -> None:
        """Begin with empty prefixes in a beam of the shape and on the device of ``slots`` (B, K)."""
        self.tables, self.weights, letters = tables, tables.weights, tables.letters
        none, zero = torch.zeros_like(slots), torch.zeros_like(slots, dtype=dtype)
        words = none + tables.words.begin if self.weights.words else none
        tokens = none + tables.tokens.begin if self.weights.tokens else none
        if self.weights.tokens and tables.separator != NOWHERE:
            # texts begin with a separator, which is no token of the prefix but was one where the n-gram was trained
            tokens = tables.tokens.look_up(tokens, none + tables.separator)[1]
        self.longest = letters.label.shape[1]
        empty = Prefixes(none, none, zero, none + tables.phrases.begin, tokens, words, zero, words, zero)
        self.prefixes = self._completed(empty)

    def score(self, candidates: Tensor) -> Tensor:
        """What the extension of each prefix by each candidate (B, C) gains: (B, K, C)."""
        return self._extended(self._in_rows(self.prefixes), candidates[:, None, :])[0]

    @torch.inference_mode()
    def advance(self, parents: Tensor, tokens: Tensor) -> None:
        """Take the prefixes from the slots ``parents`` (B, K), followed by ``tokens`` (B, K) where these are not 0."""
        before = self.prefixes.each(lambda tensor: tensor.gather(1, parents))
        _, after = self._extended(self._in_rows(before), tokens[:, :, None])
        chosen = before.each(lambda old, new: torch.where(tokens == 0, old, new.squeeze(2)), after)
        self.prefixes = self._completed(chosen)

    def end(self) -> Tensor:
        """What ending each prefix gains (B, K)."""
        weights, prefixes = self.weights, self.prefixes
        gain = self.tables.phrases.end[prefixes.phrase]
        if weights.words:
            inside = prefixes.letters > 0
            gain = gain + torch.where(inside, prefixes.word_score - prefixes.pending, 0.0)
            if weights.boundaries:
                state = torch.where(inside, prefixes.word_next, prefixes.word_state)
                gain = gain + weights.alpha * self.tables.words.end(state)
        elif weights.tokens and weights.boundaries:
            gain = gain + weights.token_weight * self.tables.tokens.end(prefixes.token_state)
        return gain

    @staticmethod
    def _in_rows(prefixes: Prefixes) -> Prefixes:
        """Prefixes (B, K) as (B, K, 1), beside candidates (B, K, C)."""
        return prefixes.each(lambda tensor: tensor[:, :, None])

    def _extended(self, before: Prefixes, tokens: Tensor) -> tuple[Tensor, Prefixes]:
        """What prefixes (B, K, 1) gain by tokens (B, 1 or K, C), and what they are then; but for ``_completed``."""
        weights, gain = self.weights, 0.0
        begins = self.tables.letters.begins_word[tokens]
        letters = before.letters.masked_fill(begins, 0) + self.tables.letters.count[tokens]
        after = replace(before, letters=letters)
        if weights.phrases:
            gain = self.tables.phrases.gain[before.phrase, tokens]
            after = replace(after, phrase=self.tables.phrases.next[before.phrase, tokens].long())
        if weights.tokens:
            logp, state = self.tables.tokens.look_up(before.token_state, tokens)
            spelled = torch.where(begins, 0.0, before.spelled) + weights.token_weight * logp
            after = replace(after, token_state=state, spelled=spelled)
            if not weights.words:
                gain = gain + weights.token_weight * logp
        if weights.words:
            completes = begins & (before.letters > 0)
            after = replace(
                after,
                word_state=torch.where(completes, before.word_next, before.word_state),
                spelling=self._spelling(torch.where(begins, 0, before.spelling), tokens),
            )
            after = replace(after, pending=self._pending(after))
            gain = gain + torch.where(completes, before.word_score, 0.0) + after.pending - before.pending
        return gain, after

    def _spelling(self, states: Tensor, tokens: Tensor) -> Tensor:
        """The states of the vocabulary's tree after the letters of tokens."""
        for place in range(self.longest):
            label = self.tables.letters.label[tokens, place]
            states = torch.where(label == NOWHERE, states, self.tables.tree.follow(states, label))
        return states

    def _pending(self, prefixes: Prefixes) -> Tensor:
        """What the unfinished words of prefixes add."""
        unknown = self.weights.unknown_part * _stretch(prefixes.letters)
        score = prefixes.spelled + torch.where(prefixes.spelling == NOWHERE, unknown, 0.0)
        return torch.where(prefixes.letters > 0, score, 0.0)

    def _completed(self, prefixes: Prefixes) -> Prefixes:
        """The prefixes with what completing the word that each ends in would add, and where that would lead.

        Impossible ones, which no one extends any more, count as pending 0: a difference to ``-inf`` is no number.
        """
        if not self.weights.words:
            return prefixes
        weights, word = self.weights, self.tables.tree.word[prefixes.spelling]
        logp, following = self.tables.words.look_up(prefixes.word_state, word.clamp(min=0))
        unknown = weights.unknown * (_stretch(prefixes.letters) if weights.unknown_by_length else 1.0)
        score = weights.alpha * logp + weights.beta + torch.where(word == NOWHERE, unknown + prefixes.spelled, 0.0)
        pending = prefixes.pending.masked_fill(prefixes.pending == -math.inf, 0.0)
        return replace(prefixes, word_score=score, word_next=following, pending=pending)


def _stretch(letters: Tensor) -> Tensor:
    """How many times the penalty an unknown word of so many letters pays."""
    return (letters / UNIT).clamp(min=1.0)
