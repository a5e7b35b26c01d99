"""Driving the compiled CTC search: utterances over threads, and one utterance in chunks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toolkit.decoders.ctc_compiled import feed, finish, plant, shared, tokens_of
from toolkit.decoders.ctc_tables import NODE, PLACE, PROGRESS, FusionTables, Pruning, Search


class CompiledSearch:
    """One utterance being searched, in memory that grows with its transcript and not with its frames."""

    def __init__(self, pruning: Pruning, fusion: FusionTables) -> None:
        self.pruning, self.fusion = pruning, fusion
        K = pruning.beam_size
        self.search = Search(np.empty(16 * K, NODE), np.empty(K, PLACE), np.zeros(1, PROGRESS))
        plant(self.search, fusion)

    def feed(self, log_probs: Tensor, frames: Tensor) -> None:
        """Move the search over the frames of (1, S, V) within ``frames`` (1,)."""
        self.read(in_double(log_probs, frames.tolist())[0])

    def read(self, log_probs: NDArray[np.float64]) -> None:
        """Move the search over frames (T, V)."""
        self.search = feed(log_probs, self.search, self.pruning, self.fusion)

    def finish(self, topk: int) -> list[list[tuple[list[int], float]]]:
        """Tokens and scores of the best ``topk`` transcripts, best first; none if all are impossible."""
        return [[(tokens, score) for tokens, score, _ in self.ranked(topk)]]

    def ranked(self, topk: int) -> list[tuple[list[int], float, float]]:
        """Their tokens, scores, and the part of the scores that is CTC's."""
        logps, scores = finish(self.search, self.fusion)
        order = np.argsort(-scores, kind="stable")[:topk]
        possible = [slot for slot in order.tolist() if scores[slot] > -math.inf]
        nodes = self.search.beam["node"]
        return [(self._tokens(nodes[slot]), float(scores[slot]), float(logps[slot])) for slot in possible]

    def prefixes(self) -> list[list[int]]:
        """The best prefix, and the one that all in the beam begin with; none if all are impossible."""
        beam = self.search.beam[: self.search.progress["active"][0]]
        if not len(beam):
            return []
        nodes = self.search.nodes[beam["node"]]
        best = np.argmax(beam["total"] + nodes["settled"] + nodes["pending"])
        return [self._tokens(beam["node"][best]), self._tokens(shared(self.search))]

    def _tokens(self, node: int) -> list[int]:
        return tokens_of(self.search.nodes, int(node)).tolist()


def search_all(
    utterances: Sequence[NDArray[np.float64]], pruning: Pruning, fusion: FusionTables
) -> list[CompiledSearch]:
    """Every utterance (T, V) searched to its end, in as many threads as torch uses."""

    def searched(log_probs: NDArray[np.float64]) -> CompiledSearch:
        search = CompiledSearch(pruning, fusion)
        search.read(log_probs)
        return search

    threads = min(torch.get_num_threads(), len(utterances))
    if threads < 2:
        return [searched(log_probs) for log_probs in utterances]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(searched, utterances))


def in_double(log_probs: Tensor, counts: Sequence[int]) -> list[NDArray[np.float64]]:
    """The first frames, as many as ``counts`` says, of each utterance of (B, S, V), on the CPU and without gaps."""
    everything = np.ascontiguousarray(log_probs.double().cpu().numpy())
    return [rows[:count] for rows, count in zip(everything, counts, strict=True)]
