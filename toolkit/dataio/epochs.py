"""Epochs of batches that can be entered at any batch, and are shared by the ranks of a distributed run."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from torch import distributed
from torch.utils.data import DataLoader, Dataset, Sampler

from toolkit.errors import DataError

T = TypeVar("T")


class EpochSampler(Sampler[tuple[int, list[Any]]]):
    """(epoch, items) of each batch of one epoch.

    The batches of an epoch depend on its number alone. All ranks draw them all and take every ``world_size``-th, so
    that each item is used once and all ranks have the same number of batches.
    """

    def __init__(self, *, rank: int = 0, world_size: int = 1, drop_last: bool = False) -> None:
        self.rank, self.world_size, self.drop_last = rank, world_size, drop_last
        self.epoch, self.skipped = 0, 0
        self._count: int | None = None  # counting may take a pass over the corpus

    @abstractmethod
    def batches(self, epoch: int) -> list[list[Any]]:
        """The batches of an epoch, of all ranks together."""

    def count(self) -> int:
        """How many batches any epoch has, of all ranks together."""
        return len(self.batches(0))

    def seek(self, epoch: int, batches: int = 0) -> None:
        """Iterators from now on are of ``epoch``, from its batch number ``batches`` on."""
        self.epoch, self.skipped = epoch, batches

    def __iter__(self) -> Iterator[tuple[int, list[Any]]]:
        # A DataLoader with workers asks for an iterator and throws it away before it asks for the one it uses: asking
        # must neither cost nor change anything.
        return self._draw(self.epoch, self.skipped)

    def _draw(self, epoch: int, skipped: int) -> Iterator[tuple[int, list[Any]]]:
        mine = share(self.batches(epoch), self.rank, self.world_size, drop_last=self.drop_last)
        yield from ((epoch, batch) for batch in mine[skipped:])

    def __len__(self) -> int:
        """Batches of a whole epoch on this rank."""
        if self._count is None:
            self._count = self.count()
        total = self._count
        return total // self.world_size if self.drop_last else -(-total // self.world_size)


class EpochLoader(DataLoader):
    """A DataLoader of an :class:`EpochSampler`'s batches, epoch after epoch, from any batch on.

    The dataset makes the batch of an (epoch, items) pair. A DataError that it *returns* is raised here: raised in a
    worker process, it would reach the user with the worker's traceback for a message.
    """

    def __init__(self, dataset: Dataset, sampler: EpochSampler, **options: Any) -> None:
        super().__init__(dataset, sampler=sampler, batch_size=None, **options)

    def seek(self, epoch: int, batches: int = 0) -> None:
        """The next pass is ``epoch``, from its batch number ``batches`` on; what is skipped is not read.

        Without ``seek``, every pass is the epoch after the one before, beginning with 0.
        """
        self.sampler.seek(epoch, batches)

    def __iter__(self) -> Iterator[Any]:
        """Batches of one epoch.

        Raises
        ------
        DataError
            What the dataset could not read.
        """
        batches, batch = super().__iter__(), None
        self.seek(self.sampler.epoch + 1)
        try:
            for batch in batches:
                if isinstance(batch, DataError):
                    raise batch
                yield batch
        finally:
            # The traceback of an error would keep both in a cycle, and the workers five seconds longer.
            del batch, batches


def share(batches: Sequence[list[T]], rank: int, world_size: int, *, drop_last: bool = False) -> list[list[T]]:
    """Every ``world_size``-th batch from number ``rank`` on, the same number for each rank.

    When the batches do not come out even, the largest are halved until they do (or, with ``drop_last``, the last ones
    are left out). Only where nothing but batches of one item remain are some of them given to two ranks.
    """
    shared = list(batches)
    if drop_last:
        del shared[len(shared) // world_size * world_size :]
    while len(shared) % world_size:
        largest = max(range(len(shared)), key=lambda place: len(shared[place]))
        batch = shared[largest]
        if len(batch) > 1:
            shared[largest : largest + 1] = [batch[::2], batch[1::2]]
        else:
            shared.append(shared[len(shared) % world_size - 1])
    return shared[rank::world_size]


def rank_and_world_size() -> tuple[int, int]:
    """Place of this process in a distributed run; 0 and 1 in any other run."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1
