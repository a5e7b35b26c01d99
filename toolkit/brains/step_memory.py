"""How much memory the training step of a recipe takes, in a process of its own.

On a CPU that is the most that was resident of the whole process, Python, model and optimizer included; on a GPU, what
torch had allocated. The processes that read audio ahead are not counted.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import io
import logging
import multiprocessing
import os
import re
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import speechbrain as sb
import torch
from lhotse import AudioSource, CutSet, MonoCut, Recording, SupervisionSegment

from toolkit.brains.loggers import BY_KEY
from toolkit.dataio.config_values import as_mapping
from toolkit.dataio.extremes import Extreme
from toolkit.dataio.loaders import SpeechDataset
from toolkit.dataio.utterances import NOMINAL_RATE
from toolkit.errors import ConfigError, ModelError, ToolkitError
from toolkit.files import temporary_folder
from toolkit.hparams import HparamsDocument

_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


@dataclass(frozen=True)
class Recipe:
    """The YAML of a recipe, the device that it is to train on, the keys that are replaced, and options of the run."""

    path: Path
    device: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    run_opts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def on_gpu(self) -> bool:
        """Whether memory is that of a GPU."""
        return self.device.startswith("cuda")


class Trainer:
    """The Brain of a recipe, ready to train on any batch, such as those that are made up."""

    def __init__(self, recipe: Recipe) -> None:
        document = HparamsDocument(recipe.path)
        document.override({**recipe.overrides, "output_folder": str(temporary_folder("one-step-"))})
        document.override(dict.fromkeys(BY_KEY.keys() & document.data.keys(), False))  # nobody is to hear of it
        self.hparams = hparams = document.build()
        run_opts = {**recipe.run_opts, "device": recipe.device, "noprogressbar": True}
        self.brain = hparams["brain"](hparams, run_opts)
        self.brain.train_loader = _NoLoader()
        self.brain.on_fit_start()
        self.brain.on_stage_start(sb.Stage.TRAIN, 1)
        self.brain.modules.train()
        self.brain.zero_grad()

    def warm_up(self, seconds: float, text: str) -> None:
        """Train on one utterance, once: what the optimizer remembers is there from then on."""
        if not self.brain.optimizer_step:
            self.step(seconds, text, 1)

    def step(self, seconds: float, text: str, size: int) -> None:
        """Train on a batch of so many utterances of so many seconds, all with that text."""
        cut = _noise(seconds, self.sample_rate, text)
        self.train_on(SpeechDataset(self.hparams["tokenizer"])[CutSet([cut] * size)])

    def train_on(self, batch: Any) -> torch.Tensor:
        """The loss of a batch, of which the optimizer has made a step."""
        self.brain.step = self.brain.grad_accumulation_factor  # the batch that makes a step
        self.brain.nonfinite_count = 0
        return self.brain.fit_batch(batch)

    def evaluate_on(self, batch: Any, stage: str) -> torch.Tensor:
        """The loss of a batch in the stage ``VALID`` or ``TEST``, its search included."""
        self.brain.modules.eval()
        self.brain.on_stage_start(sb.Stage[stage], 1)
        with torch.no_grad():
            return self.brain.evaluate_batch(batch, sb.Stage[stage])

    @property
    def sample_rate(self) -> int:
        """Of what the model hears (Hz)."""
        rate = self.hparams.get("sample_rate") or as_mapping("train_data", self.hparams["train_data"]).get(
            "sample_rate"
        )
        return rate or NOMINAL_RATE


class _NoLoader:
    """In the place of the loader, of which a Brain asks where it is."""

    def seek(self, epoch: int, batches: int = 0) -> None:
        """Nothing."""

    def __len__(self) -> int:
        return 0


def _noise(seconds: float, rate: int, text: str) -> MonoCut:
    samples = np.random.default_rng(0).normal(0, 0.1, max(1, round(seconds * rate)))
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format="WAV", subtype="PCM_16")
    source = AudioSource("memory", [0], stream.getvalue())
    recording = Recording("noise", [source], rate, len(samples), len(samples) / rate)
    said = SupervisionSegment("noise", "noise", 0.0, recording.duration, 0, text)
    return MonoCut("noise", 0.0, recording.duration, 0, [said], recording=recording)


class StepMemory:
    """Measures steps in a child process, which may be killed for want of memory.

    Parameters
    ----------
    recipe
        What trains.
    memory
        Bytes that it may take; on a GPU, torch is held to them.
    """

    def __init__(self, recipe: Recipe, memory: int) -> None:
        self.recipe, self.memory = recipe, memory
        self._start()

    def _start(self) -> None:
        # A new interpreter: its peak is its own, and CUDA wants it so.
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, self.recipe, self.memory), daemon=True)
        self._process.start()
        there.close()

    def __enter__(self) -> StepMemory:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()

    def __call__(self, extreme: Extreme, size: int) -> int | None:
        """Bytes that a step with so many of the utterances takes; None where there are not so many.

        Raises
        ------
        ToolkitError
            The recipe cannot be built, or cannot train.
        """
        try:
            self._here.send((extreme.seconds, extreme.text, size))
            answer = self._here.recv()
        except (EOFError, ConnectionError) as error:
            self._process.join()
            if self._process.exitcode >= 0:
                raise ModelError(f"{self.recipe.path}: its training step fails, as the messages above say") from error
            self._start()  # the system had no memory for it, and ended it
            return None
        if isinstance(answer, Exception):
            raise answer
        return answer


def _serve(connection: Connection, recipe: Recipe, memory: int) -> None:
    """Answer requests for steps with their peaks, for as long as somebody asks."""
    logging.disable(logging.WARNING)  # nothing is trained, so nobody need know of optional packages and odd texts
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks ends this process, too
    try:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
        if recipe.on_gpu:
            torch.cuda.set_per_process_memory_fraction(
                min(1.0, memory / torch.cuda.get_device_properties(recipe.device).total_memory), recipe.device
            )
        trainer = Trainer(recipe)
        failure = None
    except ToolkitError as error:
        failure = error
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            request = connection.recv()
            connection.send(failure or _peak(trainer, request, on_gpu=recipe.on_gpu))


def _peak(trainer: Trainer, request: tuple[float, str, int], *, on_gpu: bool) -> int | Exception | None:
    seconds, text, size = request
    try:
        trainer.warm_up(seconds, text)
        with _gpu_peak() if on_gpu else _resident_peak() as peak:
            trainer.step(seconds, text, size)
    except (torch.OutOfMemoryError, MemoryError):
        return None
    except ToolkitError as error:
        return error
    except RuntimeError as error:
        if "can't allocate memory" in str(error):  # torch's allocator on a CPU
            return None
        raise
    return peak[0]


@contextlib.contextmanager
def _gpu_peak() -> Iterator[list[int]]:
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    peak: list[int] = []
    yield peak
    torch.cuda.synchronize()
    peak.append(torch.cuda.max_memory_allocated())


@contextlib.contextmanager
def _resident_peak() -> Iterator[list[int]]:
    """The most that is resident of this process, in bytes, while it is within."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)  # what glibc keeps for later counts as resident
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc(5): resets the peak
        peak: list[int] = []
        yield peak
        peak.append(1024 * int(_PEAK.search(Path("/proc/self/status").read_text(encoding="ascii"))[1]))
    except FileNotFoundError as error:
        raise ConfigError("memory of a CPU is measured by Linux's /proc, which is not there; use a GPU") from error
