"""CTC search of one utterance whose frames arrive in chunks, with the answer of the whole and partial ones before it.

::

    stream = searcher.stream()
    for chunk in chunks:                  # (T, V) log-probabilities of the next frames, however many
        stream.feed(chunk)
        print(tokenizer.decode(stream.partial().tokens))
    best = stream.finish()[0]
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from toolkit.decoders.ctc_alignment import aligned
from toolkit.decoders.ctc_frames import check_numbers
from toolkit.decoders.ctc_native import CompiledSearch
from toolkit.decoders.ctc_tensor import TensorSearch
from toolkit.decoders.hypothesis import Hypothesis, possible
from toolkit.decoders.scorers import full_precision, soften


@dataclass(frozen=True)
class Partial:
    """What was understood so far: the best tokens, the first ``stable`` of which nothing to come can change."""

    tokens: list[int]
    stable: int


class CTCGreedyStream:
    """`CTCGreedySearcher` over chunks."""

    def __init__(self) -> None:
        self._tokens: list[int] = []
        self._last, self._score = 0, 0.0

    def feed(self, log_probs: Tensor) -> None:
        """Take the next frames (T, V), of any number."""
        logp, path = full_precision(log_probs).max(dim=-1)
        before = torch.cat([path.new_tensor([self._last]), path])
        self._tokens += path[(path != 0) & (path != before[:-1])].tolist()
        self._last, self._score = int(before[-1]), self._score + logp.sum().item()

    def partial(self) -> Partial:
        """The tokens so far, all of which stay."""
        return Partial(list(self._tokens), len(self._tokens))

    def finish(self) -> list[Hypothesis]:
        """The one hypothesis."""
        return [Hypothesis(list(self._tokens), self._score)]


@dataclass(eq=False)
class CTCPrefixStream:
    """`CTCPrefixSearcher` over chunks; made by its ``stream()``.

    Parameters
    ----------
    begin
        Makes the search, given the first frames (1, T, V).
    topk, temperature, align
        Options of the searcher. Only with ``align`` are frames kept.
    """

    begin: Callable[[Tensor], CompiledSearch | TensorSearch]
    topk: int
    temperature: float
    align: bool
    _search: CompiledSearch | TensorSearch | None = None
    _kept: list[Tensor] = field(default_factory=list)
    _frames: int = 0

    @torch.no_grad()
    def feed(self, log_probs: Tensor) -> None:
        """Take the next frames (T, V) of log-probabilities, of any number.

        Raises
        ------
        ModelError
            They hold NaN, or are of another vocabulary than fusion or language model.
        """
        log_probs = soften(log_probs, self.temperature)[None]
        frames = torch.tensor([log_probs.shape[1]], device=log_probs.device)
        check_numbers(log_probs, frames)
        self._frames += log_probs.shape[1]
        if self._search is None:
            self._search = self.begin(log_probs)
        self._search.feed(log_probs, frames)
        if self.align:
            self._kept.append(log_probs[0].double().cpu())

    def partial(self) -> Partial:
        """The best prefix so far, and how much of it all prefixes share."""
        prefixes = self._search.prefixes() if self._search else []
        if not prefixes:
            return Partial([], 0)
        return Partial(prefixes[0], sum(1 for _ in itertools.takewhile(_alike, zip(*prefixes, strict=False))))

    def finish(self) -> list[Hypothesis]:
        """What the searcher would have found in all frames at once. More frames may follow nevertheless."""
        found = self._search.finish(self.topk)[0] if self._search else []
        best = possible(found, self._frames)
        return [aligned(one, torch.cat(self._kept).numpy()) for one in best] if self.align and self._frames else best


def _alike(tokens: tuple[int, ...]) -> bool:
    """Whether all are the same."""
    return tokens.count(tokens[0]) == len(tokens)
