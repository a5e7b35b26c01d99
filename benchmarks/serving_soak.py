"""Load for minutes, with files that are none and clients that break off: memory stays as it is, and no file is left."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Iterator
from pathlib import Path

from serving_clients import Plan, load
from serving_corpus import corpus
from serving_processes import Service, ours
from side_by_side import Row

CLIENTS = 8
SECONDS = {"quick": 20.0, "full": 600.0}
WARM_UP = 0.2  # of that time
GROWTH = 1.05  # at most


def rows(quick: bool, *, model: str, soak: float) -> Iterator[Row]:
    """Memory of all processes in the last tenth of the time, beside that of the first one after a warm-up.

    Raises
    ------
    ValueError
        A file was left in the temporary folder, or not answered as it should be.
    """
    seconds = soak or SECONDS["quick" if quick else "full"]
    with corpus(model) as heard, ours(model) as service:
        broken = service.folder.with_suffix(".wav")
        broken.write_bytes(Path(heard.files[0]).read_bytes()[:30])
        with Memory(service) as memory:
            found = load(Plan(service.port, [*heard.files, str(broken)], CLIENTS, seconds, breaking_off=True))
        broken.unlink()
        left = service.files
    whole = [answer for answer in found.answers if answer.file < len(heard.files)]
    heard.check(whole)
    errors = sum(answer.text is None for answer in whole)
    refused = sum(answer.status in (415, 422) for answer in found.answers)
    if left or errors or refused != len(found.answers) - len(whole):
        raise ValueError(f"left: {left}; {errors} errors, {refused} of {len(found.answers) - len(whole)} refused")
    note = f"{len(whole)} answers, {refused} files that are none, a client a second that breaks off; no file left"
    yield Row(
        *(f"{seconds:.0f} s with {CLIENTS} clients: memory of all processes", "after a fifth of the time"),
        *(memory.at(1.0), memory.at(WARM_UP), 1 / GROWTH, True, note, "MB"),
    )


class Memory:
    """What a service holds in memory, looked at every second."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.samples: list[float] = []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._look)

    def __enter__(self) -> Memory:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()

    def at(self, share: float) -> float:
        """Megabytes, the median of a tenth of the time from this share of it on, or of its last tenth."""
        tenth = max(1, len(self.samples) // 10)
        start = min(int(share * len(self.samples)), len(self.samples) - tenth)
        return statistics.median(self.samples[start : start + tenth])

    def _look(self) -> None:
        while not self.ended.wait(1.0):
            self.samples.append(self.service.megabytes)
