"""The engine of the service: files are decoded by some processes, and recognised by others; nothing computes here."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from anyio import move_on_after

from toolkit.errors import ToolkitError
from toolkit.inference.transcript import Transcript
from toolkit.serving.children import Child, ChildGoneError
from toolkit.serving.decoding import Decoders, Decoding
from toolkit.serving.jobs import Job, Limits, ModelCard, Status
from toolkit.serving.live_speech import LiveSpeech
from toolkit.serving.messages import OpenLive, Setup, Transcribe
from toolkit.serving.processes import ModelProcess, ProcessDiedError
from toolkit.serving.service_errors import BusyError, InvalidInputError, NotFoundError, UnavailableError
from toolkit.serving.tickets import Ticket
from toolkit.serving.upload_folder import bytes_in

logger = logging.getLogger(__name__)

TRIES = 2  # of a job whose process dies
RETRY_S = range(1, 61)  # that a client is asked to wait
DEVICES = "toolkit.serving.device_process"
STOPS = "the service stops; try again later"
DISK_RETRY_S = 5
BEGIN_S = 10  # until another process, or service, has begun


class ServiceEngine:
    """The `Engine` of models in folders.

    Parameters
    ----------
    models
        Folders, or names on the hub, by what requests call them; the first is the default.
    limits
        What is taken on.
    folder
        Where samples lie while they are recognised; by default where the system has temporary files.
    """

    def __init__(
        self, models: Mapping[str, str | Path], limits: Limits | None = None, folder: Path | None = None
    ) -> None:
        self.limits = limits or Limits()
        self._models = {name: str(source) for name, source in models.items()}
        self._parent = folder
        self._folder: Path | None = None  # of samples
        self._decoders = Decoders(self.limits.decoders)
        self._processes: list[ModelProcess] = []
        self._tickets: set[Ticket] = set()
        self._sessions: set[LiveSpeech] = set()
        self._numbers = itertools.count(1)
        self._left = asyncio.Event()  # somebody, since it was cleared
        self._suspects = asyncio.Lock()  # of files that were there when a process died, which are heard one by one
        self._open = False

    async def start(self) -> None:
        """Begin the processes and look at the models; returns when all can transcribe. Raises a ToolkitError."""
        self._folder = Path(tempfile.mkdtemp(prefix="asr-", dir=self._parent))
        try:
            await self._decoders.start()
            devices, threads = await self._devices()
            self._processes = [
                ModelProcess(self._setup(device, threads, every=not place)) for place, device in enumerate(devices)
            ]
            await asyncio.gather(*(process.started() for process in self._processes))
        except BaseException:
            await self.stop(0.0)
            raise
        self._open = True

    async def stop(self, grace_s: float) -> None:
        """Take no more jobs, answer those accepted for so many seconds, and end the processes."""
        self._open = False
        if self._folder is None:
            return
        with move_on_after(grace_s):
            while self._tickets or self._sessions:
                self._left.clear()
                await self._left.wait()
        reasons = {one: UnavailableError(f"{one.job.name}: {STOPS}", retry_after=BEGIN_S) for one in self._tickets}
        await asyncio.gather(*(ticket.end(reason) for ticket, reason in reasons.items()))
        await asyncio.gather(*(process.stop() for process in self._processes))
        await self._decoders.stop()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    @property
    def ready(self) -> bool:
        """Whether a model process answers."""
        return self._open and any(process.ready.is_set() for process in self._processes)

    @property
    def models(self) -> Sequence[ModelCard]:
        """The models that are served, the default one first."""
        loaded = frozenset[str]().union(*(process.loaded for process in self._processes))
        cards = self._processes[0].cards if self._processes else ()
        return [replace(card, loaded=card.name in loaded) for card in cards]

    def check_room(self) -> None:
        """Raise BusyError when no more requests may wait, and UnavailableError when none is answered."""
        if not self._open:
            raise UnavailableError("the service stops, or has not begun yet", retry_after=BEGIN_S)
        if len(self._tickets) >= self.limits.queue_requests:
            raise BusyError(f"{len(self._tickets)} requests wait", retry_after=self._retry_after())
        if self._waiting_s >= self.limits.queue_s:
            raise BusyError(f"{self._waiting_s:.0f} seconds of audio wait", retry_after=self._retry_after())

    def check_disk(self, more_bytes: int = 0) -> None:
        """Raise BusyError when there is no room on the disk for so much more."""
        if more_bytes > self._disk_room():
            raise BusyError("what waits takes as much of the disk as it may", retry_after=DISK_RETRY_S)

    async def transcribe(self, job: Job) -> AsyncIterator[Transcript]:
        """The parts of a file in their order as they are understood, as of `Engine`."""
        self.check_room()
        job = replace(job, model=self._card(job.model).name)
        ticket = Ticket(job, self._folder / f"{next(self._numbers)}.f32", self.limits.timeout_s)
        self._tickets.add(ticket)
        ticket.begin(self._answer, self._forget)
        try:
            async for part in ticket.parts():
                yield part
        finally:
            await ticket.end()

    async def open_live(self, model: str, sample_rate: int) -> LiveSpeech:
        """A session of speech."""
        self._check_live_room()
        name = self._card(model).name
        process = await self._least_loaded()
        self._check_live_room()  # others came, or the end, while no process could transcribe
        session = LiveSpeech(process, OpenLive(next(self._numbers), name, sample_rate), self._forget)
        self._sessions.add(session)
        return session

    def status(self) -> Status:
        """What goes on."""
        each = self._processes
        sizes = [size for process in each for size in process.sizes]
        for process in each:
            process.sizes.clear()
        return Status(
            waiting_requests=len(self._tickets),
            waiting_s=self._waiting_s,
            live_sessions=len(self._sessions),
            batches=sum(process.batches for process in each),
            batched_windows=sum(process.windows for process in each),
            batched_s=sum(process.audio_s for process in each),
            busy_s=sum(process.busy_s for process in each),
            restarts=sum(process.restarts for process in each),
            batch_sizes=sizes,
        )

    async def _answer(self, ticket: Ticket) -> None:
        """Decode a file, and have it recognised."""
        job, rate = ticket.job, self._card(ticket.job.model).sample_rate
        room = await asyncio.to_thread(self._disk_room) // self.limits.decoders
        decoding = Decoding(job.audio, ticket.samples, job.name, rate, job.channel, self.limits.audio_s, room)
        seconds = await self._decoders.header_s(decoding)
        self._weigh(ticket, seconds)
        self._weigh(ticket, await self._decoders.decode(decoding, seconds) / rate)
        await self._recognise(ticket)

    async def _recognise(self, ticket: Ticket) -> None:
        """Have raw samples recognised; when a process dies, another is to say those parts that it has not said."""
        said = deaths = 0  # processes that died before they said the part after those
        seconds = ticket.seconds
        while deaths < TRIES:
            place = 0
            with contextlib.ExitStack() as working, contextlib.suppress(ProcessDiedError):
                async with self._suspects if deaths and not said else contextlib.nullcontext():
                    process = await self._least_loaded()  # nothing is awaited before it works at the file
                    message = self._message(ticket, alone=deaths + said > 0)
                    work = working.enter_context(process.working(message.number, message.model, seconds))
                    process.send(message)
                    told = await work.next()
                for place in itertools.count(1):
                    if place > said:
                        said, deaths = place, 0
                        ticket.say(told.said)
                    if told.over:
                        return
                    ticket.seconds = work.seconds = max(0.0, seconds - told.said.duration)
                    told = await work.next()
            deaths += place == said
        raise InvalidInputError(f"{ticket.job.name}: the model process died of it, {TRIES} times", param="file")

    def _message(self, ticket: Ticket, *, alone: bool) -> Transcribe:
        number, job = next(self._numbers), ticket.job
        return Transcribe(number, ticket.samples, job.name, job.model, job.hotwords, job.nbest, ticket.left_s, alone)

    async def _least_loaded(self) -> ModelProcess:
        """The process that has the fewest seconds to do; waits where none can transcribe at the moment."""
        while True:
            ready = [process for process in self._processes if process.ready.is_set()]
            if ready:
                return min(ready, key=lambda process: process.waiting_s)
            waiting = [asyncio.create_task(one.ready.wait()) for one in self._processes if not one.failed]
            if not waiting:
                raise UnavailableError("the model does not run at the moment", retry_after=BEGIN_S)
            try:
                await asyncio.wait(waiting, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waiting:
                    task.cancel()

    def _card(self, name: str) -> ModelCard:
        """The model of a name; the default one without."""
        cards = {card.name: card for card in self.models}
        if name and name not in cards:
            raise NotFoundError(f"model {name[:80]!r}: no such model; there are {', '.join(cards)}", param="model")
        return cards[name or next(iter(cards))]

    def _disk_room(self) -> int:
        """Bytes that uploads and samples may still take."""
        return max(0, self.limits.disk_bytes - bytes_in(self._parent or self._folder))

    def _forget(self, done: Ticket | LiveSpeech) -> None:
        self._tickets.discard(done)
        self._sessions.discard(done)
        self._left.set()

    def _check_live_room(self) -> None:
        if not self._open:
            raise UnavailableError("the service stops, or has not begun yet", retry_after=BEGIN_S)
        if len(self._sessions) >= self.limits.live_sessions:
            raise BusyError(f"{len(self._sessions)} live sessions are open", retry_after=self._retry_after())

    def _weigh(self, ticket: Ticket, seconds: float) -> None:
        """Refuse a file for which there is no room, as its length is known; one alone always has room."""
        others = self._waiting_s - ticket.seconds
        if others > 0 and others + seconds > self.limits.queue_s:
            raise BusyError(f"{others:.0f} seconds of audio wait", retry_after=self._retry_after())
        ticket.weigh(seconds)

    @property
    def _waiting_s(self) -> float:
        return sum(ticket.seconds for ticket in self._tickets)

    def _retry_after(self) -> int:
        """Seconds, about, until half of what waits is done, at the speed so far."""
        speeds = [process.audio_s / process.busy_s for process in self._processes if process.busy_s]
        seconds = math.ceil(self._waiting_s / 2 / sum(speeds)) if speeds else RETRY_S[-1]
        return min(max(seconds, RETRY_S[0]), RETRY_S[-1])

    async def _devices(self) -> tuple[tuple[str, ...], int]:
        """Where models compute, and the threads of each process on a CPU."""
        child = await Child.begin(DEVICES, self.limits.devices)
        try:
            answer = await child.receive()
        except ChildGoneError:
            code = await child.exit_code()
            raise UnavailableError(f"the process that looks for devices ended (exit code {code})") from None
        await child.exit_code()
        if isinstance(answer, ToolkitError):
            raise answer
        devices, cores = answer
        return devices, self.limits.threads or max(1, cores // len(devices))

    def _setup(self, device: str, threads: int, *, every: bool) -> Setup:
        limits = self.limits
        return Setup(
            models=self._models,
            device=device,
            threads=threads,
            every=every,
            batch_s=limits.batch_s,
            batch_wait_s=limits.batch_wait_s,
            memory_bytes=limits.memory_bytes,
            vad=limits.vad,
            folder=self._folder,
        )
