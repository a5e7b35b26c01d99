"""A model process as the engine sees it: what it works at, and that another takes its place when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from toolkit.serving.children import Child, ChildGoneError
from toolkit.serving.jobs import ModelCard
from toolkit.serving.messages import Cancel, Computed, Failed, FromProcess, Models, Ready, Setup, Taken, Told, ToProcess
from toolkit.serving.service_errors import UnavailableError

logger = logging.getLogger(__name__)

MODULE = "toolkit.serving.model_process"
MOST_DEATHS = 3  # one soon after the other, at start: then nobody waits for it any more, but it is tried again
HEALTHY_S = 10.0  # that a process was ready: its death has nothing to do with the one before
AGAIN_S = 0.5  # from the second of such deaths to another try, about twice as long each time
AT_MOST_S = 15.0
# Without a word of a process that has something to do: it hangs. Four hours without speech take Silero a minute.
SILENT_S, LOADING_S = 180.0, 600.0  # the latter while it loads a model
WATCHED_S = 1.0  # how often that is looked at
KEPT_SIZES = 10_000  # of batches, where nobody asks for them


class ProcessDiedError(Exception):
    """The process that worked at something is gone."""


class Work:
    """A job or session that a process has.

    Attributes
    ----------
    seconds
        Of its audio that wait.
    fed, taken
        Bytes of a session that were sent, and taken in; ``news`` is set when the latter have become more, or none will
        be any more.
    ends
        Whether no more audio comes: what is said is the end of it.
    asked
        Since when the process is to say something.
    over
        Whether nothing more comes.
    """

    def __init__(self, number: int, model: str, seconds: float, *, ends: bool) -> None:
        self.number, self.model, self.seconds, self.ends = number, model, seconds, ends
        self.asked = time.monotonic() if ends else math.inf
        self.fed, self.taken, self.news, self.over = 0, 0, asyncio.Event(), False
        self._answers: asyncio.Queue[Told | Exception] = asyncio.Queue()

    def feed(self, count: int) -> None:
        """So many bytes were sent; none: no more come."""
        self.fed, self.ends = self.fed + count, self.ends or not count
        self.asked = min(self.asked, time.monotonic())

    def take(self, fed: int) -> None:
        """So many of them were taken in."""
        self.taken = fed
        self.news.set()
        if fed == self.fed and not self.ends:
            self.asked = math.inf

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
    failed
        Whether it died again and again while it began; it is begun again all the same.
    loaded
        Models in memory.
    batches, windows, audio_s, busy_s
        What it has computed since the beginning: batches, the windows in them, seconds of audio and of computing.
    restarts
        Since the beginning.
    sizes
        Of the batches since they were last asked for, the last ones.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.ready = asyncio.Event()
        self.cards: tuple[ModelCard, ...] = ()
        self.loaded: frozenset[str] = frozenset()
        self.batches = self.windows = self.restarts = 0
        self.audio_s = self.busy_s = 0.0
        self.sizes = deque[int](maxlen=KEPT_SIZES)
        self.failed = False
        self._child: Child | None = None
        self._work: dict[int, Work] = {}
        self._heard = 0.0  # when it last said something
        self._ready_at = math.inf
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())

    async def started(self) -> None:
        """Returns when the process can transcribe for the first time. Raises a ToolkitError."""
        await self._started

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

    @contextlib.contextmanager
    def working(self, number: int, model: str, seconds: float, *, ends: bool = True) -> Iterator[Work]:
        """Something that the process is to do, until this is left."""
        work = self._work[number] = Work(number, model, seconds, ends=ends)
        try:
            yield work
        finally:
            if self._work.pop(number, None) is not None:
                self.send(Cancel(number))

    async def stop(self) -> None:
        """End the process."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._lose(UnavailableError("the service stops", retry_after=10))
        if self._child is not None:
            self._child.kill()
            await self._child.exit_code()

    async def _run(self) -> None:
        """Begin the process, and another when it has died; the sooner it dies, the later."""
        deaths = 0  # one soon after the other
        while True:
            self._ready_at = math.inf
            code = await self._live()
            ready_s = time.monotonic() - self._ready_at  # -inf: it never was
            deaths = 1 if ready_s > HEALTHY_S else deaths + 1
            self._lose(ProcessDiedError())
            logger.error("the process of %s ended (exit code %s)", self._setup.device, code)
            if deaths >= MOST_DEATHS and ready_s < 0:
                self._give_up(code)
            self.restarts += 1
            await asyncio.sleep(min(AGAIN_S * (2 ** min(deaths - 1, 9) - 1), AT_MOST_S))

    async def _live(self) -> int | None:
        """Begin the process and listen to it until it has ended; what it ended with, if it began."""
        try:
            self._child = child = await Child.begin(MODULE, self._setup)
        except OSError as error:
            logger.error("the process of %s cannot be begun: %s", self._setup.device, error)
            return None
        watching = asyncio.create_task(self._watch(child))
        try:
            with contextlib.suppress(ChildGoneError):
                await self._converse(child)
        finally:
            watching.cancel()
            self.ready.clear()
        return await child.exit_code()

    async def _watch(self, child: Child) -> None:
        """End the process when it hangs."""
        while self._silent_s < (LOADING_S if self._loads else SILENT_S):
            await asyncio.sleep(WATCHED_S)
        logger.error("process %d of %s hangs: it is ended", child.pid, self._setup.device)
        child.kill()

    @property
    def _silent_s(self) -> float:
        """Seconds that it was to say something, and did not."""
        asked = min((work.asked for work in self._work.values()), default=math.inf)
        return time.monotonic() - max(self._heard, asked)

    @property
    def _loads(self) -> bool:
        """Whether it is to load a model."""
        return any(work.model not in self.loaded for work in self._work.values())

    def _give_up(self, code: int | None) -> None:
        """Let nobody wait for it."""
        message = (
            f"the model process of {self._setup.device} ended {MOST_DEATHS} times while it began (exit code {code})"
        )
        logger.critical("%s", message)
        self.failed = True
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
            if self._started.done():
                logger.error("%s", message.error)
            else:
                self._started.set_exception(message.error)
        elif message.number in self._work:
            self._tell(self._work[message.number], message)

    def _begin(self, message: Ready) -> None:
        self.cards = self.cards or message.models
        self._setup = replace(self._setup, every=False)  # they were looked at
        self._ready_at, self.failed = time.monotonic(), False
        self.ready.set()
        if not self._started.done():
            self._started.set_result(None)

    def _tell(self, work: Work, message: Told | Failed | Taken) -> None:
        if isinstance(message, Taken):
            work.take(message.fed)
            return
        work.answer(message.error if isinstance(message, Failed) else message)
        if work.over:
            del self._work[work.number]

    def _lose(self, error: Exception) -> None:
        for work in self._work.values():
            work.answer(error)
        self._work.clear()
