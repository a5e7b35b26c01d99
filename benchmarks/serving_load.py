"""Throughput and latency under load: 1 to 64 clients with files of 2 to 10 s; and whether the service says it lives."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from serving_clients import Load, Plan, load
from serving_corpus import Corpus, corpus
from serving_processes import Service, ours, peer
from side_by_side import Row

PEER_NAME = "one request at a time"
CLIENTS = {"quick": (1, 16), "full": (1, 4, 16, 64)}
SECONDS = {"quick": 5.0, "full": 15.0}
REPEATS = {"quick": 1, "full": 3}
GOALS = {16: 2.5}
HEALTH_MS = 100


def rows(quick: bool, *, model: str, soak: float) -> Iterator[Row]:  # noqa: ARG001
    """For each number of clients: seconds of audio in a second, latencies, and the slowest answer to a probe."""
    size = "quick" if quick else "full"
    with corpus(model) as heard, ours(model) as mine, peer(model) as other:
        sides = Sides(heard, mine, other)
        sides.run(max(CLIENTS[size]), 3.0)  # code is compiled, memory is taken
        for clients in CLIENTS[size]:
            turns = [sides.run(clients, SECONDS[size]) for _ in range(REPEATS[size])]
            yield from rows_of(clients, turns)


@dataclass(frozen=True)
class Measured:
    """What a service did under load: what was answered, seconds of audio in it, and of computing."""

    load: Load
    audio: float
    cpu: float

    @property
    def throughput(self) -> float:
        """Seconds of audio in a second."""
        return self.audio / self.load.wall

    @property
    def computing(self) -> float:
        """CPU seconds of all processes of the service for a minute of audio."""
        return 60 * self.cpu / self.audio

    @property
    def asking(self) -> float:
        """Cores that the clients keep busy."""
        return self.load.cpu / self.load.wall


@dataclass(frozen=True)
class Sides:
    """Both services and what they are asked."""

    corpus: Corpus
    ours: Service
    peer: Service

    def run(self, clients: int, seconds: float) -> tuple[Measured, Measured]:
        """Both under the same load, one after the other."""
        return tuple(self.measure(service, clients, seconds) for service in (self.ours, self.peer))

    def measure(self, service: Service, clients: int, seconds: float) -> Measured:
        """One of them; raises a ValueError where it hears something else than its model does."""
        cpu = service.cpu
        found = load(Plan(service.port, self.corpus.files, clients, seconds))
        cpu = service.cpu - cpu
        self.corpus.check(found.answers)
        audio = sum(self.corpus.seconds[answer.file] for answer in found.answers if answer.text is not None)
        return Measured(found, audio, cpu)


def rows_of(clients: int, turns: list[tuple[Measured, Measured]]) -> Iterator[Row]:
    """Medians of some turns."""
    name = f"{clients} client{'s' if clients > 1 else ''}"

    def both(figure: Callable[[Measured], float]) -> tuple[float, float]:
        return tuple(statistics.median(figure(turn[side]) for turn in turns) for side in (0, 1))

    answers = [[answer for turn in turns for answer in turn[side].load.answers] for side in (0, 1)]
    errors = [sum(answer.text is None for answer in some) for some in answers]
    asking = both(lambda one: one.asking)
    note = (
        f"{len(answers[0])} and {len(answers[1])} answers, {errors[0]} and {errors[1]} errors; the clients take "
        f"{asking[0]:.3f} and {asking[1]:.3f} cores"
    )
    yield Row(
        *(f"{name}: seconds of audio in a second", PEER_NAME, *both(lambda one: one.throughput), GOALS.get(clients)),
        *(errors == [0, 0], note, "s/s"),
        more_is_better=True,
    )
    yield Row(f"{name}: CPU for a minute of audio", PEER_NAME, *both(lambda one: one.computing), None, None)
    for percent, title in ((50, "median"), (95, "95 %"), (99, "99 %")):
        figures = both(lambda one, percent=percent: 1000 * one.load.latency(percent))
        yield Row(f"{name}: latency, {title}", PEER_NAME, *figures, None, None, unit="ms")
    slowest = (1000 * max(max(turn[side].load.health) for turn in turns) for side in (0, 1))
    yield Row(f"{name}: `/health/live`, the slowest", PEER_NAME, *slowest, None, None, unit="ms", most=HEALTH_MS)
