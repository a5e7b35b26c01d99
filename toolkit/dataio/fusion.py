"""Several samplers as one: their batches in turns, at random by weight, or side by side.

Lhotse's RoundRobinSampler steps over batches where there are workers, and its samplers begin anew whenever they are
asked for an iterator. Here each sampler is asked once an epoch, at the place where its turns have brought it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

import numpy as np

from toolkit.dataio.epochs import SeekableSampler
from toolkit.dataio.plan import generator

# Epochs of endless data that one epoch of the others may take, at most, with ``zip``.
_EPOCHS = 1 << 20

# Turns that are drawn at a time: so many take 1 ms.
_BLOCK = 1 << 16

Keys = list[tuple[str, Any]]


class FusedSampler(SeekableSampler):
    """[(name, what its sampler yields), ...] of each batch, the same names on all ranks.

    Parameters
    ----------
    samplers
        By name; those of weight 0 are left out.
    fusion
        ``round_robin``: in turns; ``randomized_round_robin``: at random by weight; both until all have ended, or, where
        one never ends, for ever: then the others are repeated. ``zip``: a batch of each together, until one has ended.
    weights
        By name; all the same by default.
    seed
        Of the choice.
    """

    def __init__(
        self, samplers: Mapping[str, SeekableSampler], fusion: str, weights: Mapping[str, float] | None, seed: int
    ) -> None:
        super().__init__()
        self.weights = {name: 1.0 if weights is None else weights[name] for name in samplers}
        self.samplers = {name: sampler for name, sampler in samplers.items() if self.weights[name] > 0}
        self.fusion, self.seed = fusion, seed
        never_end = [sampler.endless for sampler in self.samplers.values()]
        self.endless = all(never_end) if fusion == "zip" else any(never_end)
        if self.endless:
            for sampler in self.samplers.values():
                sampler.endless = True

    def batches(self, epoch: int, skipped: int = 0) -> Iterator[Keys]:
        """From batch number ``skipped`` of ``epoch`` on."""
        if self.fusion != "zip":
            return self._in_turns(epoch, skipped)
        # Endless samplers go on in every epoch of the others: about where no epoch before has been.
        epochs = {name: epoch * _EPOCHS if one.endless else epoch for name, one in self.samplers.items()}
        drawn = zip(*(one.batches(epochs[name], skipped) for name, one in self.samplers.items()), strict=False)
        return (list(zip(self.samplers, ones, strict=True)) for ones in drawn)

    def count(self, epoch: int) -> int:
        """Batches of a whole epoch: the sum of those of all samplers, or with ``zip`` the fewest."""
        if self.endless:
            raise TypeError("endless data has no number of batches; force_finite: true gives it an end")
        counts = [sampler.count(epoch) for sampler in self.samplers.values() if not sampler.endless]
        return min(counts) if self.fusion == "zip" else sum(counts)

    @property
    def epoch_sizes(self) -> dict[str, Any]:
        """By name of the sampler."""
        return {name: sampler.epoch_sizes for name, sampler in self.samplers.items()}

    def recall(self, epoch_sizes: Mapping[str, Any]) -> None:
        """Know what a sampler of the same batches knew."""
        for name, sizes in epoch_sizes.items():
            self.samplers[name].recall(sizes)

    def _in_turns(self, epoch: int, skipped: int) -> Iterator[Keys]:
        try:
            counts = np.array([math.inf if one.endless else one.count(epoch) for one in self.samplers.values()])
        except TypeError:  # nobody knows when a stream ends, and so whose turn it is then, until it is read
            yield from islice(self._in_turns_from(epoch, self._turns(epoch)), skipped, None)
            return
        taken, turns = self._skip(self._turns(epoch), counts, skipped)
        yield from self._in_turns_from(epoch, turns, taken.tolist())

    def _in_turns_from(self, epoch: int, turns: Iterator[np.ndarray], taken: list[int] | None = None) -> Iterator[Keys]:
        """Batches by turns, of samplers that have given so many; turns of those that have ended are passed over."""
        taken, names = taken or [0] * len(self.samplers), list(self.samplers)
        running = {
            number: sampler.batches(epoch, skipped)
            for number, (sampler, skipped) in enumerate(zip(self.samplers.values(), taken, strict=True))
        }
        for number in chain.from_iterable(block.tolist() for block in turns):
            if number in running:
                try:
                    yield [(names[number], next(running[number]))]
                except StopIteration:
                    del running[number]
            if len(running) < 2:  # nobody to wait for
                yield from ([(names[last], one)] for last, batches in running.items() for one in batches)
                return

    def _turns(self, epoch: int) -> Iterator[np.ndarray]:
        """Blocks of numbers of samplers, for ever."""
        weights, rng = np.array([self.weights[name] for name in self.samplers]), generator(self.seed, epoch)
        while True:
            if self.fusion == "round_robin":
                yield np.tile(np.arange(len(weights)), _BLOCK)
            else:
                yield rng.choice(len(weights), _BLOCK, p=weights / weights.sum())

    def _skip(
        self, turns: Iterator[np.ndarray], counts: np.ndarray, skipped: int
    ) -> tuple[np.ndarray, Iterator[np.ndarray]]:
        """What each sampler has given after so many batches, and the turns from there on."""
        taken = np.zeros(len(counts), np.int64)
        while skipped and np.count_nonzero(taken < counts) > 1:
            block = next(turns)
            given = [np.flatnonzero(block == number) for number in range(len(counts))]
            given = [places[: int(min(len(places), left))] for places, left in zip(given, counts - taken, strict=True)]
            places = np.sort(np.concatenate(given))[:skipped]
            taken += np.bincount(block[places], minlength=len(counts))
            skipped -= len(places)
            if not skipped:
                return taken, chain([block[places[-1] + 1 :]], turns)
        taken[taken < counts] += skipped  # of the only one that is left
        return taken, turns
