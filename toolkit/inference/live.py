"""Speech to text while it is being spoken, with any model.

::

    asr = Transcriber.from_hparams("pretrained/an4-small")  # a StreamingASR writes earlier, and computes less
    for heard in listen(asr, microphone):                   # pieces (S,), however many samples each
        print("line" if heard.final else "so far", heard.transcript.text)

A line ends when the speaker pauses. A `StreamingASR` hears each chunk of it once. Any other model hears the line so
far anew about every second, and once more when it has ended. Nothing is computed where nobody speaks, where many models
hear words in noise.

Who has many speakers, and batches to compute, asks each session of `live` what it wants to be recognised and tells it
what was: `Live.wanted` and `Live.understood`. `listen` shows the loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from toolkit.decoders.hypothesis import Hypothesis
from toolkit.errors import AudioError, ModelError
from toolkit.inference.recognition import SEGMENT_FRAME_S
from toolkit.inference.recordings import Piece
from toolkit.inference.speech import Levels, LiveLevels
from toolkit.inference.streaming import LINE_PAUSE_S, SpeechStream, StreamingASR
from toolkit.inference.transcriber import Transcriber
from toolkit.inference.transcript import Heard, Transcript
from toolkit.inference.utterances import Utterance, Utterances

PARTIAL_S = 1.0  # of new speech, after which a line is heard anew
LATE = 1.5  # times as much new speech as is enough: there is too much to do, and lines that have ended come first


def listen(
    asr: Transcriber, pieces: Iterable[Tensor | NDArray[np.floating]], *, sample_rate: int | None = None
) -> Iterator[Heard]:
    """What is understood of pieces (S,) of one speaker's audio, at the model's rate or the given one, as they come."""
    session = live(asr, sample_rate)
    for piece in pieces:
        session.feed(piece)
        yield from _understood_now(session)
    session.finish()
    yield from _understood_now(session)


def live(asr: Transcriber, sample_rate: int | None = None) -> Live:
    """A session for one speaker, whose audio comes at the model's rate, or the given one, in Hz."""
    streams = isinstance(asr, StreamingASR) and asr.context.chunk_frames is not None
    return (LiveStream if streams else LiveUtterances)(asr, sample_rate)


def _understood_now(session: Live) -> Iterator[Heard]:
    """What is understood of all that a session wants now."""
    while (excerpt := session.wanted()) is not None:
        yield from session.hear(excerpt)


class Excerpt(NamedTuple):
    """Samples (S,) at the model's rate that are to be recognised, and the sample of the session that they begin at.

    A ``final`` one ends a line, and ``paused`` says that a pause does.
    """

    start: int
    wav: Tensor
    final: bool
    paused: bool = False

    @property
    def end(self) -> int:
        """The sample of the session after the last."""
        return self.start + len(self.wav)


class Live(ABC):
    """One speaker's audio as it comes, and what is to be done with it.

    A session's excerpts are recognised one by one, in the order in which they were wanted.
    """

    def __init__(self, asr: Transcriber, sample_rate: int | None, *, longest_s: float, step_samples: int) -> None:
        self._asr, self._step, self._finished = asr, step_samples, False
        same = sample_rate in (None, asr.sample_rate)
        self._resampler = None if same else soxr.ResampleStream(sample_rate, asr.sample_rate, 1, dtype="float32")
        make = LiveLevels if asr.long_audio.speech is Levels else asr.long_audio.speech
        speech = make(asr.sample_rate, round(SEGMENT_FRAME_S * asr.sample_rate))
        self._utterances = Utterances(speech, longest_s=longest_s, pause_s=LINE_PAUSE_S)
        self._ended = deque[Excerpt]()
        self._wanted_to = 0  # the sample after the last excerpt
        self._told = ""  # of the line, at last

    def feed(self, samples: Tensor | NDArray[np.floating]) -> None:
        """Take the next samples (S,), as many as there are, between -1 and 1; computes next to nothing.

        Raises
        ------
        AudioError
            Samples are not numbers.
        ModelError
            They are not of the shape (S,) and floating-point, or the session is finished.
        """
        if self._finished:
            raise ModelError("this live session is finished: begin another with live()")
        piece = torch.as_tensor(samples)
        if piece.dim() != 1 or not piece.is_floating_point():
            raise ModelError(
                f"live audio: expected floating-point samples of shape (S,), got {piece.dtype} of {tuple(piece.shape)}"
            )
        if not torch.isfinite(piece).all():
            raise AudioError("live audio: expected numbers only, got samples that are infinite or none")
        self._end(self._utterances.feed(self._resampled(piece.float())))

    def finish(self) -> None:
        """No more samples come; what is left may still be wanted."""
        if not self._finished:
            self._end(self._utterances.feed(self._resampled(torch.zeros(0), last=True)))
            self._end(self._utterances.finish())
            self._finished = True

    @property
    def waiting_s(self) -> float:
        """Seconds of audio of ended lines that are still to be recognised: feed no more while they are many."""
        return sum(len(excerpt.wav) for excerpt in self._ended) / self._asr.sample_rate

    @property
    def over(self) -> bool:
        """Whether nothing more will be wanted."""
        return self._finished and not self._ended

    def wanted(self) -> Excerpt | None:
        """What is to be recognised next, as of now: ask when there is time to do it. None when there is nothing.

        A line that has ended; without one, the line so far, where there is enough of it that is new.
        """
        excerpt = self._ended.popleft() if self._ended else self._grown()
        if excerpt is not None:
            self._wanted_to = excerpt.end
        return excerpt

    @abstractmethod
    def hear(self, excerpt: Excerpt) -> list[Heard]:
        """What is understood by an excerpt, which is recognised here and alone."""

    def _grown(self) -> Excerpt | None:
        """The line so far, where enough of it is new."""
        if self._finished or (current := self._utterances.current()) is None:
            return None
        excerpt = Excerpt(current.start, current.wav, final=False)
        new = excerpt.end - max(self._wanted_to, excerpt.start)
        return excerpt if self._is_enough(new) else None

    def _is_enough(self, new: int) -> bool:
        """Whether so many new samples of a line are to be heard."""
        return new >= self._step

    def _end(self, ended: Iterable[Utterance]) -> None:
        self._ended.extend(Excerpt(one.start, one.wav, final=True, paused=one.paused) for one in ended)

    def _tell(self, excerpt: Excerpt, transcript: Transcript, stable: int = 0) -> list[Heard]:
        """The line at the end of an excerpt, if that is news; a last one without words, where some were told."""
        before, self._told = self._told, "" if excerpt.final else transcript.text
        if transcript.text == before and not (excerpt.final and before):
            return []
        duration = excerpt.end / self._asr.sample_rate
        if excerpt.final:
            return [Heard(transcript, True, len(transcript.text), duration, excerpt.paused)]
        return [Heard(Transcript(transcript.text, duration=transcript.duration), False, stable, duration)]

    def _resampled(self, piece: Tensor, *, last: bool = False) -> Tensor:
        if self._resampler is None:
            return piece
        return torch.from_numpy(self._resampler.resample_chunk(piece.numpy(), last=last))


class LiveStream(Live):
    """A session of a model that was trained in chunks: each chunk is heard once."""

    def __init__(self, asr: StreamingASR, sample_rate: int | None) -> None:
        self._stream: SpeechStream | None = None  # of the line
        self._begin = 0  # the sample that the line begins at
        chunk_samples = asr.stream().chunk_samples
        super().__init__(asr, sample_rate, longest_s=asr.long_audio.whole_s, step_samples=chunk_samples)

    def wanted(self) -> Excerpt | None:
        """What is new of a line."""
        wanted_to, excerpt = self._wanted_to, super().wanted()
        if excerpt is None or excerpt.start >= wanted_to:
            return excerpt
        self._wanted_to = max(wanted_to, excerpt.end)  # a line may end before what was heard of it
        return excerpt._replace(start=wanted_to, wav=excerpt.wav[wanted_to - excerpt.start :])

    def hear(self, excerpt: Excerpt) -> list[Heard]:
        """What is understood by what is new of a line."""
        if self._stream is None:
            self._stream, self._begin = self._asr.stream(), excerpt.start
        partial, samples = self._stream.feed(excerpt.wav), excerpt.end - self._begin
        if not excerpt.final:
            so_far = Transcript(partial.text, duration=samples / self._asr.sample_rate)
            return self._tell(excerpt, so_far, partial.stable)
        piece, self._stream = self._stream.close(), None
        piece = piece._replace(start=self._begin + piece.start)
        return self._tell(excerpt, self._asr.transcript_of(piece, samples))


class LiveUtterances(Live):
    """A session of a model that hears whole utterances: what is said between pauses, and its beginnings.

    Its excerpts may also be recognised with those of other sessions, for `understood`.
    """

    def __init__(self, asr: Transcriber, sample_rate: int | None) -> None:
        step_samples = round(PARTIAL_S * asr.sample_rate)
        super().__init__(asr, sample_rate, longest_s=asr.long_audio.segment_s, step_samples=step_samples)
        self._patience = step_samples  # of new speech, after which a line is heard anew

    def wanted(self) -> Excerpt | None:
        """As of `Live`; once a line has ended and none waits, the next is heard as often as any."""
        excerpt = super().wanted()
        if excerpt is not None and excerpt.final and not self._ended:
            self._patience = self._step
        return excerpt

    def _is_enough(self, new: int) -> bool:
        """Whether so many new samples of a line are to be heard: the more, the later the session was asked before."""
        if new < self._patience:
            return False
        self._patience = 2 * self._patience if new > LATE * self._patience else self._step
        return True

    def hear(self, excerpt: Excerpt) -> list[Heard]:
        """What is understood by a line."""
        return self.understood(excerpt, *self._asr.recognise([excerpt.wav]))

    def understood(self, excerpt: Excerpt, hypotheses: Sequence[Hypothesis]) -> list[Heard]:
        """What is understood by a line that was recognised so, the best hypothesis first."""
        piece = Piece(excerpt.start, list(hypotheses))
        return self._tell(excerpt, self._asr.written([piece], "", len(excerpt.wav)))
