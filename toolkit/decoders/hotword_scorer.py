"""Hotwords in label-synchronous search: the phrases, and the automaton, of CTC search."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from toolkit.decoders.hotwords import PhraseTable, known_phrases, phrase_automaton, phrase_table
from toolkit.decoders.scorers import Extension, SearchStart
from toolkit.decoders.spelling import Alphabet, HasPieces, pieces_of
from toolkit.errors import ConfigError, ModelError


class HotwordScorer:
    """1 for each word of a phrase, letter by letter, taken back when it breaks off; its weight is the bonus in nats.

    What a phrase is, and when it counts, is the same as in `CTCFusion`: in the case of the tokens, between spaces.

    Parameters
    ----------
    phrases
        Texts. One that the tokens cannot spell is left out with a warning that names it.
    tokenizer
        Of the recogniser, or the list of its tokens: a space is ``▁``.

    Raises
    ------
    ConfigError
        The phrases are no list.
    """

    name = "hotword"

    def __init__(self, phrases: Collection[str], tokenizer: HasPieces | Sequence[str]) -> None:
        if isinstance(phrases, str):
            raise ConfigError(f"hotwords must be a list of phrases, got the text {phrases!r}")
        alphabet = Alphabet(pieces_of(tokenizer))
        automaton = phrase_automaton(known_phrases(phrases, alphabet), alphabet, weight=1.0)
        self.table = phrase_table(automaton, alphabet.letters)
        self.most = max(self.table.gain.max().item(), self.table.end.max().item())

    def start(self, search: SearchStart) -> HotwordState:
        """All at the beginning of a word."""
        tokens = self.table.gain.shape[1]
        if tokens != search.vocabulary:
            raise ModelError(
                f"the decoder predicts {search.vocabulary} tokens, but the hotwords were given a tokenizer of {tokens}"
                ": both must be those of one training"
            )
        device = search.frames.device
        nodes = torch.full((len(search.frames),), self.table.begin, dtype=torch.int64, device=device)
        return HotwordState(self.table.to(device), nodes, search.eos_index)

    def score(self, state: HotwordState, candidates: Tensor | None = None) -> Tensor:
        """What each token promises and earns, less what it breaks."""
        if candidates is not None:
            return state.table.gain[state.nodes[:, None], candidates]
        scores = state.table.gain[state.nodes]
        scores[:, state.eos] = self.end(state)
        return scores

    def end(self, state: HotwordState) -> Tensor:
        """What is earned here, less what was promised."""
        return state.table.end[state.nodes]

    def advance(self, state: HotwordState, extension: Extension) -> HotwordState:
        """The next state of each."""
        nodes = state.table.next[state.nodes[extension.hypotheses], extension.tokens].long()
        return HotwordState(state.table, nodes, state.eos)


@dataclass(frozen=True)
class HotwordState:
    """Where in the automaton each hypothesis is."""

    table: PhraseTable
    nodes: Tensor  # (N,)
    eos: int
