"""From sound to hypotheses and their transcript: what is short whole, what is long between pauses or in windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from toolkit.dataio.batches import pad_wavs
from toolkit.decoders.hypothesis import Hypothesis
from toolkit.errors import ConfigError, ModelError
from toolkit.inference.confidence import Calibration
from toolkit.inference.long_audio import Counted, LongAudio, batches_of, take
from toolkit.inference.pretrained import Pretrained
from toolkit.inference.segments import Segment, segments
from toolkit.inference.timing import ctc_output, samples_per_frame, timed_words, with_frames
from toolkit.inference.transcript import Alternative, Transcript, Word
from toolkit.inference.windows import Output, laid_out, merged

if TYPE_CHECKING:
    from toolkit.tokenizer import Tokenizer

# The segments of long audio are padded to a multiple of so many seconds: torch keeps memory for every length it meets.
PADDING_S = 4

# Segments of models whose CTC output is not merged begin at multiples of so many seconds.
SEGMENT_FRAME_S = 0.04

# Sampling rates that a model may hear.
LOWEST_HZ, HIGHEST_HZ = 1000, 384_000


class Piece(NamedTuple):
    """What may be said from a sample of the recording on, best first."""

    start: int
    hypotheses: list[Hypothesis]


class Recognition(Pretrained):
    """What `Transcriber`, whose parameters it has, does with sound that has been read."""

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Tokenizer,
        search: Callable[..., Any],
        *,
        sample_rate: int,
        device: str | torch.device | None = None,
    ) -> None:
        if not isinstance(sample_rate, int) or not LOWEST_HZ <= sample_rate <= HIGHEST_HZ:
            raise ConfigError(f"sample_rate: expected a whole number, {LOWEST_HZ} to {HIGHEST_HZ}, got {sample_rate!r}")
        if model.vocab_size != len(tokenizer):
            raise ModelError(
                f"{tokenizer.model_file}: {len(tokenizer)} tokens, but the model was trained with {model.vocab_size}; "
                "use the tokenizer that it was trained with"
            )
        hparams = {"tokenizer": tokenizer, "test_search": search, "sample_rate": sample_rate}
        super().__init__({"model": model}, hparams, device=device)
        self.model, self.tokenizer, self.search, self.sample_rate = model, tokenizer, search, sample_rate
        self.calibration, self.long_audio = Calibration(), LongAudio()

    @cached_property
    def frame_samples(self) -> int:
        """How many samples one frame of the encoder is after the other."""
        return samples_per_frame(self.model, self.sample_rate, self.device)

    @torch.inference_mode()
    def _recognise(self, wavs: Sequence[Tensor], step: int = 1) -> list[list[Hypothesis]]:
        """What one batch of waveforms (S,), none of them empty, may say; the best of each with its tokens' frames."""
        encoded, frames = self._encode_padded(wavs, step)
        found = self.search(self.model, encoded, frames)
        log_probs = ctc_output(self.model, encoded)
        if log_probs is None:
            return found
        rows = zip(found, log_probs, frames.tolist(), strict=True)
        return [[with_frames(best, row[:count]), *others] for (best, *others), row, count in rows]

    def _encode_padded(self, wavs: Sequence[Tensor], step: int = 1) -> tuple[Tensor, Tensor]:
        """Encoded (B, T, D) of waveforms (S,), padded to a multiple of ``step`` samples, and (B,) frames."""
        padded, samples = pad_wavs(wavs)
        padded = nn.functional.pad(padded, (0, -padded.size(1) % step))
        return self.model.encode(padded.to(self.device), samples.to(self.device))

    def _recognise_segments(self, blocks: Iterable[Tensor], batch_seconds: float) -> Iterator[Piece]:
        """What is said in long audio where somebody speaks, segment by segment."""
        frame = round(SEGMENT_FRAME_S * self.sample_rate)
        found = self._segments(blocks, frame, longest_s=self.long_audio.segment_s)
        for batch in batches_of(found, batch_seconds * self.sample_rate):
            hypotheses = self._recognise([segment.wav for segment in batch], PADDING_S * self.sample_rate)
            yield from map(Piece, (segment.start for segment in batch), hypotheses)

    def _segments(self, blocks: Iterable[Tensor], frame: int, **options: float) -> Iterator[Segment]:
        """The parts of long audio in which somebody speaks."""
        speech = self.long_audio.speech(self.sample_rate, frame)
        return segments(blocks, speech, pause_s=self.long_audio.pause_s, **options)

    @torch.inference_mode()
    def _recognise_windows(self, blocks: Iterable[Tensor], batch_seconds: float) -> Iterator[Piece]:
        """What is said in long audio by its CTC output, pause by pause."""
        for start, log_probs in self.posteriors(blocks, batch_seconds=batch_seconds):
            stream = self.search.stream()
            stream.feed(log_probs)
            best, *others = stream.finish()
            yield Piece(start * self.frame_samples, [with_frames(best, log_probs), *others])

    @torch.inference_mode()
    def posteriors(self, blocks: Iterable[Tensor], *, batch_seconds: float = 60.0) -> Iterator[tuple[int, Tensor]]:
        """CTC log-probabilities (T, V) of the parts of long audio in which somebody speaks, and their first frames."""
        options = {"longest_s": self.long_audio.window_s, "overlap_s": self.long_audio.overlap_s}
        found = self._segments(blocks, self.frame_samples, **options)
        longest = round(self.long_audio.window_s * self.sample_rate / self.frame_samples)
        yield from merged(self._outputs(found, batch_seconds), longest)

    def _whole_output(self, blocks: Iterator[Tensor]) -> tuple[Tensor, int]:
        """The CTC output (T, V) of audio from its beginning to its end, and its samples."""
        wav, rest = take(blocks, self.long_audio.whole_s * self.sample_rate)
        if rest is None:
            (output,) = self._outputs([Segment(0, wav, continues=False)], 0.0) if len(wav) else [None]
            return (output.log_probs if output else torch.zeros(0, self.model.vocab_size)), len(wav)
        counted = Counted(chain([wav], rest))
        parts = list(self.posteriors(counted))
        return laid_out(parts, counted.samples // self.frame_samples, self.model.vocab_size), counted.samples

    def _outputs(self, found: Iterable[Segment], batch_seconds: float) -> Iterator[Output]:
        """The CTC output of each segment."""
        for batch in batches_of(found, batch_seconds * self.sample_rate):
            encoded, frames = self._encode_padded([segment.wav for segment in batch], PADDING_S * self.sample_rate)
            rows = zip(batch, self.model.ctc_log_probs(encoded), frames.tolist(), strict=True)
            for segment, row, count in rows:
                yield Output(segment.start // self.frame_samples, row[:count], segment.continues)

    def _transcript(self, pieces: Sequence[Piece], name: str, samples: int) -> Transcript:
        """What is said in a named recording of so many samples, by the best hypotheses of its pieces."""
        spellings = self.tokenizer.pieces()
        texts, words, tokens = [], [], []
        for piece in pieces:
            text = self.tokenizer.decode(piece.hypotheses[0].tokens)
            texts += [text] if text else []
            words += self._timed(piece, text)
            tokens += [spellings[token] for token in piece.hypotheses[0].tokens]
        text, score = " ".join(texts), sum(best.score for _, (best, *_) in pieces)
        nbest = {text: Alternative(text, score)} if pieces else {}
        for one in pieces[0].hypotheses[1:] if len(pieces) == 1 else ():
            other = self.tokenizer.decode(one.tokens)
            nbest.setdefault(other, Alternative(other, one.score))  # some differ only in how tokens spell them
        return Transcript(
            text,
            tuple(words),
            tokens=tuple(tokens),
            score=score,
            nbest=tuple(nbest.values()),
            duration=samples / self.sample_rate,
            file=name,
        )

    def _timed(self, piece: Piece, text: str) -> tuple[Word, ...]:
        """The words of the text that the best hypothesis of a piece spells, where that has frames."""
        if not piece.hypotheses[0].frames:
            return ()
        shift, frame_s = piece.start / self.sample_rate, self.frame_samples / self.sample_rate
        return tuple(
            Word(word.text, shift + word.start, shift + word.end, self.calibration(word.confidence))
            for word in timed_words(piece.hypotheses[0], self.tokenizer.pieces(), text, frame_s)
        )
