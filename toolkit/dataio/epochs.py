"""Epochs of batches that can be entered at any batch."""

from __future__ import annotations

import secrets
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

from torch import distributed
from torch.utils.data import DataLoader, Dataset, Sampler

from toolkit.dataio.plan import Plan
from toolkit.errors import ConfigError, DataError


class EpochSampler(Sampler[tuple[int, list[int]]]):
    """(epoch, numbers of examples) of each batch of one epoch on this rank; the epoch's number decides all of them."""

    def __init__(self) -> None:
        self.epoch, self.skipped = 0, 0
        self._planned: tuple[int, Plan] | None = None

    @abstractmethod
    def plan(self, epoch: int) -> Plan:
        """Batches of an epoch on this rank; all ranks have as many."""

    def seek(self, epoch: int, batches: int = 0) -> None:
        """Iterators from now on are of ``epoch``, from its batch number ``batches`` on."""
        self.epoch, self.skipped = epoch, batches

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        # A DataLoader with workers asks for an iterator and throws it away before it asks for the one it uses: asking
        # changes nothing.
        epoch, plan = self.epoch, self._plan_of(self.epoch)
        return ((epoch, plan[batch].tolist()) for batch in range(self.skipped, len(plan)))

    def count(self, epoch: int) -> int:
        """Batches of a whole epoch on this rank."""
        return len(self._plan_of(epoch))

    def __len__(self) -> int:
        """Batches of the whole epoch that iterators are of."""
        return self.count(self.epoch)

    def _plan_of(self, epoch: int) -> Plan:
        if self._planned is None or self._planned[0] != epoch:
            self._planned = epoch, self.plan(epoch)
        return self._planned[1]


class EpochLoader(DataLoader):
    """A DataLoader of an :class:`EpochSampler`'s batches, epoch after epoch, from any batch on.

    The dataset makes the batch of an (epoch, numbers) pair. A DataError that it *returns* is raised here: raised in a
    worker process, it would reach the user with the worker's traceback for a message.
    """

    def __init__(self, dataset: Dataset, sampler: EpochSampler, **options: Any) -> None:
        super().__init__(dataset, sampler=sampler, batch_size=None, **options)
        self._begun: int | None = None

    def seek(self, epoch: int, batches: int = 0) -> None:
        """The next pass is ``epoch``, from its batch number ``batches`` on; what is skipped is not read.

        Without ``seek``, every pass is the epoch after the one before, beginning with 0.
        """
        self.sampler.seek(epoch, batches)
        self._begun = None

    def __len__(self) -> int:
        """Batches of the whole epoch that was begun last, or else of the one to come."""
        return self.sampler.count(self.sampler.epoch if self._begun is None else self._begun)

    def __iter__(self) -> Iterator[Any]:
        """Batches of one epoch.

        Raises
        ------
        DataError
            What the dataset could not read.
        """
        batches, batch = super().__iter__(), None
        self._begun = self.sampler.epoch
        self.sampler.seek(self._begun + 1)
        try:
            for batch in batches:
                if isinstance(batch, DataError):
                    raise batch
                yield batch
        finally:
            # The traceback of an error would keep both in a cycle, and the workers five seconds longer.
            del batch, batches


def enter_epoch(loader: DataLoader, epoch: int, batches: int = 0) -> None:
    """The next pass of a loader of any kind is ``epoch``, from its batch number ``batches`` on.

    A sampler that wants to know the epoch is told it. One that draws from torch's own random numbers has the same order
    again where these are the same.

    Raises
    ------
    ConfigError
        It can only begin at the beginning.
    """
    if hasattr(loader, "seek"):
        loader.seek(epoch, batches=batches)
        return
    for sampler in (loader.sampler, loader.batch_sampler):
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(epoch)
    if hasattr(loader, "_speechbrain_recovery_skip_to"):  # a SaveableDataLoader skips so many, without reading them
        loader._speechbrain_recovery_skip_to = batches or None
    elif batches:
        raise ConfigError(
            f"the run stopped after batch {batches} of epoch {epoch}, and a {type(loader).__name__} begins at the "
            "first; train with SpeechBrain's SaveableDataLoader instead"
        )


def rank_and_world_size() -> tuple[int, int]:
    """Place of this process in a distributed run; 0 and 1 in any other run."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def agreed_seed(seed: int | str) -> int:
    """The seed, or, for ``randomized`` and ``trng``, a random one: the same in all processes, which share an order."""
    drawn = [secrets.randbits(32) if isinstance(seed, str) else seed]
    if rank_and_world_size()[1] > 1:
        distributed.broadcast_object_list(drawn)
    return drawn[0]
