"""A model process as the engine sees it: what it works at, and that another takes its place when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import replace

from toolkit.serving.children import Child, ChildGoneError
from toolkit.serving.jobs import ModelCard
from toolkit.serving.messages import Cancel, Computed, Failed, FromProcess, Models, Ready, Setup, Taken, Told, ToProcess
from toolkit.serving.service_errors import UnavailableError

logger = logging.getLogger(__name__)

MODULE = "toolkit.serving.model_process"
MOST_DEATHS = 3  # at start, one after the other
AGAIN_S = 0.5  # from the first of them to another try; then twice as long


class ProcessDiedError(Exception):
    """The process that worked at something is gone."""


class Work:
    """A job or session that a process has.

    Attributes
    ----------
    taken
        Bytes of a session that were taken in; ``news`` is set when they have become more, or none will be any more.
    over
        Whether nothing more comes.
    """

    def __init__(self, process: ModelProcess, number: int, seconds: float) -> None:
        self.process, self.number, self.seconds = process, number, seconds
        self.began = time.monotonic()
        self.taken, self.news, self.over = 0, asyncio.Event(), False
        self._answers: asyncio.Queue[Told | Exception] = asyncio.Queue()

    def answer(self, answer: Told | Exception) -> None:
        """Let `next` have something."""
        self._answers.put_nowait(answer)
        if isinstance(answer, Exception) or answer.over:
            self.over = True
            self.news.set()

    async def next(self) -> Told:
        """What is told next. Raises a ServiceError, or a ProcessDiedError."""
        answer = await self._answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer


class ModelProcess:
    """One device's process, and its successors.

    Attributes
    ----------
    ready
        Set while it can transcribe.
    cards
        Of the models, once it was ready.
    totals
        What it has computed since the beginning: batches, windows, seconds of audio and of computing.
    sizes
        Of the batches since they were last asked for.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.ready = asyncio.Event()
        self.cards: tuple[ModelCard, ...] = ()
        self.loaded: frozenset[str] = frozenset()
        self.batches = self.windows = self.restarts = 0
        self.audio_s = self.busy_s = 0.0
        self.sizes: list[int] = []
        self._child: Child | None = None
        self._work: dict[int, Work] = {}
        self._heard = 0.0  # when it last said something
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())

    async def started(self) -> None:
        """Returns when the process can transcribe for the first time. Raises a ToolkitError."""
        await self._started

    @property
    def failed(self) -> bool:
        """Whether it died again and again, and is not begun any more."""
        return self._task.done()

    @property
    def waiting_s(self) -> float:
        """Seconds of audio that it has to do."""
        return sum(work.seconds for work in self._work.values())

    @property
    def pid(self) -> int | None:
        """Of the process at the moment."""
        return self._child.pid if self._child else None

    def send(self, message: ToProcess) -> None:
        """Let the process have a message."""
        if self._child is not None:
            self._child.send(message)

    async def drained(self) -> None:
        """Returns when it has taken most of what was sent."""
        if self._child is not None:
            await self._child.drained()

    @contextlib.contextmanager
    def working(self, number: int, seconds: float) -> Iterator[Work]:
        """Something that the process is to do, until this is left."""
        work = self._work[number] = Work(self, number, seconds)
        try:
            yield work
        finally:
            if self._work.pop(number, None) is not None:
                self.send(Cancel(number))

    def suspect(self, work: Work) -> None:
        """End the process if it has said nothing since something was begun, for which nobody waits any longer."""
        if self._child is not None and self._heard < work.began:
            logger.error("process %d of %s hangs: it is ended", self._child.pid, self._setup.device)
            self._child.kill()

    async def stop(self) -> None:
        """End the process."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._lose(UnavailableError("the service stops", retry_after=10))
        if self._child is not None:
            self._child.kill()
            await self._child.exit_code()

    async def _run(self) -> None:
        """Begin the process, and another when it has died, until it dies again and again without being ready."""
        deaths = 0
        while True:
            code = await self._live()
            deaths = 0 if self.ready.is_set() else deaths + 1
            self.ready.clear()
            self._lose(ProcessDiedError())
            logger.error("the process of %s ended (exit code %s)", self._setup.device, code)
            if deaths >= MOST_DEATHS:
                return self._give_up(code)
            self.restarts += 1
            await asyncio.sleep(AGAIN_S * 2**deaths if deaths else 0)

    async def _live(self) -> int | None:
        """Begin the process and listen to it until it has ended; what it ended with, if it began."""
        try:
            self._child = await Child.begin(MODULE, self._setup)
        except OSError as error:
            logger.error("the process of %s cannot be begun: %s", self._setup.device, error)
            return None
        with contextlib.suppress(ChildGoneError):
            await self._converse(self._child)
        return await self._child.exit_code()

    def _give_up(self, code: int | None) -> None:
        message = (
            f"the model process of {self._setup.device} ended {MOST_DEATHS} times while it began (exit code {code})"
        )
        logger.critical("%s: it is not begun again", message)
        self._lose(UnavailableError("the model does not run at the moment"))
        if not self._started.done():
            self._started.set_exception(UnavailableError(message))

    async def _converse(self, child: Child) -> None:
        while True:
            for message in await child.receive():
                self._take(message)

    def _take(self, message: FromProcess) -> None:
        self._heard = time.monotonic()
        if isinstance(message, Computed):
            self.batches, self.windows = self.batches + 1, self.windows + message.windows
            self.audio_s, self.busy_s = self.audio_s + message.audio_s, self.busy_s + message.busy_s
            self.sizes.append(message.windows)
        elif isinstance(message, Models):
            self.loaded = frozenset(message.names)
        elif isinstance(message, Ready):
            self._begin(message)
        elif isinstance(message, Failed) and not message.number:
            if not self._started.done():
                self._started.set_exception(message.error)
        elif message.number in self._work:
            self._tell(self._work[message.number], message)

    def _begin(self, message: Ready) -> None:
        self.cards = self.cards or message.models
        self._setup = replace(self._setup, every=False)  # they were looked at
        self.ready.set()
        if not self._started.done():
            self._started.set_result(None)

    def _tell(self, work: Work, message: Told | Failed | Taken) -> None:
        if isinstance(message, Taken):
            work.taken = message.fed
            work.news.set()
            return
        work.answer(message.error if isinstance(message, Failed) else message)
        if work.over:
            del self._work[work.number]

    def _lose(self, error: Exception) -> None:
        for work in self._work.values():
            work.answer(error)
        self._work.clear()
