"""Where models can compute on this machine; a process of its own finds out, as torch takes seconds to import."""

from __future__ import annotations

import os

import torch

from toolkit.serving.children import Parent

# Of a CPU. Two with a thread each do twice the work of one with two: what beam search does between two small matrix
# products is one thread's work. Each has its own copy of the models.
MOST_ON_CPU = 4


def main(parent: Parent) -> None:
    """Tell the devices, one for each process, and the threads that each has on a CPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus = tuple(f"cuda:{place}" for place in range(torch.cuda.device_count()))
    parent.send((gpus or ("cpu",) * min(cores, MOST_ON_CPU), cores))
