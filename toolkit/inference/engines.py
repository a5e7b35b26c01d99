"""Who transcribes the shards of an archive: this process, others of this machine, or those that torchrun started.

Each engine gives what its workers find, as they find it.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing.process import BaseProcess as Process
from typing import TYPE_CHECKING

from toolkit.errors import AudioError, ConfigError, ToolkitError
from toolkit.inference.archive import Found, Item, Shard, Worker, in_order, shards_of
from toolkit.inference.archive_inputs import Archive

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

    from toolkit.inference.transcript import Transcript

# Shards that a process has: the one it computes, and the next.
AHEAD = 2


# Items that are sorted by length together where the order of what is found matters.
SORTED_TOGETHER = 64


def transcribe_items(
    items: Sequence[Item], worker: Worker, *, engine: str, workers: int, ordered: bool = False
) -> Iterator[tuple[str, Transcript | AudioError]]:
    """For each item its id and what the workers of an engine find, as they find it, or in the order of the items."""
    together = SORTED_TOGETHER if ordered else max(1, len(items))
    blocks = (items[start : start + together] for start in range(0, len(items), together))
    shards = [shard for block in blocks for shard in shards_of(block, worker.batch_seconds, workers)]
    found = transcribe_shards(shards, worker, engine=engine, workers=workers)
    pairs = (pair for one in found for pair in one.items())
    return in_order(pairs, [item.id for item in items]) if ordered else pairs


def transcribe_shards(shards: Sequence[Shard], worker: Worker, *, engine: str, workers: int) -> Iterator[Found]:
    """What the workers of an engine find in each shard; to ``torchrun``, a process is a worker."""
    if engine == "ray":
        from toolkit.inference.ray_engine import transcribe_with_ray

        return transcribe_with_ray(shards, worker, workers)
    if engine == "local" and workers > 1:
        return transcribe_in_processes(shards, worker, workers)
    return transcribe_here(shards, worker)


def transcribe_here(shards: Sequence[Shard], worker: Worker) -> Iterator[Found]:
    """What this process finds; the model is loaded at once, so that a wrong one is told before anything is done."""
    worker.transcriber  # noqa: B018
    return map(worker, shards)


def transcribe_in_processes(shards: Sequence[Shard], worker: Worker, workers: int) -> Iterator[Found]:
    """What so many processes of this machine find.

    Raises
    ------
    ToolkitError
        A process was killed; what it worked at is not done.
    """
    threads = max(1, (os.cpu_count() or 1) // workers)
    spawn = multiprocessing.get_context("spawn")  # a forked process cannot use a GPU
    pool = ProcessPoolExecutor(
        min(workers, max(1, len(shards))),
        mp_context=spawn,
        initializer=_Process.begin,
        initargs=(worker, threads, spawn.Value("i", 0)),
    )
    waiting = iter(shards)
    running = {pool.submit(_Process.transcribe, shard) for shard in itertools.islice(waiting, AHEAD * workers)}
    try:
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(_Process.transcribe, shard) for shard in itertools.islice(waiting, len(done))}
            yield from (one.result() for one in done)
    except BrokenProcessPool:
        raise ToolkitError(
            "a process that transcribed was killed, most likely as memory ran out; "
            "try smaller --batch-seconds or fewer --workers, with --resume to go on"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


class _Process:
    """What a process of the pool has."""

    worker: Worker

    @classmethod
    def begin(cls, worker: Worker, threads: int, begun: Synchronized[int]) -> None:
        """Remember the worker, with a device of its own, and end when the parent does; Ctrl-C is the parent's."""
        import torch

        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=cls._end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
        torch.set_num_threads(threads)
        with begun:
            number, begun.value = begun.value, begun.value + 1
        cls.worker = replace(worker, device=worker.device or own_device(number))

    @staticmethod
    def _end_with(parent: Process) -> None:
        """Leave when the parent is gone: the pool's queues would not tell, as each process holds both ends."""
        parent.join()
        os._exit(1)

    @classmethod
    def transcribe(cls, shard: Shard) -> Found:
        """What the worker finds."""
        return cls.worker(shard)


def own_device(number: int) -> str | None:
    """The GPU of one of the processes of this machine, which take them in turn; None where there are none."""
    import torch

    return f"cuda:{number % torch.cuda.device_count()}" if torch.cuda.is_available() else None


@dataclass(frozen=True)
class Ranks:
    """The processes that torchrun started, each of which transcribes every ``world``-th item."""

    rank: int
    local_rank: int
    world: int

    @classmethod
    def from_environment(cls) -> Ranks:
        """As torchrun tells.

        Raises
        ------
        ConfigError
            This process was not started by torchrun.
        """
        try:
            return cls(*(int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")))
        except KeyError as error:
            raise ConfigError(
                f"--engine torchrun: {error.args[0]} is not set; start it so: torchrun --nproc-per-node 2 -m toolkit "
                "transcribe MODEL FILES --engine torchrun --output out.jsonl"
            ) from None

    def share_of(self, archive: Archive) -> Archive:
        """What this process transcribes, and what it reports."""
        items = itertools.islice(archive.items.items(), self.rank, None, self.world)
        return Archive(dict(items), archive.broken[self.rank :: self.world])

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """Within, the processes can wait for each other."""
        from torch import distributed

        distributed.init_process_group("gloo", timeout=timedelta(days=30))  # the slowest may have much to do
        try:
            yield
        finally:
            distributed.destroy_process_group()

    def wait(self) -> None:
        """Go on when all processes are here."""
        from torch import distributed

        distributed.barrier()
