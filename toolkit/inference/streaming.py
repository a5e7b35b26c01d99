"""Speech to text while it is being spoken.

::

    asr = StreamingASR.from_hparams("results/streaming")
    stream = asr.stream()                     # as many at the same time as there are speakers
    for piece in microphone:                  # samples (S,), however many
        print(stream.feed(piece).text)
    print(stream.finish().text)               # what asr.transcribe says of all pieces at once
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toolkit.decoders.hypothesis import Hypothesis
from toolkit.errors import AudioError, ModelError
from toolkit.inference.long_audio import Counted, is_sound
from toolkit.inference.recordings import Piece, Recording
from toolkit.inference.segments import Segment, even
from toolkit.inference.timing import with_frames
from toolkit.inference.transcriber import Transcriber
from toolkit.inference.transcript import Transcript, Word
from toolkit.models.chunks import Context

if TYPE_CHECKING:
    from toolkit.tokenizer import Tokenizer


LINE_PAUSE_S = 0.6  # of quiet after a word, of long audio: no word is so long
WINDOW_S = 5.0  # of long audio: so much is heard before others have their turn


@dataclass(frozen=True)
class PartialTranscript:
    """What was understood so far.

    Attributes
    ----------
    text
        The words.
    stable
        Characters of the text, from the first, that nothing to come can change.
    duration
        Seconds of audio that were understood: whole chunks.
    pause
        Seconds since the last sound of a word; zero before the first word. Speech has ended when they are many.
    """

    text: str = ""
    stable: int = 0
    duration: float = 0.0
    pause: float = 0.0


class StreamingASR(Transcriber):
    """A `Transcriber` whose model was trained in chunks, so that it can write while somebody speaks.

    Raises
    ------
    ModelError
        The model or the search needs whole utterances.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer, search: Callable[..., Any], **options: Any) -> None:
        _check_can_stream(model, search)
        super().__init__(model, tokenizer, search, **options)

    @property
    def context(self) -> Context:
        """The frames of a chunk, and the chunks before it that are in mind; can be set, for streams to come."""
        return self.model.encoder.chunks.testing

    @context.setter
    def context(self, context: Context) -> None:
        self.model.encoder.chunks.testing = context

    @property
    def frame_seconds(self) -> float:
        """Seconds from one frame of the encoder to the next."""
        return self.frame_samples / self.sample_rate

    def stream(self) -> SpeechStream:
        """A stream of speech, independent of all others.

        Raises
        ------
        ModelError
            The context has no chunks.
        """
        return SpeechStream(self)

    def transcript_of(self, piece: Piece, samples: int) -> Transcript:
        """The transcript of a piece of so many samples."""
        return self.written([piece] if piece.hypotheses else [], "", samples)

    def _long_recording(self, blocks: Counted) -> Recording:
        if self.context.chunk_frames is None:
            return super()._long_recording(blocks)
        return StreamedRecording(self, blocks)

    def compute(self, batch: Sequence[tuple[Recording, Segment]], padding_s: float = 0.0) -> list[Any]:
        """As of `Recognition`; nothing of a recording that is heard as a stream, without others in the batch."""
        return [None] * len(batch) if batch[0][0].alone else super().compute(batch, padding_s)


class StreamedRecording(Recording):
    """A long recording that is heard as a stream; its windows are some of the model's chunks each.

    What was said before a pause is put away, so that memory grows by the words only.
    """

    alone = True

    def __init__(self, asr: StreamingASR, blocks: Counted) -> None:
        self._stream = asr.stream()
        chunks = max(1, round(WINDOW_S * asr.sample_rate / self._stream.chunk_samples))
        super().__init__(blocks, _in_a_row(even(blocks, chunks * self._stream.chunk_samples)), long=True)

    def understood(self, window: Segment, computed: None) -> list[Piece]:  # noqa: ARG002
        """The pieces that are known with the next window, which is heard here."""
        pieces = []
        for chunk in window.wav.split(self._stream.chunk_samples):
            if self._stream.feed(chunk).pause >= LINE_PAUSE_S:
                pieces.append(self._stream.take())
        return [piece for piece in pieces if piece.hypotheses]

    def end(self) -> list[Piece]:
        """The last piece."""
        return [piece for piece in [self._stream.close()] if piece.hypotheses]


def _in_a_row(blocks: Iterable[Tensor]) -> Iterator[Segment]:
    """Segments of blocks (S,) that follow each other."""
    start = 0
    for block in blocks:
        yield Segment(start, block, continues=False)
        start += len(block)


class PosteriorStream:
    """CTC output of audio as it comes: a chunk costs the same whenever it comes, in time and in memory.

    Attributes
    ----------
    chunk_samples
        Samples of a chunk.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self._model, self._device = model, device
        self.forget()
        self.chunk_samples = self._encoder.chunk_features * model.features.hop_samples
        self._waiting: list[Tensor] = []  # samples that are no chunk yet
        self._waiting_samples = 0

    def forget(self) -> None:
        """Hear the next chunk as if it were the first."""
        self._features, self._encoder = self._model.features.stream(), self._model.encoder.stream()

    def feed(self, samples: Tensor) -> Iterator[Tensor]:
        """The log-probabilities (T, V) of each chunk that the next samples (S,) complete."""
        self._waiting.append(samples)
        self._waiting_samples += len(samples)
        if self._waiting_samples >= self.chunk_samples:
            waiting = torch.cat(self._waiting)
            whole = len(waiting) - len(waiting) % self.chunk_samples
            self._waiting, self._waiting_samples = [waiting[whole:].clone()], len(waiting) - whole
            yield from map(self._encode, waiting[:whole].split(self.chunk_samples))

    def finish(self) -> Iterator[Tensor]:
        """Those (T, V) of the samples that are left, if there are any."""
        if self._waiting_samples:
            yield self._encode(torch.cat(self._waiting))

    @torch.inference_mode()
    def _encode(self, samples: Tensor) -> Tensor:
        features = self._features.feed(samples.to(self._device)[None])
        return self._model.ctc_log_probs(self._encoder.feed(features))[0]


class SpeechStream:
    """One speaker's audio as it comes, and what was understood of it.

    Until `end_line` or `finish` it keeps the text, and what says when its words were spoken: 4 V / frame_seconds bytes
    a second for a vocabulary of V. With frames of 40 ms these are 3 kB for 28 letters, and 0.5 MB for 5000 pieces.

    Attributes
    ----------
    chunk_samples
        Samples of a chunk: what is understood changes when one is complete.
    """

    def __init__(self, asr: StreamingASR) -> None:
        self._asr, self._posteriors = asr, PosteriorStream(asr.model, asr.device)
        self.chunk_samples = self._posteriors.chunk_samples
        self._search = asr.search.stream()
        self._samples = self._frames = 0
        self._begin = 0  # the frame that the line begins at
        self._sound = False  # in digital silence, some models hear words
        self._spoken = 0  # frames until the last sound of a word
        self._log_probs: list[Tensor] = []  # (T, V) of each chunk
        self._partial = PartialTranscript()
        self._finished = False

    def feed(self, samples: Tensor | NDArray[np.floating]) -> PartialTranscript:
        """Take the next samples (S,), as many as there are, between -1 and 1; what is understood then.

        Raises
        ------
        AudioError
            Samples are not numbers.
        ModelError
            They are not of the shape (S,) and floating-point, or the stream is finished.
        """
        piece = self._checked(samples)
        self._samples += len(piece)
        self._sound |= is_sound(piece)
        self._hear(self._posteriors.feed(piece))
        return self._partial

    def words(self) -> tuple[Word, ...]:
        """The words of the line so far, and when they were spoken; takes the longer the more there are."""
        if not self._partial.text:
            return ()
        piece = self._piece([Hypothesis(self._search.partial().tokens, 0.0)])
        return self._asr.transcript_of(piece, self._samples).words

    def end_line(self) -> Transcript:
        """The transcript of what was understood since the last line, to call in a pause; the stream goes on.

        Times of words are from the stream's beginning; the duration is that of the line.
        """
        self._check_open()
        begin = self._begin
        return self._asr.transcript_of(self.take(), (self._frames - begin) * self._asr.frame_samples)

    def finish(self) -> Transcript:
        """The transcript of all samples since the last line. The stream is then over.

        Without `end_line` it is that of the whole, seen in the same chunks.
        """
        begin = self._begin
        return self._asr.transcript_of(self.close(), self._samples - begin * self._asr.frame_samples)

    def close(self) -> Piece:
        """What is left, as of `take`; the stream is then over."""
        self._check_open()
        self._hear(self._posteriors.finish())
        self._finished = True
        return self.take()

    def take(self) -> Piece:
        """What was understood since the last line, which then ends; nothing of digital silence."""
        piece = self._piece(self._search.finish() if self._sound else [])
        self._posteriors.forget()  # the next speaker may be another
        self._search, self._log_probs, self._begin = self._asr.search.stream(), [], self._frames
        self._partial = PartialTranscript(duration=self._partial.duration)
        return piece

    def _piece(self, hypotheses: list[Hypothesis]) -> Piece:
        """The hypotheses of the line, the best with its tokens' frames, and where the line begins."""
        best = [with_frames(best, torch.cat(self._log_probs)) for best in hypotheses[:1] if self._log_probs]
        return Piece(self._begin * self._asr.frame_samples, best + hypotheses[1:])

    def _hear(self, chunks: Iterator[Tensor]) -> None:
        """Understand the CTC output (T, V) of some chunks."""
        for log_probs in chunks:
            self._search.feed(log_probs)
            self._log_probs.append(log_probs.cpu())
            self._partial = self._understood(self._log_probs[-1])

    def _understood(self, log_probs: Tensor) -> PartialTranscript:
        """The partial transcript after a chunk's CTC output (T, V)."""
        asr, found = self._asr, self._search.partial()
        text = asr.tokenizer.decode(found.tokens) if self._sound else ""
        alike = map(operator.eq, text, asr.tokenizer.decode(found.tokens[: found.stable]))
        stable = sum(itertools.takewhile(bool, alike))
        spoken = log_probs.argmax(dim=1).nonzero()
        if len(spoken):
            self._spoken = self._frames + int(spoken[-1]) + 1
        self._frames += len(log_probs)
        pause = self._frames - self._spoken if text else 0
        return PartialTranscript(text, stable, self._frames * asr.frame_seconds, pause * asr.frame_seconds)

    def _checked(self, samples: Tensor | NDArray[np.floating]) -> Tensor:
        self._check_open()
        piece = torch.as_tensor(samples)
        if piece.dim() != 1 or not piece.is_floating_point():
            raise ModelError(
                f"a piece of audio: expected floating-point samples of shape (S,), got {piece.dtype} of shape "
                f"{tuple(piece.shape)}; average the channels, and scale to [-1, 1]"
            )
        if not torch.isfinite(piece).all():
            place = int((~torch.isfinite(piece)).nonzero()[0])
            raise AudioError(f"sample {self._samples + place} of the stream is {piece[place]}: expected numbers only")
        return piece.to(torch.float32, copy=True)  # a microphone may fill the same array again

    def _check_open(self) -> None:
        if self._finished:
            raise ModelError("this stream is finished: begin another with stream()")


def as_streaming(asr: Transcriber) -> Transcriber:
    """The same as a `StreamingASR`, where its model was trained in chunks."""
    try:
        _check_can_stream(asr.model, asr.search)
    except ModelError:
        return asr
    made = StreamingASR(asr.model, asr.tokenizer, asr.search, sample_rate=asr.sample_rate, device=asr.device)
    made.long_audio, made.calibration = asr.long_audio, asr.calibration
    return made


def _check_can_stream(model: nn.Module, search: Callable[..., Any]) -> None:
    """Raise a ModelError for a model or a search that needs whole utterances."""
    parts = {name: getattr(model, name, None) for name in ("features", "encoder")} | {"search": search}
    for name, part in parts.items():
        if not hasattr(part, "stream") or getattr(part, "chunks", part) is None:
            raise ModelError(
                f"this model cannot stream: it needs whole utterances for its {name}, {type(part).__name__}; "
                "recipes/AN4/hparams/streaming.yaml trains one that can"
            )
