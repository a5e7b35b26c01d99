"""What a model process does: one loop that recognises windows of files and of live speech, batch after batch."""

from __future__ import annotations

import logging
import os
import queue
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch

from toolkit.errors import ToolkitError
from toolkit.inference.recordings import Recording
from toolkit.inference.transcriber import Transcriber
from toolkit.inference.transcript import Transcript
from toolkit.serving.children import Parent
from toolkit.serving.messages import Cancel, Computed, Failed, FromProcess, Loaded, Ready, Setup, Told, ToProcess, Transcribe
from toolkit.serving.model_shelf import ModelShelf
from toolkit.serving.scheduling import FairQueue, Window
from toolkit.serving.service_errors import InvalidInputError, ServiceError, UnavailableError

logger = logging.getLogger(__name__)

BLOCK_S = 10.0  # of raw samples, in memory
TURN_S = 0.2  # that a batch for long files may take: as long waits who comes meanwhile
FIRST_S = 20.0  # of audio, for a batch of long files before the speed is known
PADDING_S = 0.5  # lengths of batches are multiples: torch keeps memory for every length it meets


def main(parent: Parent, setup: Setup) -> None:
    """Work until the service ends."""
    torch.set_num_threads(setup.threads)
    numba.set_num_threads(min(setup.threads, numba.config.NUMBA_NUM_THREADS))
    shelf = ModelShelf(setup.models, setup.device, setup.memory_bytes)
    first, *others = setup.models
    try:
        cards = {name: shelf.load(name) for name in (others if setup.every else [])}
        cards = {first: shelf.load(first), **cards}  # is not put away for the others
    except ToolkitError as error:
        parent.send([Failed(0, error)])
        raise EOFError from None
    parent.send([Ready(tuple(cards.values())), Loaded(shelf.names)])
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


@dataclass
class File:
    """A file that is transcribed."""

    job: Transcribe
    asr: Transcriber
    recording: Recording

    def part(self, pieces: list[Any]) -> Transcript:
        """What is said in some pieces."""
        return self.asr.written(pieces, self.job.name, self.recording.samples)


class Inference:
    """The loop."""

    def __init__(self, parent: Parent, shelf: ModelShelf, inbox: queue.SimpleQueue[ToProcess], setup: Setup) -> None:
        self._parent, self._shelf, self._inbox, self._setup = parent, shelf, inbox, setup
        self._queue = FairQueue()
        self._files: dict[int, File] = {}
        self._speed: dict[str, float] = {}  # of a model: seconds of audio, padded, computed in one
        self._outbox: list[FromProcess] = []

    def run(self) -> None:
        """Recognise what comes, for ever."""
        while True:
            self._listen()
            for number in self._queue.expired(time.monotonic()):
                self._fail(number, UnavailableError("was not transcribed in time"))
            if batch := self._queue.take(self._setup.batch_s, self._turn_s()):
                self._hear(batch)
            self._send()

    def _listen(self) -> None:
        """Take all messages that are there; without any work, wait for one, and a moment for others."""
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

    def _accept(self, message: ToProcess) -> None:
        try:
            if isinstance(message, Transcribe):
                self._begin(message)
            elif isinstance(message, Cancel):
                self._forget(message.number)
        except ServiceError as error:
            self._fail(message.number, error)
        except Exception:
            logger.exception("job %d", message.number)
            self._fail(message.number, ServiceError("the model failed"))

    def _begin(self, job: Transcribe) -> None:
        """Put a file into the queue."""
        before = self._shelf.names
        asr = self._shelf.get(job.model).variant(job.nbest, job.hotwords)
        if self._shelf.names != before:
            self._outbox.append(Loaded(self._shelf.names))
        recording = asr.recording(blocks_of(job.samples, round(BLOCK_S * asr.sample_rate)))
        windows = (Window(len(one.wav) / asr.sample_rate, one) for one in recording.windows)
        group = job.number if job.alone or recording.alone else (job.model, job.nbest, job.hotwords)
        file = self._files[job.number] = File(job, asr, recording)
        if not self._queue.add(job.number, windows, group=group, deadline=time.monotonic() + job.timeout_s):
            self._finish(file, [])

    def _hear(self, batch: list[tuple[int, Window]]) -> None:
        """Recognise a batch, and tell what is known by it."""
        asr, model = self._files[batch[0][0]].asr, self._files[batch[0][0]].job.model
        started = time.monotonic()
        pairs = [(self._files[number].recording, window.content) for number, window in batch]
        try:
            heard = asr.hear(pairs, PADDING_S)
        except Exception as error:
            self._hear_each(batch, error)
            return
        busy = time.monotonic() - started
        self._outbox.append(Computed(len(batch), sum(window.seconds for _, window in batch), busy))
        speed = len(batch) * max(window.seconds for _, window in batch) / busy
        self._speed[model] = 0.8 * self._speed.get(model, speed) + 0.2 * speed
        for (number, _), pieces in zip(batch, heard, strict=True):
            file = self._files[number]
            ...
