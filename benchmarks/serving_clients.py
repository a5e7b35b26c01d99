"""Clients that ask a service again as soon as it has answered, in a process of their own that costs little.

Plain HTTP over asyncio, requests made and answers read outside the measured time: the two sides share the cores with
them, and what they take is told.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

BOUNDARY = "asr"
PROBE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
PROBE_EVERY_S = 0.05


class Answer(NamedTuple):
    """What became of a file: seconds until it was answered, HTTP's status, the text where there is one."""

    file: int
    seconds: float
    status: int
    text: str | None


@dataclass(frozen=True)
class Plan:
    """Who asks: so many clients, the files in turn, for so many seconds, or until a long file, sent first, is answered.

    A client that breaks off, once a second, sends half of a file.
    """

    port: int
    files: Sequence[str]
    clients: int = 1
    seconds: float = 0.0
    long: str | None = None
    breaking_off: bool = False


@dataclass(frozen=True)
class Load:
    """What a service answered.

    Attributes
    ----------
    wall, cpu
        Seconds from the first request to the last answer, and those that the clients computed.
    health
        Seconds that each answer to a probe took, one at a time.
    long
        The answer to the long file.
    """

    wall: float
    cpu: float
    answers: list[Answer]
    health: list[float]
    long: Answer | None

    def latency(self, percent: float) -> float:
        """Seconds that so many of a hundred answers took at most."""
        ordered = sorted(answer.seconds for answer in self.answers)
        return ordered[min(len(ordered) - 1, int(percent / 100 * len(ordered)))]


def load(plan: Plan) -> Load:
    """What a service answers to such clients."""
    command = [sys.executable, __file__]
    done = subprocess.run(command, input=json.dumps(asdict(plan)), stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    answers = [Answer(*one) for one in found.pop("answers")]
    long = found.pop("long")
    return Load(answers=answers, long=long and Answer(*long), **found)


class Connection:
    """One to a service, opened anew where that has closed it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> tuple[float, int, bytes]:
        """Seconds, status and body of the answer; status 0 where there is none."""
        began = time.perf_counter()
        try:
            reader, writer = self.streams = self.streams or await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(request)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length:")[2].partition(b"\r")[0]
            body = await reader.readexactly(int(length))
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return time.perf_counter() - began, 0, b""
        if b"connection: close" in head:
            self.close()
        return time.perf_counter() - began, int(head.split(maxsplit=2)[1]), body

    async def break_off(self, request: bytes) -> None:
        """Send half of it, and leave."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request[: len(request) // 2])
        await writer.drain()
        writer.close()

    def close(self) -> None:
        """Leave."""
        if self.streams:
            self.streams[1].close()
        self.streams = None


class Clients:
    """All clients of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.requests = [request_of(Path(path)) for path in plan.files]
        self.turns = itertools.cycle(range(len(self.requests)))
        self.long: asyncio.Task[tuple[float, int, bytes]] | None = None
        self.end = 0.0

    async def run(self) -> dict[str, object]:
        """The fields of a Load."""
        began, cpu = time.perf_counter(), time.process_time()
        self.end = began + self.plan.seconds
        others = [asyncio.create_task(self.probe())]
        if self.plan.long:
            self.long = asyncio.create_task(Connection(self.plan.port).ask(request_of(Path(self.plan.long))))
        if self.plan.breaking_off:
            others.append(asyncio.create_task(self.break_off()))
        found = await asyncio.gather(*(self.client() for _ in range(self.plan.clients)))
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        health, *_ = await asyncio.gather(*others)
        answers = [answered(*one) for some in found for one in some]
        long = answered(-1, await self.long) if self.long else None
        return {"wall": wall, "cpu": cpu, "answers": answers, "health": health, "long": long}

    @property
    def going_on(self) -> bool:
        """Whether there is more to ask."""
        return time.perf_counter() < self.end if self.long is None else not self.long.done()

    async def client(self) -> list[tuple[int, tuple[float, int, bytes]]]:
        """What one client is answered."""
        connection, found = Connection(self.plan.port), []
        while self.going_on:
            file = next(self.turns)
            found.append((file, await connection.ask(self.requests[file])))
        connection.close()
        return found

    async def probe(self) -> list[float]:
        """How long it takes the service to say that it lives."""
        connection, found = Connection(self.plan.port), []
        while self.going_on:
            seconds, status, _ = await connection.ask(PROBE)
            found.append(seconds if status == 200 else float("inf"))
            await asyncio.sleep(PROBE_EVERY_S)
        connection.close()
        return found

    async def break_off(self) -> list[float]:
        """Send a half file every second."""
        while self.going_on:
            await Connection(self.plan.port).break_off(self.requests[next(self.turns)])
            await asyncio.sleep(1)
        return []


def request_of(path: Path) -> bytes:
    """``POST /transcribe`` with a file, as curl -F sends it."""
    disposition = f'Content-Disposition: form-data; name="file"; filename="{path.name}"'
    before = f"--{BOUNDARY}\r\n{disposition}\r\nContent-Type: application/octet-stream\r\n\r\n".encode()
    body = before + path.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()
    head = f"POST /transcribe HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def answered(file: int, answer: tuple[float, int, bytes]) -> Answer:
    """The answer to a file, read."""
    seconds, status, body = answer
    return Answer(file, seconds, status, json.loads(body)["text"] if status == 200 else None)


if __name__ == "__main__":
    json.dump(asyncio.run(Clients(Plan(**json.load(sys.stdin))).run()), sys.stdout)
