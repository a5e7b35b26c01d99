"""An engine for tests, with the event loop that it belongs to; and something for it to hear."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile

from toolkit.inference.transcript import Transcript
from toolkit.serving.engine import ServiceEngine
from toolkit.serving.jobs import Job, Limits, joined

RATE = 16000
LIMITS = Limits(devices=("cpu",), threads=1, decoders=2, vad="energy")  # `noise` is no speech to Silero
T = TypeVar("T")


class Running:
    """An engine that was started; to be stopped."""

    def __init__(self, models: Mapping[str, Path], folder: Path, limits: Limits = LIMITS) -> None:
        self.folder, self.loop = folder, asyncio.new_event_loop()
        self.engine = ServiceEngine(models, limits, folder)
        self.run(self.engine.start())

    def run(self, awaitable: Awaitable[T], seconds: float = 120.0) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(awaitable, seconds))

    def stop(self, grace_s: float = 5.0) -> None:
        pids = self.pids()
        self.run(self.engine.stop(grace_s))
        self.loop.close()
        assert list(self.folder.iterdir()) == []
        assert not any(map(alive, pids))

    async def transcribe(self, file: Path, **options: object) -> Transcript:
        return joined([part async for part in self.engine.transcribe(Job(file, file.name, **options))])

    def pids(self) -> set[int]:
        decoders = {child.pid for child in self.engine._decoders._children}
        return decoders | {process.pid for process in self.engine._processes}

    def model_pid(self) -> int:
        return self.engine._processes[0].pid

    async def until(self, condition: object) -> None:
        while not condition():
            await asyncio.sleep(0.002)

    def set(self, **limits: object) -> None:
        self.engine.limits = replace(self.engine.limits, **limits)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    """A sound that changes all the time, with pauses: models of random weights hear letters."""
    random = np.random.default_rng(seed)
    count = round(seconds * RATE)
    loudness = np.repeat(np.abs(random.normal(size=count // 800 + 1)), 800)[:count]
    loudness[np.arange(count) % (6 * RATE) > 5.5 * RATE] = 0.0
    return (0.1 * random.normal(size=count) * loudness).clip(-0.9, 0.9).astype(np.float32)


def write(file: Path, seconds: float, seed: int = 0) -> Path:
    soundfile.write(file, noise(seconds, seed), RATE, subtype="FLOAT" if file.suffix == ".wav" else None)
    return file
