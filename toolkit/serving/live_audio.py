"""What a client of a live session sends, as samples: raw ones as they are, others decoded in a process of their own."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from toolkit.dataio.pcm import BYTES, MAGIC_BYTES, container_of
from toolkit.serving.live_messages import RAW
from toolkit.serving.service_errors import ServiceError, UnsupportedMediaError

Feed = Callable[[bytes], Awaitable[None]]  # takes whole samples of 16 bits

PIECE_BYTES = 1 << 14  # of samples that are read from a decoder at once: half a second at 16 kHz


class AudioIn(Protocol):
    """Takes bytes as they come, and feeds samples."""

    async def feed(self, data: bytes) -> None:
        """Take the next bytes; waits where more come than are fed. Raises UnsupportedMediaError."""

    async def finish(self) -> None:
        """No more bytes come; returns when all samples are fed. Raises UnsupportedMediaError."""


@contextlib.asynccontextmanager
async def audio_in(form: str, sample_rate: int, feed: Feed) -> AsyncIterator[AudioIn]:
    """Audio in one of the formats of `toolkit.serving.live_api`, for the length of a session."""
    if form == RAW:
        yield RawIn(feed)
        return
    decoder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "toolkit.serving.opus_decoder", str(sample_rate)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    pumping = asyncio.create_task(_pump(decoder, feed))
    try:
        yield DecodedIn(decoder, pumping)
    finally:
        pumping.cancel()
        await asyncio.gather(pumping, return_exceptions=True)
        with contextlib.suppress(ProcessLookupError):
            decoder.kill()
        await decoder.wait()


class RawIn:
    """Samples that come as such."""

    def __init__(self, feed: Feed) -> None:
        self._feed, self._rest, self._began = feed, b"", False

    async def feed(self, data: bytes) -> None:
        """Feed the samples that are whole."""
        data = self._rest + data
        if not self._began and len(data) >= MAGIC_BYTES:
            self._began = True
            if container := container_of(data):
                raise UnsupportedMediaError(
                    f"these are bytes of a {container} file: expected raw samples of 16 bits, or another format",
                    param="format",
                )
        whole = len(data) - len(data) % BYTES if self._began else 0
        self._rest = data[whole:]
        if whole:
            await self._feed(data[:whole])

    async def finish(self) -> None:
        """Feed what is left; half of a sample is none."""
        self._began = True
        await self.feed(b"")


class DecodedIn:
    """A file that a process decodes as it comes."""

    def __init__(self, decoder: asyncio.subprocess.Process, pumping: asyncio.Task[None]) -> None:
        self._decoder, self._pumping = decoder, pumping

    async def feed(self, data: bytes) -> None:
        """Give bytes to the decoder, unless it has failed."""
        if self._pumping.done():
            await self._end()
        with contextlib.suppress(ConnectionError):  # its exit status says more
            self._decoder.stdin.write(data)
            await self._decoder.stdin.drain()

    async def finish(self) -> None:
        """Let the decoder come to its end."""
        self._decoder.stdin.close()
        await self._end()

    async def _end(self) -> None:
        await self._pumping
        if await self._decoder.wait():
            raise UnsupportedMediaError(
                "the audio cannot be decoded: expected Opus in WebM or Ogg, from its first byte on", param="format"
            )


async def _pump(decoder: asyncio.subprocess.Process, feed: Feed) -> None:
    """Feed what the decoder writes."""
    rest = b""
    try:
        while data := await decoder.stdout.read(PIECE_BYTES):
            data = rest + data
            whole = len(data) - len(data) % BYTES
            rest = data[whole:]
            if whole:
                await feed(data[:whole])
    except ServiceError:
        decoder.kill()  # who waits to give it more bytes is let go
        raise
