"""Files that were uploaded as samples that a model hears: decoded by processes that may die of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.serving.children import Child, ChildGoneError
from toolkit.serving.service_errors import InvalidInputError, ServiceError

logger = logging.getLogger(__name__)

MODULE = "toolkit.serving.decoder_process"
LONGEST_S = 120.0  # of decoding: four hours of MP3 take 20
LARGE_BYTES = 4 << 20  # such files leave one decoder to others
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

    async def decode(self, decoding: Decoding) -> int:
        """How many samples were written. Cancelled, it kills the process that decodes.

        Raises
        ------
        ServiceError
            The file is not audio, damaged, or too long; or it takes too long, or kills who decodes it.
        """
        large = decoding.file.stat().st_size > LARGE_BYTES
        async with self._large if large else contextlib.nullcontext(), self._borrowed() as child:
            child.send(decoding)
            try:
                answer = await asyncio.wait_for(child.receive(), LONGEST_S)
            except asyncio.TimeoutError:
                raise InvalidInputError(f"{decoding.name}: takes too long to decode", param="file") from None
            except ChildGoneError:
                logger.warning("decoder %d died of a file", child.pid)
                raise InvalidInputError(f"{decoding.name}: cannot be decoded", param="file") from None
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
