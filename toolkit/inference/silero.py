"""Where somebody speaks, by Silero's neural detector, whose wheel holds its graph (extra [vad])."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toolkit.errors import ConfigError, MissingDependencyError
from toolkit.models.onnx import open_session

# Of the graph: samples of a window, and of the window before that it sees too.
WINDOWS = {8000: (256, 32), 16000: (512, 64)}
STATE = (2, 1, 128)
CHANCE = 0.7  # Silero's own 0.5 holds on for longer after a word: on AN4, joined, 0.5 % more WER


class Silero:
    """A `toolkit.inference.speech.Detector`: the chance of speech, the highest of the 32 ms windows in each frame.

    Unlike levels, it tells speech from other loud sounds.

    Raises
    ------
    MissingDependencyError
        silero-vad or onnxruntime is not installed.
    ConfigError
        The audio is not of 8 or 16 kHz.
    """

    def __init__(self, sample_rate: int, frame: int) -> None:
        if sample_rate not in WINDOWS:
            raise ConfigError(f"Silero's detector hears 8000 or 16000 Hz, and this model {sample_rate}: use energy")
        self.sample_rate, self.frame = sample_rate, frame
        self._session = _session()
        self._window, context = WINDOWS[sample_rate]
        self._state, self._context = np.zeros(STATE, np.float32), np.zeros(context, np.float32)
        self._rest, self._chances = np.zeros(0, np.float32), np.zeros(0)
        self._skip = 0  # samples of the first window in `_chances` that are of frames before

    def feed(self, block: Tensor) -> NDArray[np.float64]:
        """The chance of speech in each frame (T,) that the next samples (S,) complete."""
        wav = np.concatenate([self._rest, block.numpy()])
        beyond = 0
        if not len(block):
            beyond = -len(wav) % self._window
            wav = np.pad(wav, (0, beyond))
        whole = len(wav) // self._window
        self._rest = wav[whole * self._window :]
        heard = [self._hear(window) for window in wav[: whole * self._window].reshape(whole, self._window)]
        self._chances = np.concatenate([self._chances, heard])
        samples = len(self._chances) * self._window - self._skip - beyond
        return self._framed(samples // self.frame if len(block) else -(-samples // self.frame))

    def threshold(self, around: NDArray[np.float64]) -> float:  # noqa: ARG002
        """The chance above which it is speech."""
        return CHANCE

    def _hear(self, window: NDArray[np.float32]) -> float:
        """The chance of speech in the next window (S,)."""
        seen = np.concatenate([self._context, window])
        inputs = {"input": seen[None], "state": self._state, "sr": np.array(self.sample_rate)}
        chance, self._state = self._session.run(None, inputs)
        self._context = seen[-len(self._context) :]
        return float(chance[0, 0])

    def _framed(self, count: int) -> NDArray[np.float64]:
        """The chances of so many frames, which are then done with."""
        starts = self._skip + self.frame * np.arange(count + 1)
        ends = -(-starts[1:] // self._window)
        found = [self._chances[start // self._window : end].max() for start, end in zip(starts, ends, strict=False)]
        done = starts[-1] // self._window
        self._chances, self._skip = self._chances[done:], int(starts[-1] - done * self._window)
        return np.array(found)


def graph_file() -> Path:
    """Where the graph is that silero-vad brings."""
    threads = torch.get_num_threads()
    try:
        import silero_vad
    except ImportError:
        raise MissingDependencyError("Silero's detector needs silero-vad: pip install 'asr-recipes[vad]'") from None
    finally:
        torch.set_num_threads(threads)  # which importing it sets to one
    return Path(silero_vad.__file__).parent / "data" / "silero_vad.onnx"


@lru_cache(maxsize=1)
def _session() -> Any:
    """The graph, loaded; it keeps no state."""
    return open_session(graph_file(), threads=1)
