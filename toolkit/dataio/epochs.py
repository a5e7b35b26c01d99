"""Epochs of batches that can be entered at any batch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any

from torch import distributed
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, get_worker_info

from toolkit.dataio.plan import Plan
from toolkit.errors import ConfigError, DataError

NO_FULL_BATCH = "no batch is full; leave out drop_last, or make batches smaller"


class SeekableSampler(Sampler[Any]):
    """What makes each batch of an epoch on this rank, from any batch on.

    Attributes
    ----------
    endless
        Whether an iterator goes on with the epochs after the one it begins with, and never ends.
    origin
        What else batches follow from, by name: the same place is another batch where that is different.
    """

    endless = False
    origin: Mapping[str, Any] = MappingProxyType({})

    def __init__(self) -> None:
        self.epoch, self.skipped = 0, 0

    @abstractmethod
    def batches(self, epoch: int, skipped: int = 0) -> Iterator[Any]:
        """An iterator from batch number ``skipped`` of ``epoch`` on; to ask for it changes nothing."""

    @abstractmethod
    def count(self, epoch: int) -> int:
        """Batches of a whole epoch on this rank.

        Raises
        ------
        TypeError
            It is not known.
        """

    def seek(self, epoch: int, batches: int = 0) -> None:
        """Iterators from now on are of ``epoch``, from its batch number ``batches`` on."""
        self.epoch, self.skipped = epoch, batches

    def place(self, epoch: int, batches: int) -> tuple[int, int]:
        """The same place, as epoch and batch within it."""
        return epoch, batches

    def restore(self, origin: Mapping[str, Any]) -> None:
        """Make the batches of that origin.

        Raises
        ------
        ConfigError
            They are of another one: says what differs.
        """
        keys = [key for key in {**origin, **self.origin} if origin.get(key) != self.origin.get(key)]
        if keys:
            changes = [f"{key} was {origin.get(key)!r} and is {self.origin.get(key)!r}" for key in keys]
            raise ConfigError(f"the state is of another run's batches: {', '.join(changes)}")

    @property
    def epoch_sizes(self) -> dict[Any, Any]:
        """Batches of the epochs that endless data has had, by which a place far into it is found at once."""
        return {}

    def recall(self, epoch_sizes: Mapping[Any, Any]) -> None:
        """Know what a sampler of the same batches knew."""

    def __iter__(self) -> Iterator[Any]:
        return self.batches(self.epoch, self.skipped)

    def __len__(self) -> int:
        """Batches of the whole epoch that iterators are of."""
        return self.count(self.epoch)


class EpochSampler(SeekableSampler):
    """(epoch, numbers of examples) of each batch on this rank; the epoch's number decides all of them."""

    def __init__(self) -> None:
        super().__init__()
        self._planned: tuple[int, Plan] | None = None
        self._counts: dict[int, int] = {}

    @abstractmethod
    def plan(self, epoch: int) -> Plan:
        """Batches of an epoch on this rank; all ranks have as many."""

    def batches(self, epoch: int, skipped: int = 0) -> Iterator[tuple[int, list[int]]]:
        """(epoch, numbers) from batch number ``skipped`` of ``epoch`` on."""
        while True:
            epoch, skipped = self.place(epoch, skipped)
            plan = self._plan_of(epoch)
            yield from ((epoch, plan[batch].tolist()) for batch in range(skipped, len(plan)))
            if not self.endless:
                return
            epoch, skipped = epoch + 1, 0

    @property
    def epoch_sizes(self) -> dict[int, int]:
        """By number of the epoch."""
        return dict(self._counts) if self.endless else {}

    def recall(self, epoch_sizes: Mapping[int, int]) -> None:
        """Know what a sampler of the same batches knew."""
        self._counts.update(epoch_sizes)

    def place(self, epoch: int, batches: int) -> tuple[int, int]:
        """The same place; of an endless sampler, in the epoch that has so many batches."""
        while self.endless and batches >= self._count(epoch):
            epoch, batches = epoch + 1, batches - self._count(epoch)
        return epoch, batches

    def count(self, epoch: int) -> int:
        """Batches of a whole epoch on this rank."""
        if self.endless:
            raise TypeError("endless data has no number of batches; force_finite: true gives it an end")
        return self._count(epoch)

    def _count(self, epoch: int) -> int:
        if epoch not in self._counts:
            self._plan_of(epoch)
        return self._counts[epoch]

    def _plan_of(self, epoch: int) -> Plan:
        if self._planned is None or self._planned[0] != epoch:
            self._planned = epoch, self.plan(epoch)
            self._counts[epoch] = len(self._planned[1])
            if not self._counts[epoch]:
                raise DataError(NO_FULL_BATCH)
        return self._planned[1]


class EpochLoader(DataLoader):
    """A DataLoader of a :class:`SeekableSampler`'s batches, epoch after epoch, from any batch on.

    The dataset makes the batch of what the sampler yields. A DataError that it *returns* is raised here: raised in a
    worker process, it would reach the user with the worker's traceback for a message.

    Parameters
    ----------
    in_workers
        Each worker process draws from a copy of the sampler, and makes each so manieth batch: for samplers that hold
        examples, which would have to be sent to the workers.
    """

    def __init__(self, dataset: Dataset, sampler: SeekableSampler, *, in_workers: bool = False, **options: Any) -> None:
        self.order = sampler
        if in_workers:
            # Workers that stayed would never hear of a seek.
            options["persistent_workers"] = False
            super().__init__(_Turns(dataset, sampler), batch_size=None, **options)
        else:
            super().__init__(dataset, sampler=sampler, batch_size=None, **options)
        self._begun: tuple[int, int] | None = None
        self._is_under_way = False

    def seek(self, epoch: int, batches: int = 0) -> None:
        """The next pass is ``epoch``, from its batch number ``batches`` on; what is skipped is not read.

        Without ``seek``, every pass is the epoch after the one before, beginning with 0; endless data goes on with the
        next batch.
        """
        self.order.seek(epoch, batches)
        self._begun, self._is_under_way = None, False

    def state_dict(self) -> dict[str, Any]:
        """Where training stands: epoch and number of the next batch, whatever workers have read ahead; and its origin.

        It is the same on all ranks.
        """
        epoch, batches = self.order.place(*(self._begun if self._is_under_way else self._entry))
        state = {"epoch": epoch, "batches": batches, "origin": dict(self.order.origin)}
        return state | {"epoch_sizes": self.order.epoch_sizes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The next pass goes on where that of the state stood, with its seeds and with any number of workers.

        Raises
        ------
        ConfigError
            It is no such state, or that of another run, with other data, ranks or batches: says what differs.
        """
        if set(state) - {"epoch_sizes"} != {"epoch", "batches", "origin"} or not _is_place(
            state["epoch"], state["batches"]
        ):
            raise ConfigError(f"expected epoch, batches and origin of a loader's state_dict(), not {dict(state)!r}")
        self.order.restore(state["origin"])
        self.order.recall(state.get("epoch_sizes", {}))
        self._iterator = None  # torch's: workers that stayed know the seeds of before, and would draw on
        self.seek(state["epoch"], state["batches"])

    @property
    def _entry(self) -> tuple[int, int]:
        return self.order.epoch, self.order.skipped

    def __len__(self) -> int:
        """Batches of the whole epoch that was begun last, or else of the one to come.

        Raises
        ------
        TypeError
            It is not known: the data never ends, or only reading it would tell.
        """
        return self.order.count(self.order.epoch if self._begun is None else self._begun[0])

    def __iter__(self) -> Iterator[Any]:
        """Batches of one epoch, or for ever.

        Raises
        ------
        DataError
            What the dataset could not read.
        """
        batches, batch = super().__iter__(), None
        self._begun, self._is_under_way = self._entry, True
        self.order.seek(self.order.epoch + 1)
        try:
            for batch in batches:
                if isinstance(batch, DataError):
                    raise batch
                self._begun = self._begun[0], self._begun[1] + 1
                if self.order.endless:
                    self.order.seek(*self._begun)
                yield batch
            self._is_under_way = False
        finally:
            # The traceback of an error would keep both in a cycle, and the workers five seconds longer.
            del batch, batches


def _is_place(*numbers: Any) -> bool:
    return all(isinstance(number, int) and number >= 0 for number in numbers)


class _Turns(IterableDataset):
    """In each worker process, the batches whose turn is its: so their order is that of the sampler for any number."""

    def __init__(self, dataset: Dataset, sampler: SeekableSampler) -> None:
        self.dataset, self.order = dataset, sampler

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return self._batches(islice(iter(self.order), first, None, step))

    def _batches(self, drawn: Iterator[Any]) -> Iterator[Any]:
        try:
            for one in drawn:
                yield self.dataset[one]
        except DataError as error:
            yield error


def rank_and_world_size() -> tuple[int, int]:
    """Place of this process in a distributed run; 0 and 1 in any other run."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1
