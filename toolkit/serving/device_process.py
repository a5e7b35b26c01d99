"""Where models can compute on this machine; a process of its own finds out, as torch takes seconds to import."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import torch

from toolkit.errors import ConfigError
from toolkit.serving.children import Parent

# Of a CPU. Two with a thread each do twice the work of one with two: what beam search does between two small matrix
# products is one thread's work. Each has its own copy of the models.
MOST_ON_CPU = 4


def main(parent: Parent, asked: tuple[str, ...]) -> None:
    """Tell the devices, one for each process, and the cores that those of a CPU share; or that one is not there."""
    cores = cores_of(Path("/"))
    gpus = tuple(f"cuda:{place}" for place in range(torch.cuda.device_count()))
    there = ("cpu", *gpus)
    for name in asked:
        if name not in there:
            parent.send(ConfigError(f"limits.devices (--device): there is no {name!r}; there are {', '.join(there)}"))
            return
    parent.send((asked or gpus or ("cpu",) * min(cores, MOST_ON_CPU), cores))


def cores_of(root: Path) -> int:
    """How many cores this process can keep busy: as many as it is bound to, and as its cgroups give it the time of."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([bound, *map(int, quotas(root))]))


def quotas(root: Path) -> Iterator[float]:
    """Cores whose time the cgroups of this process have, of version 2 (``0::/pod``) or 1 (``4:cpu,cpuacct:/pod``).

    In a container, the file may name a folder of its host, of which only the top is there.
    """
    file = root / "proc/self/cgroup"
    for line in file.read_text().splitlines() if file.is_file() else ():
        _, controllers, path = line.split(":", 2)
        top = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        if not controllers or "cpu" in controllers.split(","):
            folder = top / path.lstrip("/")
            yield from (cores for place in (folder, *folder.parents) if (cores := _quota(place)))


def _quota(folder: Path) -> float | None:
    """``400000 100000``, microseconds of a period that may be computed in, are four cores."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with contextlib.suppress(OSError, ValueError):  # not there, or "max"
            quota, period = (int(text) for name in names for text in (folder / name).read_text().split())
            return quota / period if quota > 0 else None
    return None
