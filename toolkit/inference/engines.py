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
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.process import BaseProcess as Process

from toolkit.errors import ConfigError, ToolkitError
from toolkit.inference.archive import Found, Shard, Worker
from toolkit.inference.archive_inputs import Archive

# Shards that a process has: the one it computes, and the next.
AHEAD = 2


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
    pool = ProcessPoolExecutor(
        min(workers, max(1, len(shards))),
        mp_context=multiprocessing.get_context("spawn"),  # a forked process cannot use a GPU
        initializer=_Process.begin,
        initargs=(worker, threads),
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
    def begin(cls, worker: Worker, threads: int) -> None:
        """Remember the worker, and end when the parent does; Ctrl-C is the parent's."""
        import torch

        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=cls._end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
        torch.set_num_threads(threads)
        cls.worker = worker

    @staticmethod
    def _end_with(parent: Process) -> None:
        """Leave when the parent is gone: the pool's queues would not tell, as each process holds both ends."""
        parent.join()
        os._exit(1)

    @classmethod
    def transcribe(cls, shard: Shard) -> Found:
        """What the worker finds."""
        return cls.worker(shard)


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

    def device(self) -> str | None:
        """A GPU of its own for each process of a machine, where it has GPUs."""
        import torch

        return f"cuda:{self.local_rank % torch.cuda.device_count()}" if torch.cuda.is_available() else None

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
