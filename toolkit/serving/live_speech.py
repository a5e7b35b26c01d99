"""A live session as the doors see it: what is fed goes to a model process, what that hears comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack

from toolkit.inference.transcript import Heard
from toolkit.serving.messages import Feed, OpenLive
from toolkit.serving.processes import ModelProcess, ProcessDiedError
from toolkit.serving.service_errors import UnavailableError

AHEAD_S = 10.0  # that may be fed and not taken in: who feeds faster than is heard, waits
SAMPLE_BYTES = 2
WEIGHT_S = 10.0  # of audio that waits: as much of a process a session is taken for


class LiveSpeech:
    """The `LiveSession` of a model process."""

    def __init__(self, process: ModelProcess, opening: OpenLive, forget: Callable[[LiveSpeech], None]) -> None:
        self._process, self._number, self._forget = process, opening.number, forget
        self._most_ahead = AHEAD_S * opening.sample_rate * SAMPLE_BYTES
        self._closing = ExitStack()
        self._work = self._closing.enter_context(process.working(opening.number, opening.model, WEIGHT_S, ends=False))
        process.send(opening)

    async def feed(self, samples: bytes) -> None:
        """Take 16-bit little-endian mono samples at the rate that the session was opened with, however many."""
        if not samples:
            return
        self._send(samples)
        while self._work.fed - self._work.taken > self._most_ahead and not self._work.over:
            self._work.news.clear()
            await self._work.news.wait()

    async def finish(self) -> None:
        """No more samples come; the last line follows, then `heard` ends."""
        self._send(b"")

    async def heard(self) -> AsyncIterator[Heard]:
        """What was understood, as it comes. Raises ServiceError."""
        try:
            while True:
                told = await self._work.next()
                if told.said is not None:
                    yield told.said
                if told.over:
                    return
        except ProcessDiedError:
            raise UnavailableError("the model process ended; begin the session again") from None
        finally:
            await self.close()

    async def close(self) -> None:
        """Forget the session, finished or not."""
        self._closing.close()
        self._forget(self)

    def _send(self, samples: bytes) -> None:
        self._process.send(Feed(self._number, samples))
        self._work.feed(len(samples))
