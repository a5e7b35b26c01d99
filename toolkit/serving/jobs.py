"""What the doors of the service ask of its engine, and what that answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from toolkit.inference.transcript import Alternative, Heard, Transcript


@dataclass(frozen=True)
class Limits:
    """What the engine takes on.

    Attributes
    ----------
    devices
        Where models compute, a process each; one may stand there more than once. By default all GPUs, or ``cpu`` for
        each core, up to four: two processes do twice the work of one with two threads, on short audio.
    threads
        Of a model's process on a CPU; 0: the cores, divided by the processes.
    decoders
        Processes that decode files.
    batch_s, batch_wait_s
        Seconds of audio in a batch, padding included; and how long an idle device waits for a batch to grow.
    queue_s, queue_requests
        Seconds of audio, and requests, that may wait; more are refused. The longest file leaves room for others.
    audio_s
        Of a request, in seconds.
    timeout_s
        From when a request is accepted to its answer; and as many seconds more as its audio has.
    disk_bytes
        Of the disk, which uploads and their samples take: more are refused.
    memory_bytes
        Of a model's process: beyond, models that were not used for the longest time leave it. Those in use stay, and
        requests for others are refused meanwhile; one model is there whatever it takes.
    live_sessions
        Streams of speech at the same time.
    vad
        What finds where somebody speaks, in long and in live audio: ``energy``, the sound's level, or ``silero``, a
        detector (extra ``vad``) that does not take sounds of animals and dishes for speech. ``auto``: the level in
        files, and in live audio the detector, where it is installed and hears the model's rate.
    """

    devices: tuple[str, ...] = ()
    threads: int = 0
    decoders: int = 2
    batch_s: float = 60.0
    batch_wait_s: float = 0.005
    queue_s: float = 12 * 3600.0
    queue_requests: int = 256
    audio_s: float = 4 * 3600.0
    timeout_s: float = 600.0
    disk_bytes: int = 16 << 30
    memory_bytes: int | None = None
    live_sessions: int = 16
    vad: Literal["auto", "energy", "silero"] = "auto"


@dataclass(frozen=True)
class Job:
    """A file to be transcribed.

    Attributes
    ----------
    audio
        Where it is; its owner removes it when the engine has answered.
    name
        What the client calls it, for messages and `Transcript.file`.
    model
        By its name; the first one by default.
    channel
        Which one to hear; by default their mean.
    hotwords
        Words that are likely; models that cannot be told so do without.
    nbest
        How many alternatives; as many as the model's search gives by default.
    """

    audio: Path
    name: str = "audio"
    model: str = ""
    channel: int | None = None
    hotwords: tuple[str, ...] = ()
    nbest: int | None = None


@dataclass(frozen=True)
class ModelCard:
    """What is known of a model that is served.

    Attributes
    ----------
    name
        What requests call it.
    created
        When its folder was written, in seconds since 1970.
    loaded
        Whether it is in memory.
    streaming
        Whether it was trained to write while somebody speaks; others hear what was said anew every second.
    provenance
        What its folder tells of where it comes from (`toolkit.inference.model_facts`), without folders of files.
    """

    name: str
    created: int
    loaded: bool
    streaming: bool
    sample_rate: int
    provenance: Mapping[str, Any] | None = None


@dataclass
class Status:
    """What the engine does at the moment, and has done; counters only grow.

    Attributes
    ----------
    waiting_requests, waiting_s
        Accepted and not answered, and seconds of their audio that wait for a device.
    batches, batched_windows, batched_s
        Computed so far: batches, the windows in them, and the seconds of audio of these.
    busy_s
        Seconds that devices computed.
    restarts
        Of model processes that died.
    """

    waiting_requests: int = 0
    waiting_s: float = 0.0
    live_sessions: int = 0
    batches: int = 0
    batched_windows: int = 0
    batched_s: float = 0.0
    busy_s: float = 0.0
    restarts: int = 0
    batch_sizes: list[int] = field(default_factory=list)  # of the batches since the last call of `Engine.status`


class LiveSession(Protocol):
    """Speech while it is spoken: the one side feeds, the other listens."""

    async def feed(self, samples: bytes) -> None:
        """Take 16-bit little-endian mono samples at the rate that the session was opened with, however many."""

    async def finish(self) -> None:
        """No more samples come; the last line follows, then `heard` ends."""

    def heard(self) -> AsyncIterator[Heard]:
        """What was understood, as it comes. Raises ServiceError."""

    async def close(self) -> None:
        """Forget the session, finished or not."""


class Engine(Protocol):
    """Models in processes of their own, a queue before them, and what decodes files. All methods are of one event loop.

    Methods raise a `ServiceError`; cancelling the task, or closing the iterator, takes the job out of the queue.
    """

    limits: Limits

    async def start(self) -> None:
        """Begin the processes and load the first model; returns when it can transcribe."""

    async def stop(self, grace_s: float) -> None:
        """Take no more jobs, answer those accepted for so many seconds, and end the processes."""

    @property
    def ready(self) -> bool:
        """Whether a model process answers."""

    @property
    def models(self) -> Sequence[ModelCard]:
        """The models that are served, the default one first."""

    def check_room(self) -> None:
        """Raise BusyError when no more requests may wait: before an upload is read."""

    def check_disk(self, more_bytes: int = 0) -> None:
        """Raise BusyError when there is no room on the disk for so much more; reads folders, and is for a thread."""

    def transcribe(self, job: Job) -> AsyncIterator[Transcript]:
        """The parts of a file in their order as they are understood: pieces between pauses of what is long.

        Each part has times from the beginning of the file and the duration of what was heard so far; `joined` makes a
        transcript of all. A file has one part at least.
        """

    async def open_live(self, model: str, sample_rate: int) -> LiveSession:
        """A session of speech."""

    def status(self) -> Status:
        """What goes on."""


def joined(parts: Sequence[Transcript]) -> Transcript:
    """The transcript of a whole file of its parts, of which there is one at least."""
    understood = [part for part in parts if part.nbest or part.text] or parts[-1:]  # at the end may be only silence
    if len(understood) == 1:
        return replace(understood[0], duration=parts[-1].duration)
    text, score = " ".join(part.text for part in parts if part.text), sum(part.score for part in parts)
    return Transcript(
        text,
        tuple(word for part in parts for word in part.words),
        tokens=tuple(token for part in parts for token in part.tokens),
        score=score,
        nbest=(Alternative(text, score),),
        duration=parts[-1].duration,
        language=parts[-1].language,
        file=parts[-1].file,
    )
