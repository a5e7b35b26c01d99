"""Speech to text while it is being spoken, with any model.

::

    asr = Transcriber.from_hparams("pretrained/an4-small")  # a StreamingASR writes earlier, and computes less
    for heard in listen(asr, microphone):                   # pieces (S,), however many samples each
        print("line" if heard.final else "so far", heard.transcript.text)

A line ends when the speaker pauses. A `StreamingASR` hears each chunk once. Any other model hears the line so far anew
about every second, and once more when it has ended; nothing is computed where nobody speaks.

Who has many speakers, and batches to compute, asks each session of `live` what it wants to be recognised and tells it
what was: `Live.wanted` and `Live.understood`. `listen` shows the loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import ClassVar, NamedTuple

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
from toolkit.inference.streaming import LINE_PAUSE_S, PartialTranscript, StreamingASR
from toolkit.inference.transcriber import Transcriber
from toolkit.inference.transcript import Heard, Transcript
from toolkit.inference.utterances import Utterance, Utterances

PARTIAL_S = 1.0  # of new speech, after which a line is heard anew
SHORT_PAUSE_S = 0.2  # ends a streamed line that has become too long: within words there is less


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

    One that is ``optional`` may be left out when there is too much to do: the session will ask again. ``paused``: the
    speaker pauses after it.
    """

    start: int
    wav: Tensor
    optional: bool = False
    paused: bool = False


class Live(ABC):
    """One speaker's audio as it comes, and what is to be done with it.

    A session's excerpts are recognised one by one, in the order in which they were wanted.

    Attributes
    ----------
    batched
        Whether excerpts may be recognised with those of other sessions, for `understood`; others go to `hear`.
    """

    batched: ClassVar[bool]

    def __init__(self, asr: Transcriber, sample_rate: int | None) -> None:
        self._asr, self._finished = asr, False
        same = sample_rate in (None, asr.sample_rate)
        self._resampler = None if same else soxr.ResampleStream(sample_rate, asr.sample_rate, 1, dtype="float32")
        self._ready = deque[Excerpt]()
        self._told = Transcript("")  # of the line, at last

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
        self._take(self._resampled(piece.to(torch.float32, copy=True)))  # a microphone may fill the same array again

    def finish(self) -> None:
        """No more samples come; what is left may still be wanted."""
        if not self._finished:
            self._take(self._resampled(torch.zeros(0), last=True))
            self._finished = True
            self._end()

    @property
    def waiting_s(self) -> float:
        """Seconds of audio that are still to be recognised: feed no more while they are many."""
        return sum(len(excerpt.wav) for excerpt in self._ready) / self._asr.sample_rate

    @property
    def over(self) -> bool:
        """Whether nothing more will be wanted."""
        return self._finished and not self._ready

    def wanted(self) -> Excerpt | None:
        """What is to be recognised next, as of now: ask when there is time to do it. None when there is nothing."""
        return self._ready.popleft() if self._ready else None

    @abstractmethod
    def hear(self, excerpt: Excerpt) -> list[Heard]:
        """What is understood by an excerpt, which is recognised here and alone."""

    def understood(self, excerpt: Excerpt, hypotheses: Sequence[Hypothesis]) -> list[Heard]:
        """What is understood by an excerpt that was recognised so, the best hypothesis first."""
        raise NotImplementedError(f"{type(self).__name__} hears by itself")

    @abstractmethod
    def _take(self, wav: Tensor) -> None:
        """Take samples (S,) at the model's rate."""

    @abstractmethod
    def _end(self) -> None:
        """Let what is left be wanted."""

    def _line(self, transcript: Transcript, *, stable: int, duration: float) -> list[Heard]:
        """A line as it is so far, where that is news."""
        before, self._told = self._told, transcript
        return [Heard(transcript, False, stable, duration)] if transcript.text != before.text else []

    def _last(self, transcript: Transcript, *, duration: float, speech_ended: bool) -> list[Heard]:
        """A line as it stays, where it has words, or seemed to have some."""
        before, self._told = self._told, Transcript("")
        news = transcript.text or before.text
        return [Heard(transcript, True, len(transcript.text), duration, speech_ended)] if news else []

    def _resampled(self, piece: Tensor, *, last: bool = False) -> Tensor:
        if self._resampler is None:
            return piece
        return torch.from_numpy(self._resampler.resample_chunk(piece.numpy(), last=last))


class LiveStream(Live):
    """A session of a model that was trained in chunks: each is heard once."""

    batched = False

    def __init__(self, asr: StreamingASR, sample_rate: int | None) -> None:
        super().__init__(asr, sample_rate)
        self._stream, self._longest_s = asr.stream(), asr.long_audio.whole_s
        self._rest, self._start = torch.zeros(0), 0  # what is no chunk yet, and its first sample
        self._line_start_s = 0.0

    def hear(self, excerpt: Excerpt) -> list[Heard]:
        """What is understood by the next chunk."""
        partial = self._stream.feed(excerpt.wav)
        if self.over:
            end = (excerpt.start + len(excerpt.wav)) / self._asr.sample_rate
            return self._last(self._stream.finish(), duration=end, speech_ended=False)
        paused = partial.pause >= LINE_PAUSE_S
        if paused or self._is_long(partial):
            self._line_start_s = partial.duration
            return self._last(self._stream.end_line(), duration=partial.duration, speech_ended=paused)
        transcript = Transcript(partial.text, duration=partial.duration - self._line_start_s)
        return self._line(transcript, stable=partial.stable, duration=partial.duration)

    def _is_long(self, partial: PartialTranscript) -> bool:
        """Whether a line is to be ended for its length, so that it does not fill the memory."""
        beyond = partial.duration - self._line_start_s - self._longest_s
        return beyond >= 0 and (not partial.text or partial.pause >= SHORT_PAUSE_S or beyond >= self._longest_s)

    def _take(self, wav: Tensor) -> None:
        chunk = self._stream.chunk_samples
        wav = torch.cat([self._rest, wav])
        whole = len(wav) - len(wav) % chunk
        for part in wav[:whole].split(chunk) if whole else ():
            self._ready.append(Excerpt(self._start, part))
            self._start += chunk
        self._rest = wav[whole:].clone()

    def _end(self) -> None:
        self._ready.append(Excerpt(self._start, self._rest))


class LiveUtterances(Live):
    """A session of a model that hears whole utterances: what is said between pauses, and its beginnings."""

    batched = True

    def __init__(self, asr: Transcriber, sample_rate: int | None) -> None:
        super().__init__(asr, sample_rate)
        make = LiveLevels if asr.long_audio.speech is Levels else asr.long_audio.speech
        speech = make(asr.sample_rate, round(SEGMENT_FRAME_S * asr.sample_rate))
        self._utterances = Utterances(speech, longest_s=asr.long_audio.segment_s, pause_s=LINE_PAUSE_S)
        self._heard_to = 0  # the sample to which the line was heard

    def wanted(self) -> Excerpt | None:
        """An utterance that has ended; without one, the one that has grown by a second."""
        return super().wanted() or self._grown()

    def hear(self, excerpt: Excerpt) -> list[Heard]:
        """What is understood by an excerpt."""
        return self.understood(excerpt, *self._asr.recognise([excerpt.wav]))

    def understood(self, excerpt: Excerpt, hypotheses: Sequence[Hypothesis]) -> list[Heard]:
        """What is understood by an excerpt that was recognised so, the best hypothesis first."""
        transcript = self._asr.written([Piece(excerpt.start, list(hypotheses))], "", len(excerpt.wav))
        duration = (excerpt.start + len(excerpt.wav)) / self._asr.sample_rate
        if excerpt.optional:
            return self._line(replace(transcript, words=()), stable=0, duration=duration)
        return self._last(transcript, duration=duration, speech_ended=excerpt.paused)

    def _grown(self) -> Excerpt | None:
        """The utterance so far, where there is a second more of it than there was."""
        current = self._utterances.current()
        if current is None:
            return None
        end = current.start + len(current.wav)
        if end - max(self._heard_to, current.start) < PARTIAL_S * self._asr.sample_rate:
            return None
        self._heard_to = end
        return Excerpt(current.start, current.wav, optional=True)

    def _take(self, wav: Tensor) -> None:
        self._want(self._utterances.feed(wav))

    def _end(self) -> None:
        self._want(self._utterances.finish())

    def _want(self, ended: Iterable[Utterance]) -> None:
        self._ready.extend(Excerpt(one.start, one.wav, paused=one.paused) for one in ended)
