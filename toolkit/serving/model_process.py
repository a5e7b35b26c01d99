"""What a model process does: one loop that recognises windows of files and of live speech, batch after batch."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from toolkit.errors import ToolkitError
from toolkit.inference.live import live
from toolkit.serving.children import Parent
from toolkit.serving.messages import (
    Cancel,
    Computed,
    Failed,
    Feed,
    FromProcess,
    Models,
    OpenLive,
    Ready,
    Setup,
    Taken,
    Told,
    ToProcess,
    Transcribe,
)
from toolkit.serving.model_shelf import Loaded, ModelShelf
from toolkit.serving.scheduling import FairQueue, Window
from toolkit.serving.service_errors import ServiceError, UnavailableError
from toolkit.serving.work import File, Session

logger = logging.getLogger(__name__)

TURN_S = 0.1  # that a batch for long files may take: as long waits who comes meanwhile
LONGEST_S = 1.0  # that any may: as long waits live speech
SPEED = 20.0  # seconds of audio, padded, that a model computes in one, before it is known: low, for a small first batch
AHEAD_S = 5.0  # of live speech that waits: then no more is taken
PADDING_S = 0.5  # lengths of batches are multiples: torch keeps memory for every length it meets


def main(parent: Parent, setup: Setup) -> None:
    """Work until the service ends."""
    torch.set_num_threads(setup.threads)
    shelf = ModelShelf(setup.models, setup.device, setup.memory_bytes, vad=setup.vad)
    first, *others = setup.models
    try:
        others = {name: shelf.load(name) for name in (others if setup.every else [])}
        cards = [shelf.load(first), *others.values()]  # the first is not put away for the others
    except ToolkitError as error:
        parent.send([Failed(0, error)])
        raise EOFError from None
    parent.send([Ready(tuple(cards)), Models(shelf.names)])
    inbox: queue.SimpleQueue[ToProcess] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(parent, inbox, setup.folder), daemon=True).start()
    Inference(parent, shelf, inbox, setup).run()


def _read(parent: Parent, inbox: queue.SimpleQueue[ToProcess], folder: Path) -> None:
    """Take what the service sends; when the service has ended, end at once, and leave none of its files."""
    try:
        while True:
            inbox.put(parent.receive())
    except (EOFError, OSError):
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)


class Inference:
    """The loop."""

    def __init__(self, parent: Parent, shelf: ModelShelf, inbox: queue.SimpleQueue[ToProcess], setup: Setup) -> None:
        self._parent, self._shelf, self._inbox, self._setup = parent, shelf, inbox, setup
        self._queue = FairQueue()
        self._work: dict[int, File | Session] = {}
        self._speeds: dict[str, float] = {}  # seconds of files' audio, padded, that a model computes in one
        self._outbox: list[FromProcess] = []

    def run(self) -> None:
        """Recognise what comes, for ever."""
        while True:
            self._listen()
            for number in self._queue.expired(time.monotonic()):
                self._fail(number, UnavailableError("was not transcribed in time"))
            if len(self._queue):
                self._hear(self._take())
            self._send()

    def _take(self) -> list[Item]:
        """A batch of what waits."""
        speed = self._speeds.get(self._work[self._queue.due()].model, SPEED)
        windows = self._queue.take(min(self._setup.batch_s, speed * LONGEST_S), speed * TURN_S)
        left = Counter(number for number, _ in windows)
        batch = []
        for number, window in windows:
            left[number] -= 1
            batch.append(Item(number, window, last=not left[number] and number not in self._queue))
        return batch

    def _listen(self) -> None:
        """Take all messages that are there; without any work, wait for one, and a moment for others."""
        self._ask_sessions()
        self._send()
        if not len(self._queue) and self._inbox.empty():
            self._accept(self._inbox.get())
            end = time.monotonic() + self._setup.batch_wait_s
            while (left := end - time.monotonic()) > 0:
                try:
                    self._accept(self._inbox.get(timeout=left))
                except queue.Empty:
                    break
        while not self._inbox.empty():
            self._accept(self._inbox.get())
        self._ask_sessions()

    def _ask_sessions(self) -> None:
        """Put what sessions want into the queue, and end those that are over."""
        for session in [one for one in self._work.values() if isinstance(one, Session)]:
            with self._alone(session.number):
                self._ask(session)

    def _ask(self, session: Session) -> None:
        if session.taken < session.fed and session.live.waiting_s < AHEAD_S:
            session.taken = session.fed
            self._outbox.append(Taken(session.number, session.fed))
        if session.number in self._queue:
            return
        window = session.window()
        if window is not None:
            self._queue.add(session.number, iter([window]), group=session.group, live=not session.early)
        elif session.live.over:
            self._outbox.append(Told(session.number, None, over=True))
            self._forget(session.number)

    @contextlib.contextmanager
    def _alone(self, number: int) -> Iterator[None]:
        """An error in this is that job's or session's alone."""
        try:
            yield
        except ServiceError as error:
            self._fail(number, error)
        except Exception:
            logger.exception("job %d", number)
            self._fail(number, ServiceError("the model failed on this audio"))

    def _accept(self, message: ToProcess) -> None:
        with self._alone(message.number):
            if isinstance(message, Transcribe):
                self._begin(message)
            elif isinstance(message, OpenLive):
                asr = self._model(message.model).listener
                self._work[message.number] = Session(message, asr, live(asr, message.sample_rate))
            elif isinstance(message, Cancel):
                self._forget(message.number)
            elif message.number in self._work:
                self._feed(self._work[message.number], message)
        self._send()

    def _begin(self, job: Transcribe) -> None:
        """Put a file into the queue."""
        asr = self._model(job.model).variant(job.nbest, job.hotwords)
        try:
            file = self._work[job.number] = File(job, asr)
        except FileNotFoundError:  # removed, for nobody waits for it any more
            return
        deadline = time.monotonic() + job.timeout_s
        if not self._queue.add(job.number, file.windows(), group=file.group, deadline=deadline):
            self._tell(job.number, None, [], last=True)

    def _feed(self, session: Session, message: Feed) -> None:
        if message.samples:
            session.feed(message.samples)
        else:
            session.live.finish()

    def _model(self, name: str) -> Loaded:
        before = self._shelf.names
        loaded = self._shelf.get(name, {one.model for one in self._work.values()})
        if set(self._shelf.names) != set(before):
            self._outbox.append(Models(self._shelf.names))
        return loaded

    def _hear(self, batch: list[Item]) -> None:
        """Recognise a batch, and tell what is known by it; after an error, its windows one by one."""
        started, work = time.monotonic(), [self._work[one.number] for one in batch]
        computed = self._computed(batch)
        if computed is None:  # the error is gone, and the memory that its traceback held
            self._hear_apart(batch)
            return
        for one, said in zip(batch, computed, strict=True):
            if one.number in self._work:
                with self._alone(one.number):
                    self._understand(one, said)
        self._note(batch, work, time.monotonic() - started)

    def _computed(self, batch: list[Item]) -> list[Any] | None:
        """What the model says of each window, nothing of quiet ones; None after an error."""
        spoken = [one for one in batch if one.window.content is not None]
        if not spoken:
            return [None] * len(batch)
        asr = self._work[batch[0].number].asr
        windows = [(self._work[one.number].recording, one.window.content) for one in spoken]
        try:
            computed = iter(asr.compute(windows, PADDING_S))
        except Exception as error:
            logger.error("%d windows: %s: %s", len(windows), type(error).__name__, error, exc_info=error)
            return None
        return [None if one.window.content is None else next(computed) for one in batch]

    def _hear_apart(self, batch: list[Item]) -> None:
        if len(batch) == 1:
            self._fail(batch[0].number, ServiceError("the model failed on this audio"))
            return
        for one in batch:
            if one.number in self._work:
                self._hear([one])

    def _understand(self, one: Item, said: Any) -> None:
        """Tell what is known by a window, once of each and in their order."""
        content = one.window.content
        found = [] if content is None else self._work[one.number].recording.understood(content, said)
        self._tell(one.number, content, found, last=one.last)

    def _note(self, batch: list[Item], work: list[File | Session], busy_s: float) -> None:
        lengths = [one.window.seconds for one in batch if one.window.content is not None]
        if not lengths:  # hours of silence tell nothing, and who tells nothing seems to hang
            self._outbox.append(Models(self._shelf.names))
            return
        self._outbox.append(Computed(len(lengths), sum(lengths), busy_s))
        if all(isinstance(one, File) for one in work):
            speed = len(lengths) * max(lengths) / busy_s
            before = self._speeds.get(work[0].model, speed)
            self._speeds[work[0].model] = before + 0.2 * (speed - before)

    def _tell(self, number: int, content: Any, found: list[Any], *, last: bool) -> None:
        work = self._work[number]
        self._outbox += work.told(content, found, last=last)
        if last and isinstance(work, File):
            self._forget(number)

    def _fail(self, number: int, error: ServiceError) -> None:
        self._outbox.append(Failed(number, error))
        self._forget(number)

    def _forget(self, number: int) -> None:
        self._queue.cancel(number)
        self._work.pop(number, None)

    def _send(self) -> None:
        if self._outbox:
            self._parent.send(self._outbox)
            self._outbox = []


class Item(NamedTuple):
    """A window of a job in a batch; after the ``last`` there is none."""

    number: int
    window: Window
    last: bool
