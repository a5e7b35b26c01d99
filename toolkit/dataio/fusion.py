"""Several samplers as one: their batches in turns, at random by weight, or side by side.

Lhotse's RoundRobinSampler steps over batches where there are workers, and its samplers begin anew whenever they are
asked for an iterator. Here each sampler is asked once an epoch.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from toolkit.dataio.epochs import SeekableSampler

# Epochs of endless data that one epoch of the others may take, at most.
_EPOCHS = 1 << 20

Keys = list[tuple[str, Any]]


class FusedSampler(SeekableSampler):
    """[(name, what its sampler yields), ...] of each batch, the same names on all ranks.

    Parameters
    ----------
    samplers
        By name; those of weight 0 are left out.
    fusion
        ``round_robin``: in turns; ``randomized_round_robin``: at random by weight; both until all have ended.
        ``zip``: a batch of each together, until one has ended.
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
        ends = [not sampler.endless for sampler in self.samplers.values()]
        self.endless = not any(ends) if fusion == "zip" else not all(ends)

    def batches(self, epoch: int, skipped: int = 0) -> Iterator[Keys]:
        """From batch number ``skipped`` of ``epoch`` on."""
        return islice(self._fused(epoch), skipped, None)

    def count(self, epoch: int) -> int:
        """Batches of a whole epoch: the sum of those of all samplers, or with ``zip`` the fewest."""
        if self.endless:
            raise TypeError("endless data has no number of batches; force_finite: true gives it an end")
        counts = [sampler.count(epoch) for sampler in self.samplers.values() if not sampler.endless]
        return min(counts) if self.fusion == "zip" else sum(counts)

    def _fused(self, epoch: int) -> Iterator[Keys]:
        running = {name: self._begun(sampler, epoch) for name, sampler in self.samplers.items()}
        if self.fusion == "zip":
            yield from (list(zip(running, drawn, strict=True)) for drawn in zip(*running.values(), strict=False))
            return
        for name in self._turns(epoch, running):
            try:
                yield [(name, next(running[name]))]
            except StopIteration:
                del running[name]

    def _begun(self, sampler: SeekableSampler, epoch: int) -> Iterator[Any]:
        """Endless samplers go on in every epoch: about where no epoch before has been."""
        return sampler.batches(epoch * _EPOCHS if sampler.endless else epoch)

    def _turns(self, epoch: int, running: Mapping[str, Iterator[Any]]) -> Iterator[str]:
        """Whose turn it is, among those that still run."""
        rng = random.Random(f"{self.seed}/{epoch}")
        while running:
            if self.fusion == "round_robin":
                yield from [name for name in self.samplers if name in running]
            else:
                yield rng.choices(list(running), [self.weights[name] for name in running])[0]
