"""A request that was accepted: a task answers it, and is done in time, however slowly the answer is read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from anyio import CancelScope, current_time, fail_after  # asyncio.wait_for of Python 3.11 may miss that it is cancelled

from toolkit.inference.transcript import Transcript
from toolkit.serving.jobs import Job
from toolkit.serving.service_errors import ServiceError, UnavailableError


class Ticket:
    """A file that is transcribed.

    Parameters
    ----------
    samples
        Where it lies while it is recognised; removed when it is answered.
    timeout_s
        In which it is answered; and as many seconds more as its audio has.

    Attributes
    ----------
    seconds
        Of its audio that wait, once they are known.
    """

    def __init__(self, job: Job, samples: Path, timeout_s: float) -> None:
        self.job, self.samples, self.seconds = job, samples, 0.0
        self._timeout_s, self._began = timeout_s, current_time()
        self._answers: asyncio.Queue[Transcript | Exception | None] = asyncio.Queue()
        self._time: CancelScope | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self, answer: Callable[[Ticket], Awaitable[None]], ended: Callable[[Ticket], None]) -> None:
        """Have it answered by ``answer``, which calls `say`; ``ended`` is called when nobody works at it any more."""
        self._task = asyncio.create_task(self._run(answer))
        self._task.add_done_callback(lambda _: ended(self))

    def weigh(self, seconds: float) -> None:
        """Tell how long it is."""
        self.seconds = seconds
        self._time.deadline = self._began + self._timeout_s + seconds

    @property
    def left_s(self) -> float:
        """Seconds in which it is to be answered."""
        return self._time.deadline - current_time()

    def say(self, part: Transcript) -> None:
        """Let `parts` have another."""
        self._answers.put_nowait(part)

    async def parts(self) -> AsyncIterator[Transcript]:
        """What is said. Raises ServiceError."""
        while (answer := await self._answers.get()) is not None:
            if isinstance(answer, Exception):
                raise answer
            yield answer

    async def end(self, error: ServiceError | None = None) -> None:
        """Answer it no further, for this reason."""
        self._answers.put_nowait(error)
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self, answer: Callable[[Ticket], Awaitable[None]]) -> None:
        end: Exception | None = None
        try:
            with fail_after(self._timeout_s) as self._time:
                await answer(self)
        except TimeoutError:
            end = UnavailableError(f"{self.job.name}: was not transcribed in time; try again later")
        except Exception as error:  # whatever it is, who waits is told
            end = error
        finally:  # a gigabyte takes a while
            await asyncio.shield(asyncio.to_thread(self.samples.unlink, missing_ok=True))
        self._answers.put_nowait(end)
