"""Files that were uploaded as samples that a model hears: decoded by processes that may die of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyio import fail_after  # asyncio.wait_for of Python 3.11 may miss that it is cancelled

from toolkit.serving.children import Child, ChildGoneError
from toolkit.serving.service_errors import InvalidInputError, ServiceError

logger = logging.getLogger(__name__)

MODULE = "toolkit.serving.decoder_process"
LONGEST_S = 120.0  # of decoding: four hours of MP3 take 20
LARGE_S, LARGE_BYTES = 600.0, 4 << 20  # files of one or the other leave a decoder to others
AGAIN_S = 1.0  # until another process is begun, where the system refused


@dataclass(frozen=True)
class Decoding:
    """A file to be decoded to raw samples, mono float32, which are written to ``samples``.

    Attributes
    ----------
    name
        What the client calls it.
    channel
        Which one to take; by default their mean.
    most_s
        Of audio that are allowed.
    room_bytes
        For the samples on the disk.
    """

    file: Path
    samples: Path
    name: str
    sample_rate: int
    channel: int | None
    most_s: float
    room_bytes: int


@dataclass(frozen=True)
class Header:
    """The question how many seconds of audio a file says that it has; 0.0: it does not say. More are refused."""

    file: Path
    name: str
    most_s: float


class Decoders:
    """Processes that decode, each one file at a time."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._idle: asyncio.Queue[Child] = asyncio.Queue()
        self._children: set[Child] = set()
        self._large = asyncio.Semaphore(max(1, count - 1))
        self._beginning: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin the processes."""
        await asyncio.gather(*(self._begin() for _ in range(self._count)))

    async def stop(self) -> None:
        """End them. Nobody may wait for them any more."""
        for task in self._beginning:
            task.cancel()
        await asyncio.gather(*self._beginning, return_exceptions=True)
        await asyncio.gather(*map(self._end, tuple(self._children)))

    async def header_s(self, decoding: Decoding) -> float:
        """How many seconds the file says that it has; 0.0 where it does not. Raises as `decode`."""
        return await self._asked(Header(decoding.file, decoding.name, decoding.most_s))

    async def decode(self, decoding: Decoding, header_s: float = 0.0) -> int:
        """How many samples were written, of so many seconds about. Cancelled, it kills the process that decodes.

        Raises
        ------
        ServiceError
            The file is not audio, damaged, or too long; or it takes too long, or kills who decodes it.
        """
        large = header_s > LARGE_S or decoding.file.stat().st_size > LARGE_BYTES
        async with self._large if large else contextlib.nullcontext():
            return await self._asked(decoding)

    async def _asked(self, question: Header | Decoding) -> Any:
        async with self._borrowed() as child:
            child.send(question)
            try:
                with fail_after(LONGEST_S):
                    answer = await child.receive()
            except TimeoutError:
                raise InvalidInputError(f"{question.name}: takes too long to decode", param="file") from None
            except ChildGoneError:
                logger.warning("decoder %d died of a file", child.pid)
                raise InvalidInputError(f"{question.name}: cannot be decoded", param="file") from None
        if isinstance(answer, ServiceError):
            raise answer
        return answer

    @contextlib.asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[Child]:
        """A process for one file; if anything happens to it, another takes its place."""
        while not (child := await self._idle.get()).alive:
            self._replace_soon(child)
        try:
            yield child
        except BaseException:
            child.kill()
            self._replace_soon(child)
            raise
        self._idle.put_nowait(child)

    def _replace_soon(self, child: Child) -> None:
        task = asyncio.create_task(self._replace(child))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _replace(self, child: Child) -> None:
        while True:
            try:
                await self._begin()
                break
            except OSError as error:
                logger.error("a decoder cannot be begun: %s", error)
                await asyncio.sleep(AGAIN_S)
        await self._end(child)

    async def _begin(self) -> None:
        child = await Child.begin(MODULE)
        self._children.add(child)
        self._idle.put_nowait(child)

    async def _end(self, child: Child) -> None:
        child.kill()
        await child.exit_code()
        self._children.discard(child)
