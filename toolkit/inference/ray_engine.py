"""Ray transcribes the shards of an archive, on all machines of its cluster.

The address of a running cluster is in RAY_ADDRESS, whose machines have the package and the folders of this one; without
it, Ray starts one on this machine.

The workers are plain actors, each of which gets a shard when it has done its last. Ray Data would try for ever a shard
that kills its workers (what bounds that is deprecated), and turn rows into Arrow's and back. Nothing but the workers
needs a CPU, so that they may have all there are.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import ConfigError, MissingDependencyError, ToolkitError
from toolkit.inference.archive import Found, Shard, Worker

if TYPE_CHECKING:
    from types import ModuleType

# Of a shard whose worker dies: then something is wrong with the shard, or the machines are too small.
MOST_RETRIES = 3


def transcribe_with_ray(shards: Sequence[Shard], worker: Worker, workers: int) -> Iterator[Found]:
    """What so many workers on the machines of a Ray cluster find.

    A worker that dies is started again, on another machine if need be, and gets its shard again. One for which there is
    no place yet gets no shard, so that none waits for it.

    Raises
    ------
    MissingDependencyError
        Ray is not installed.
    ConfigError
        It has not the GPUs that are asked for.
    ToolkitError
        A shard has killed its workers, or the cluster is gone.
    """
    ray = _import_ray()
    with _cluster(ray):
        gpus, device = resources(worker.device, ray.cluster_resources().get("GPU", 0))
        kind = ray.remote(_Actor).options(num_cpus=1, num_gpus=gpus, max_restarts=-1, max_task_retries=MOST_RETRIES)
        worker = replace(worker, device=device)
        actors = [kind.remote(worker, str(Path.cwd())) for _ in range(min(workers, len(shards)))]
        try:
            yield from _hand_out(ray, shards, actors)
        except ray.exceptions.RayError as error:
            raise ToolkitError(
                f"ray: {str(error).splitlines()[0]} Most likely memory ran out: try smaller --batch-seconds, with "
                "--resume to go on"
            ) from error


def resources(device: str | None, gpus: float) -> tuple[int, str | None]:
    """How many GPUs an actor asks for, in a cluster of so many, and the device that it computes on, which Ray numbers.

    Raises
    ------
    ConfigError
        A GPU is asked for, and there is none: actors would wait for it for ever.
    """
    if device is None:
        return (1, "cuda") if gpus else (0, "cpu")
    if not device.startswith("cuda"):
        return 0, device
    if not gpus:
        raise ConfigError(f"--device {device}: the Ray cluster has no GPU; expected cpu")
    return 1, "cuda"  # which is the one that the actor sees


def _hand_out(ray: ModuleType, shards: Sequence[Shard], actors: Sequence[Any]) -> Iterator[Found]:
    """What the actors find in each shard, as they find it."""
    waiting = iter(shards)
    running = {actor.transcribe.remote([]): actor for actor in actors}  # done when the model is loaded
    missing = len(shards)
    while missing:
        (done,), _ = ray.wait(list(running))
        actor, found = running.pop(done), ray.get(done)
        if isinstance(found, ToolkitError):
            raise found
        if (shard := next(waiting, None)) is not None:
            running[actor.transcribe.remote(shard)] = actor
        else:
            ray.kill(actor)  # makes room for one that was killed, whose shard waits for it
        if found:
            missing -= 1
            yield found


class _Actor:
    """A worker somewhere, in the folder of its driver, as paths may be relative."""

    def __init__(self, worker: Worker, folder: str) -> None:
        os.chdir(folder)
        self.worker = worker

    def transcribe(self, shard: Shard) -> Found | ToolkitError:
        """What the worker finds; what it raises is returned, as Ray would wrap it."""
        try:
            return self.worker(shard)
        except ToolkitError as error:
            return error


@contextlib.contextmanager
def _cluster(ray: ModuleType) -> Iterator[None]:
    """The cluster that this process is connected to, or within that it is."""
    if ray.is_initialized():
        yield
        return
    ray.init(logging_level="error", log_to_driver=False, include_dashboard=False)
    try:
        yield
    finally:
        ray.shutdown()


def _import_ray() -> ModuleType:
    try:
        import ray
    except ImportError:
        raise MissingDependencyError("--engine ray: needs ray; pip install 'asr-recipes[scale]'") from None
    return ray
