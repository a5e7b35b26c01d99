"""Short files while a long one is being transcribed: what they wait, beside what they wait of an idle service."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from serving_clients import Load, Plan, load
from serving_corpus import Corpus, corpus
from serving_load import HEALTH_MS, PEER_NAME
from serving_processes import Service, ours, peer
from side_by_side import Row

MINUTES = {"quick": 3, "full": 30}
IDLE_S = {"quick": 5.0, "full": 15.0}
REPEATS = {"quick": 1, "full": 3}
TIMES = 3  # the idle latency


def rows(quick: bool, *, model: str, soak: float) -> Iterator[Row]:  # noqa: ARG001
    """The 95th percentile beside three times the idle one, and beside the peer, which hears the long file first."""
    size = "quick" if quick else "full"
    with corpus(model, 60.0 * MINUTES[size]) as heard, ours(model) as mine, peer(model) as other:
        turns = [measure(mine, heard, IDLE_S[size]) for _ in range(REPEATS[size])]
        (_, peer_busy) = measure(other, heard, IDLE_S[size])
    idle = 1000 * statistics.median(one.latency(95) for one, _ in turns)
    busy = 1000 * statistics.median(one.latency(95) for _, one in turns)
    long = statistics.median(one.long.seconds for _, one in turns)
    count = sum(len(one.answers) for _, one in turns)
    name = f"1 client while a file of {MINUTES[size]} min is transcribed"
    note = f"idle {idle:.0f} ms; {count} short files, the long one was answered after {long:.1f} s"
    what = (f"{name}: latency, 95 %", f"ours, idle, x {TIMES}", busy, TIMES * idle, 1.0, True, note)
    yield Row(*what, unit="ms")
    note = f"the long one was answered after {peer_busy.long.seconds:.1f} s"
    yield Row(f"{name}: latency, 95 %", PEER_NAME, busy, 1000 * peer_busy.latency(95), None, True, note, unit="ms")
    health = [1000 * max(max(one.health) for one in side) for side in ([busy for _, busy in turns], [peer_busy])]
    yield Row(f"{name}: `/health/live`, the slowest", PEER_NAME, *health, None, None, unit="ms", most=HEALTH_MS)


def measure(service: Service, heard: Corpus, seconds: float) -> tuple[Load, Load]:
    """What one client is answered when nobody else asks, and while the long file is being transcribed."""
    found = (
        load(Plan(service.port, heard.files, 1, seconds)),
        load(Plan(service.port, heard.files, 1, long=heard.long)),
    )
    for one in found:
        heard.check(one.answers)
        if not one.answers or any(answer.text is None for answer in (*one.answers, *filter(None, [one.long]))):
            raise ValueError("a file was not answered")
    return found
