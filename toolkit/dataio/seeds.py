"""Seeds of data: those that nobody chose are drawn once, kept in the loader's state, and the same on all ranks."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace

from lhotse.dataset.dataloading import worker_init_fn
from torch import distributed

from toolkit.dataio.config import DataConfig
from toolkit.dataio.epochs import SeekableSampler, rank_and_world_size
from toolkit.dataio.plan import generator
from toolkit.errors import ConfigError

_KEYS = ("seed", "shard_seed")


def with_agreed_seeds(where: str, config: DataConfig, world_size: int) -> DataConfig:
    """The configuration with seeds that are numbers, the same in all processes, which read and draw the same.

    Where ranks cannot agree, as they are not connected, or must not, as what ends is divided exactly by each of them,
    the order of shards is of ``seed``.

    Raises
    ------
    ConfigError
        Ranks would have to agree on ``seed``, and are not connected.
    """
    is_connected = world_size == 1 or rank_and_world_size()[1] > 1
    seed, shard_seed = config.seed, config.shard_seed
    if isinstance(seed, str) and not is_connected:
        raise ConfigError(
            f"{where}.seed: {world_size} processes that torch.distributed does not connect cannot agree on a random "
            f"one, which {seed!r} is; give a number"
        )
    if isinstance(shard_seed, str) and isinstance(seed, int) and (config.force_finite or not is_connected):
        shard_seed = seed
    return replace(config, seed=_agreed(seed, world_size), shard_seed=_agreed(shard_seed, world_size))


def _agreed(seed: int | str, world_size: int) -> int:
    """The seed, or, for ``randomized`` and ``trng``, a random one, the same in the processes that share the data."""
    if not isinstance(seed, str):
        return seed
    drawn = [secrets.randbits(32)]
    if world_size > 1:  # a process that reads alone waits for no other
        distributed.broadcast_object_list(drawn)
    return drawn[0]


def drawn_seeds(where: str, config: DataConfig) -> list[str]:
    """The full names of a configuration's seeds that nobody chose."""
    return [f"{where}.{key}" for key in _KEYS if isinstance(getattr(config, key), str)]


def seeds_of(where: str, config: DataConfig) -> dict[str, int | str]:
    """The seeds of a configuration by their full names."""
    return {f"{where}.{key}": getattr(config, key) for key in _KEYS}


def with_seeds(where: str, config: DataConfig, seeds: Mapping[str, int]) -> DataConfig:
    """The configuration with those of the seeds, by full names, that are its."""
    return replace(config, **{key: seeds[f"{where}.{key}"] for key in _KEYS if f"{where}.{key}" in seeds})


@dataclass(frozen=True)
class WorkerSeeds:
    """Has a worker process draw random numbers that no other does, whatever the batch from which on workers are new.

    Attributes
    ----------
    order
        Whose epoch and batch the workers begin with, and whose seeds they have.
    rank, world_size
        The place of the process that they work for.
    """

    order: SeekableSampler
    rank: int = 0
    world_size: int = 1

    def __call__(self, worker: int) -> None:
        """Called in the worker process, as the DataLoader starts it."""
        seeds = [value for name, value in self.order.origin.items() if name.endswith(".seed")]
        words = (*seeds, self.rank, worker, self.order.epoch, self.order.skipped)
        # Lhotse adds 100 for each worker and 100,000 for each rank, and NumPy's seeds are below 2^32.
        worker_init_fn(worker, self.rank, self.world_size, seed=int(generator(*words).integers(2**31)))
