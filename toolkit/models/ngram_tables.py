"""An n-gram model's automaton on a device: all tokens after many states at once.

`DenseTable` holds the row of each state, S x V numbers: one gather answers a beam. `CompactTable` holds the arcs, and
puts the rows together from the empty context to the longest, a scatter for each length.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.models.ngram import NgramModel
from toolkit.models.state import waiting_costs

BYTES_PER_ENTRY = 8  # of a dense table: a log-probability and a state


class DenseTable(nn.Module):
    """Log-probabilities and next states of V tokens in all S states, written out."""

    def __init__(self, model: NgramModel, words: np.ndarray) -> None:
        """Take the tokens' word ids (V,)."""
        super().__init__()
        arcs, tokens = _token_arcs(model, words)
        source = model.arc_source[arcs]
        logp = np.zeros((model.states, len(words)), dtype=np.float32)
        following = np.zeros((model.states, len(words)), dtype=np.int32)
        for states in _by_backing_off(model):
            logp[states] = logp[model.backoff_state[states]] + model.backoff_logp[states, None]
            following[states] = following[model.backoff_state[states]]
            own = np.isin(source, states)
            logp[source[own], tokens[own]] = model.arc_logp[arcs[own]]
            following[source[own], tokens[own]] = model.arc_next[arcs[own]]
        self.register_buffer("logp", torch.from_numpy(logp), persistent=False)
        self.register_buffer("following", torch.from_numpy(following), persistent=False)

    def log_probs(self, states: Tensor) -> Tensor:
        """(N,) states -> (N, V) log-probabilities of each token."""
        return self.logp.index_select(0, states)

    def advance(self, states: Tensor, tokens: Tensor) -> Tensor:
        """The states (N,) after tokens (N,) in states (N,)."""
        return self.following[states, tokens].long()

    def look_up(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The log-probabilities of tokens in states, of any one shape, and the states after them."""
        return self.logp[states, tokens], self.following[states, tokens].long()


class CompactTable(nn.Module):
    """The arcs of the model, sorted by state and token; those of the empty context are rows of their own."""

    def __init__(self, model: NgramModel, words: np.ndarray) -> None:
        """Take the tokens' word ids (V,)."""
        super().__init__()
        self.depth = len(list(_by_backing_off(model))) - 1
        arcs, tokens = _token_arcs(model, words)
        arcs, tokens = arcs[model.arc_source[arcs] > 0], tokens[model.arc_source[arcs] > 0]
        source = model.arc_source[arcs]
        order = np.lexsort((tokens, source))
        arcs, tokens, source = arcs[order], tokens[order], source[order]
        last = model.states * len(words)  # a key after all others, that nothing asks for
        arrays = {
            "empty_logp": model.arc_logp[words],
            "empty_next": model.arc_next[words].astype(np.int64),
            "start": np.searchsorted(source, np.arange(model.states + 1)),
            "token": tokens,
            "logp": np.append(model.arc_logp[arcs], np.float32(0.0)),
            "following": np.append(model.arc_next[arcs], 0).astype(np.int64),
            "key": np.append(source * len(words) + tokens, last),
            "backoff_logp": model.backoff_logp,
            "backoff_state": model.backoff_state.astype(np.int64),
        }
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(array), persistent=False)

    def log_probs(self, states: Tensor) -> Tensor:
        """(N,) states -> (N, V) log-probabilities of each token."""
        if waiting_costs(states.device):  # for the number of arcs
            return self.look_up(states[:, None], torch.arange(len(self.empty_logp), device=states.device))[0]
        rows = self.empty_logp.repeat(len(states), 1)
        for suffixes in reversed(self._suffixes(states)):
            rows += self.backoff_logp[suffixes, None]
            row, arcs = self._arcs(suffixes)
            rows[row, self.token[arcs]] = self.logp[arcs]
        return rows

    def advance(self, states: Tensor, tokens: Tensor) -> Tensor:
        """The states (N,) after tokens (N,) in states (N,)."""
        return self.look_up(states, tokens)[1]

    def look_up(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The log-probabilities of tokens in states, of any one shape, and the states after them."""
        logp, following = self.empty_logp[tokens], self.empty_next[tokens]
        for suffixes in reversed(self._suffixes(states)):
            keys = suffixes * len(self.empty_logp) + tokens
            arcs = torch.searchsorted(self.key, keys)
            found = self.key[arcs] == keys
            logp = torch.where(found, self.logp[arcs], logp + self.backoff_logp[suffixes])
            following = torch.where(found, self.following[arcs], following)
        return logp, following

    def _suffixes(self, states: Tensor) -> list[Tensor]:
        """The states (N,), then those that they back off to, and so on down to the last before the empty context."""
        suffixes = [states]
        for _ in range(self.depth - 1):
            suffixes.append(self.backoff_state[suffixes[-1]])
        return suffixes

    def _arcs(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """The arcs of all states (N,), one after the other: whose it is (in 0 ... N - 1), and its number."""
        counts = self.start[states + 1] - self.start[states]
        row = torch.repeat_interleave(torch.arange(len(states), device=states.device), counts)
        before = counts.cumsum(0) - counts
        return row, torch.arange(len(row), device=states.device) + (self.start[states] - before)[row]


def fastest_table(model: NgramModel, words: np.ndarray, megabytes: int) -> DenseTable | CompactTable:
    """The rows of all states written out if that takes no more memory, else the arcs."""
    dense = model.states * len(words) * BYTES_PER_ENTRY <= megabytes << 20
    return (DenseTable if dense else CompactTable)(model, words)


def _token_arcs(model: NgramModel, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The arcs whose words are tokens, and these tokens."""
    tokens = np.full(len(model.words), -1)
    tokens[words] = np.arange(len(words))
    arcs = np.flatnonzero(tokens[model.arc_word] >= 0)
    return arcs, tokens[model.arc_word[arcs]]


def _by_backing_off(model: NgramModel) -> Iterator[np.ndarray]:
    """The empty context, the states that back off to it, those that back off to these, and so on."""
    steps, state = np.zeros(model.states, dtype=np.int64), np.arange(model.states)
    while state.any():
        steps += state > 0
        state = model.backoff_state[state]
    for count in range(steps.max() + 1):
        yield np.flatnonzero(steps == count)
