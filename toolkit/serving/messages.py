"""What the engine and its model processes tell each other; each is about the job or session of a number."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from toolkit.inference.transcript import Heard, Transcript
from toolkit.serving.jobs import ModelCard
from toolkit.serving.service_errors import ServiceError

# To a model process


@dataclass(frozen=True)
class Setup:
    """How a process is to work.

    Attributes
    ----------
    models
        Folders, or names on the hub, by what requests call them.
    every
        Whether to look at all models at the beginning, and not only the first.
    folder
        Is removed when the service ends without having done so.
    """

    models: dict[str, str]
    device: str
    threads: int
    every: bool
    batch_s: float
    batch_wait_s: float
    memory_bytes: int | None
    vad: str
    folder: Path


@dataclass(frozen=True)
class Transcribe:
    """Raw samples (mono, float32, at the model's rate) to be transcribed.

    Attributes
    ----------
    samples
        The file of them.
    timeout_s
        From now on.
    alone
        In batches without others: it was there when a process died.
    """

    number: int
    samples: Path
    name: str
    model: str
    hotwords: tuple[str, ...]
    nbest: int | None
    timeout_s: float
    alone: bool


@dataclass(frozen=True)
class OpenLive:
    """A session of speech begins."""

    number: int
    model: str
    sample_rate: int


@dataclass(frozen=True)
class Feed:
    """The next samples of a session, 16-bit; none: it is over."""

    number: int
    samples: bytes


@dataclass(frozen=True)
class Cancel:
    """Nobody waits for a job or session any more."""

    number: int


ToProcess: TypeAlias = Transcribe | OpenLive | Feed | Cancel

# From a model process


@dataclass(frozen=True)
class Ready:
    """The process can transcribe, and knows these models."""

    models: tuple[ModelCard, ...]


@dataclass(frozen=True)
class Models:
    """Those that are in memory now."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Computed:
    """A batch of so many windows, of so many seconds of audio, took so long."""

    windows: int
    audio_s: float
    busy_s: float


@dataclass(frozen=True)
class Told:
    """A part of a file or a line of a session; ``over``: none follows."""

    number: int
    said: Transcript | Heard | None
    over: bool = False


@dataclass(frozen=True)
class Taken:
    """So many bytes of a session were taken in: more may follow."""

    number: int
    fed: int


@dataclass(frozen=True)
class Failed:
    """A job or session is over, with an error."""

    number: int
    error: ServiceError


FromProcess: TypeAlias = Ready | Models | Computed | Told | Taken | Failed
