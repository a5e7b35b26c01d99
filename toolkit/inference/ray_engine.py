"""Ray transcribes the shards of an archive, on all machines of its cluster.

The address of a running cluster is in RAY_ADDRESS; without one, Ray starts one on this machine.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from typing import Any

from toolkit.errors import MissingDependencyError
from toolkit.inference.archive import Found, Shard, Worker

# Of a shard whose worker dies: something is wrong with the shard itself.
MOST_RETRIES = 3


def transcribe_with_ray(shards: Sequence[Shard], worker: Worker, workers: int) -> Iterator[Found]:
    """What so many workers on the machines of a Ray cluster find.

    A worker that dies is started again, and gets its shard again.

    Raises
    ------
    MissingDependencyError
        Ray is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingDependencyError("--engine ray: needs ray; pip install 'asr-recipes[scale]'") from None
    if not ray.is_initialized():
        ray.init(logging_level="warning", include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    # A row a shard, in blocks of one: what is found comes shard by shard. They are held by this process, so that
    # there are no read tasks, which would wait for ever when the workers have every CPU.
    rows = [{"shard": pickle.dumps(shard)} for shard in shards]
    found = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        _RayWorker,
        fn_constructor_args=(worker,),
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows))),
        num_cpus=1,
        num_gpus=1 if (worker.device or "").startswith("cuda") else 0,
        max_task_retries=MOST_RETRIES,
    )
    for row in found.iter_rows():
        yield pickle.loads(row["found"])


class _RayWorker:
    """The worker, of rows."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"found": pickle.dumps(self.worker(pickle.loads(row["shard"])))}
