"""Hotwords in label-synchronous search: phrases that are likely to be said, as an automaton over tokens."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from toolkit.decoders.scorers import Extension, SearchStart
from toolkit.errors import ConfigError, ModelError

logger = logging.getLogger(__name__)

UNKNOWN = 0


class Encoder(Protocol):
    """The part of a tokenizer that is needed to read phrases."""

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""


@dataclass
class Phrases:
    """The automaton of Aho and Corasick (1975), which follows all phrases at once. Its state 0 is the beginning.

    A state's arcs are those of its node and of all suffixes of it; those of state 0, which every state has unless it
    has others of the same token, are left out.
    """

    first: dict[int, int]  # the arcs of state 0: token -> state
    arcs: list[dict[int, int]]  # of each state
    promise: list[float]  # tokens of phrases that are begun, and count only if these are completed
    reward: list[float]  # tokens of phrases that are completed here


class HotwordScorer:
    """1 for each token of a phrase, taken back when the phrase breaks off; its weight is the bonus in nats.

    Parameters
    ----------
    phrases
        Texts, in the tokenizer's case, or tokens. A text that the tokenizer cannot spell is left out with a warning
        that names it. Unlike in CTC search (`toolkit.decoders.hotwords`), a phrase also counts inside a longer word.
    tokenizer
        What makes tokens of texts. A phrase is tokenised as if it stood alone, which for SentencePiece is how it is
        tokenised inside of a sentence, too, but for unigram models that prefer pieces across its edges.

    Raises
    ------
    ConfigError
        A text is given, but no tokenizer; a phrase is empty; phrases are no list.
    """

    name = "hotword"

    def __init__(self, phrases: Iterable[str | Sequence[int]], tokenizer: Encoder | None = None) -> None:
        if isinstance(phrases, str):
            raise ConfigError(f"hotwords must be a list of phrases, got the text {phrases!r}")
        spelled = {phrase: _tokens(phrase, tokenizer) for phrase in map(_key, phrases)}
        for phrase in [phrase for phrase, tokens in spelled.items() if UNKNOWN in tokens]:
            logger.warning("hotword %r is left out: the tokenizer cannot spell it", phrase)
            del spelled[phrase]
        self.phrases = phrase_automaton(spelled.values())
        self.most = max(map(sum, zip(self.phrases.promise, self.phrases.reward, strict=True)))

    def start(self, search: SearchStart) -> HotwordState:
        """All at the beginning; the tables are built here, as the number of tokens is known now."""
        table = _table(self.phrases, search)
        return HotwordState(table, torch.zeros(len(search.frames), dtype=torch.int64, device=search.frames.device))

    def score(self, state: HotwordState, candidates: Tensor | None = None) -> Tensor:
        """What each token promises and completes, less what it breaks."""
        table, nodes = state.table, state.nodes
        targets = table.first.expand(len(nodes), -1).scatter(1, table.tokens[nodes], table.targets[nodes])
        scores = table.value[targets] - table.promise[nodes][:, None]
        scores[:, table.eos] = self.end(state)
        return scores if candidates is None else scores.gather(1, candidates)

    def end(self, state: HotwordState) -> Tensor:
        """Nothing more can be completed."""
        return -state.table.promise[state.nodes]

    def advance(self, state: HotwordState, extension: Extension) -> HotwordState:
        """The next state of each."""
        table, nodes, tokens = state.table, state.nodes[extension.hypotheses], extension.tokens[:, None]
        targets = table.first.expand(len(nodes), -1).scatter(1, table.tokens[nodes], table.targets[nodes])
        return HotwordState(table, targets.gather(1, tokens).squeeze(1))


@dataclass(frozen=True)
class HotwordTable:
    """The automaton in tensors: S states, at most D arcs of each but those of state 0, which stand in ``first``."""

    first: Tensor  # (V,) where each token leads from the beginning
    tokens: Tensor  # (S, D); unused ones repeat the arc of token 0 in ``first``
    targets: Tensor  # (S, D)
    promise: Tensor  # (S,)
    value: Tensor  # (S,) promise and reward
    eos: int


@dataclass(frozen=True)
class HotwordState:
    """Where in the automaton each hypothesis is."""

    table: HotwordTable
    nodes: Tensor  # (N,)


def phrase_automaton(phrases: Iterable[Sequence[int]]) -> Phrases:
    """The automaton that pays 1 for each token of a phrase."""
    children, promise, reward = [{}], [0.0], [0.0]
    for phrase in sorted(phrases, key=len):
        state = paid = 0
        for depth, token in enumerate(phrase, start=1):
            if token not in children[state]:
                children[state][token] = len(children)
                children.append({})
                promise.append(float(depth - paid))
                reward.append(0.0)
            state = children[state][token]
            paid = depth if reward[state] else paid
        if paid < len(phrase):  # else it was given twice
            reward[state], promise[state] = float(len(phrase) - paid), 0.0
    return _with_suffixes(children, promise, reward)


def _with_suffixes(children: list[dict[int, int]], promise: list[float], reward: list[float]) -> Phrases:
    """The automaton of a tree: each state takes over the arcs, promises and rewards of its longest suffix in it."""
    first, suffix = children[0], [0] * len(children)
    arcs: list[dict[int, int]] = [{} for _ in children]
    waiting = deque(first.values())
    while waiting:
        state = waiting.popleft()
        arcs[state] = arcs[suffix[state]] | children[state]
        promise[state] = max(promise[state], promise[suffix[state]])
        reward[state] += reward[suffix[state]]
        for token, target in children[state].items():
            suffix[target] = arcs[suffix[state]].get(token, first.get(token, 0))
            waiting.append(target)
    return Phrases(first, arcs, promise, reward)


def _table(phrases: Phrases, search: SearchStart) -> HotwordTable:
    largest = max((token for arcs in (phrases.first, *phrases.arcs) for token in arcs), default=0)
    if largest >= search.vocabulary:
        raise ModelError(f"a hotword has the token {largest}, but the decoder predicts {search.vocabulary} tokens only")
    first = torch.zeros(search.vocabulary, dtype=torch.int64)
    for token, target in phrases.first.items():
        first[token] = target
    tokens = torch.zeros(len(phrases.arcs), max(1, *map(len, phrases.arcs), 1), dtype=torch.int64)
    targets = torch.zeros_like(tokens)
    for state, arcs in enumerate(phrases.arcs):
        tokens[state, : len(arcs)] = torch.tensor(list(arcs), dtype=torch.int64)
        targets[state, : len(arcs)] = torch.tensor(list(arcs.values()), dtype=torch.int64)
    promise, reward = torch.tensor(phrases.promise), torch.tensor(phrases.reward)
    parts = (part.to(search.frames.device) for part in (first, tokens, targets, promise, promise + reward))
    return HotwordTable(*parts, eos=search.eos_index)


def _key(phrase: str | Sequence[int]) -> str | tuple[int, ...]:
    return phrase if isinstance(phrase, str) else tuple(phrase)


def _tokens(phrase: str | tuple[int, ...], tokenizer: Encoder | None) -> list[int]:
    if isinstance(phrase, str) and tokenizer is None:
        raise ConfigError(f"the hotword {phrase!r} is a text: give a tokenizer, too")
    tokens = tokenizer.encode(phrase) if isinstance(phrase, str) else list(phrase)
    if not tokens:
        raise ConfigError(f"the hotword {phrase!r} is empty")
    return tokens
