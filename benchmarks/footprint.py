"""CPU time and peak memory of a function in a process of its own, above what its imports take."""

from __future__ import annotations

import multiprocessing
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Footprint:
    """CPU seconds, and megabytes at the peak; and what the function returned."""

    seconds: float
    megabytes: float
    answer: Any


def footprint(function: Callable[..., Any], *arguments: Any) -> Footprint:
    """Of one call of a function of a module, whose other imports do not count."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(sender, function, arguments))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        process.join()


def _measure(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    warnings.filterwarnings("ignore")  # of the peers
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far was of the imports
    before, began = _megabytes("VmRSS"), time.process_time()
    answer = function(*arguments)
    sender.send(Footprint(time.process_time() - began, _megabytes("VmHWM") - before, answer))


def _megabytes(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024
