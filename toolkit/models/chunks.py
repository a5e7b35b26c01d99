"""What a frame of an encoder sees: everything, or its chunk and some chunks before it, as of speech that arrives so.

One set of weights serves every chunk size when training draws another for each batch (Zhang et al. 2020, "Unified
streaming and non-streaming two-pass end-to-end model for speech recognition").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from toolkit.errors import ConfigError


@dataclass(frozen=True)
class Context:
    """What a frame sees.

    Attributes
    ----------
    chunk_frames
        Frames of a chunk, of which each sees all others; None is one chunk for everything.
    left_chunks
        Chunks seen before one's own; None is all.

    Raises
    ------
    ConfigError
        A number is too small.
    """

    chunk_frames: int | None = None
    left_chunks: int | None = None

    def __post_init__(self) -> None:
        for name, value, least in (("chunk_frames", self.chunk_frames, 1), ("left_chunks", self.left_chunks, 0)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise ConfigError(f"{name}: expected a whole number, {least} or more, not {value!r}")

    def mask(self, valid: Tensor) -> Tensor:
        """(B, T) mask of valid frames -> (B, 1, T or 1, T), true where a frame attends to another.

        A frame of padding attends to itself, if to no other: the mean of nothing is not a number.
        """
        keys = valid[:, None, None, :]
        if self.chunk_frames is None:
            return keys
        places = torch.arange(valid.size(1), device=valid.device)
        chunk = places // self.chunk_frames
        behind = chunk[:, None] - chunk
        seen = (behind >= 0) if self.left_chunks is None else (behind >= 0) & (behind <= self.left_chunks)
        return (seen & keys) | (places[:, None] == places)


EVERYTHING = Context()


class Chunks:
    """The contexts of an encoder: one to test and to stream with, and those that training draws, one for each batch.

    Parameters
    ----------
    frames : int, optional
        Frames of the encoder's output in a chunk, with which it is tested and streams; without, it sees everything.
    left : int, optional
        Chunks seen before one's own; without, all.
    training_frames, training_left : pair of int
        Smallest and largest number that training draws.
    whole : float
        Share of training batches in which every frame sees everything.

    Raises
    ------
    ConfigError
        A number is too small, or a pair is no pair.
    """

    def __init__(
        self,
        frames: int | None = 16,
        left: int | None = 4,
        *,
        training_frames: tuple[int, int] = (8, 32),
        training_left: tuple[int, int] = (1, 8),
        whole: float = 0.4,
    ) -> None:
        self.testing = Context(frames, left)
        self.training_frames = _range("training_frames", training_frames, least=1)
        self.training_left = _range("training_left", training_left, least=0)
        if not 0 <= whole <= 1:
            raise ConfigError(f"whole: expected a share between 0 and 1, not {whole}")
        self.whole = whole

    def context(self, training: bool) -> Context:
        """What a frame sees of the next batch."""
        if not training:
            return self.testing
        if torch.rand(()).item() < self.whole:
            return EVERYTHING
        return Context(_draw(self.training_frames), _draw(self.training_left))


def _range(name: str, pair: tuple[int, int], *, least: int) -> tuple[int, int]:
    """The smallest and the largest number of a pair."""
    if len(pair) != 2 or not all(isinstance(one, int) for one in pair) or not least <= pair[0] <= pair[1]:
        raise ConfigError(f"{name}: expected two whole numbers, {least} or more, not {pair!r}")
    return pair[0], pair[1]


def _draw(bounds: tuple[int, int]) -> int:
    """A whole number between two, both included."""
    return int(torch.randint(bounds[0], bounds[1] + 1, ()))
