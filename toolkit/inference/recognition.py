"""From sound to hypotheses and their transcript: what is short whole, what is long between pauses or in windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from toolkit.dataio.batches import pad_wavs
from toolkit.decoders.hypothesis import Hypothesis
from toolkit.errors import ConfigError, ModelError
from toolkit.inference.confidence import Calibration
from toolkit.inference.long_audio import Counted, LongAudio, batches_of, is_sound, take
from toolkit.inference.pretrained import Pretrained
from toolkit.inference.recordings import MergedRecording, Piece, Recording
from toolkit.inference.segments import Segment, segments
from toolkit.inference.timing import ctc_output, samples_per_frame, timed_words, with_frames
from toolkit.inference.transcript import Alternative, Transcript, Word
from toolkit.inference.windows import Merger, Output, laid_out

if TYPE_CHECKING:
    from toolkit.tokenizer import Tokenizer

# The segments of long audio are padded to a multiple of so many seconds: torch keeps memory for every length it meets.
PADDING_S = 4

ALIGNED_S = 60  # seconds of audio computed at once to align a text that is known

# Segments of models whose CTC output is not merged begin at multiples of so many seconds.
SEGMENT_FRAME_S = 0.04

# Sampling rates that a model may hear.
LOWEST_HZ, HIGHEST_HZ = 1000, 384_000


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

    def recording(self, blocks: Iterator[Tensor]) -> Recording:
        """Audio that comes in blocks (S,) at the model's rate, to be recognised: whole if it is short."""
        wav, rest = take(blocks, self.long_audio.whole_s * self.sample_rate)
        if rest is not None:
            return self._long_recording(Counted(chain([wav], rest)))
        return Recording(Counted([wav], len(wav)), [Segment(0, wav, False)] if is_sound(wav) else [], long=False)

    def _long_recording(self, blocks: Counted) -> Recording:
        """Audio that is too long to be heard whole."""
        if hasattr(self.search, "stream"):
            return MergedRecording(
                blocks,
                self._overlapping_windows(blocks),
                longest=self._window_frames,
                frame_samples=self.frame_samples,
                search=self.search.stream,
            )
        frame = round(SEGMENT_FRAME_S * self.sample_rate)
        return Recording(blocks, self._segments(blocks, frame, longest_s=self.long_audio.segment_s), long=True)

    def hear(self, batch: Sequence[tuple[Recording, Segment]], padding_s: float = 0.0) -> list[list[Piece]]:
        """Recognise windows of recordings, those of one in their order; for each the pieces that are then known."""
        rows = zip(batch, self.compute(batch, padding_s), strict=True)
        return [recording.understood(window, computed) for (recording, window), computed in rows]

    @torch.inference_mode()
    def compute(self, batch: Sequence[tuple[Recording, Segment]], padding_s: float = 0.0) -> list[Any]:
        """What the model says of each window of some recordings, for their `Recording.understood`; may be repeated.

        They are padded to a multiple of ``padding_s`` seconds. What company a window has changes no answer.
        """
        encoded, frames = self._encode_padded([window.wav for _, window in batch], padding_s)
        merged = [isinstance(recording, MergedRecording) for recording, _ in batch]
        outputs = iter(self._outputs(*_rows(encoded, frames, merged)))
        hypotheses = iter(self._hypotheses(*_rows(encoded, frames, [not row for row in merged])))
        return [next(outputs) if row else next(hypotheses) for row in merged]

    @torch.inference_mode()
    def recognise(self, wavs: Sequence[Tensor]) -> list[list[Hypothesis]]:
        """What each of some waveforms (S,), none of them empty, may say; the best with its tokens' frames."""
        return self._hypotheses(*self._encode_padded(wavs, 0.0))

    def _hypotheses(self, encoded: Tensor, frames: Tensor) -> list[list[Hypothesis]]:
        """What encoded (B, T, D) of (B,) frames may say; the best of each with its tokens' frames."""
        if not len(encoded):
            return []
        found, log_probs = self.search(self.model, encoded, frames), ctc_output(self.model, encoded)
        if log_probs is None:
            return found
        rows = zip(found, log_probs, frames.tolist(), strict=True)
        return [[with_frames(best, row[:count]), *others] for (best, *others), row, count in rows]

    def _outputs(self, encoded: Tensor, frames: Tensor) -> list[Tensor]:
        """The CTC output (T, V) of each of encoded (B, T, D) with (B,) frames."""
        if not len(encoded):
            return []
        return [row[:count] for row, count in zip(self.model.ctc_log_probs(encoded), frames.tolist(), strict=True)]

    def _encode_padded(self, wavs: Sequence[Tensor], padding_s: float) -> tuple[Tensor, Tensor]:
        """Encoded (B, T, D) of waveforms (S,), padded to a multiple of so many seconds, and (B,) frames."""
        padded, samples = pad_wavs(wavs)
        padded = nn.functional.pad(padded, (0, -padded.size(1) % max(1, round(padding_s * self.sample_rate))))
        return self.model.encode(padded.to(self.device), samples.to(self.device))

    def _segments(self, blocks: Iterable[Tensor], frame: int, **options: float) -> Iterator[Segment]:
        """The parts of long audio in which somebody speaks."""
        speech = self.long_audio.speech(self.sample_rate, frame)
        return segments(blocks, speech, pause_s=self.long_audio.pause_s, **options)

    def _overlapping_windows(self, blocks: Iterable[Tensor]) -> Iterator[Segment]:
        """The parts of long audio in which somebody speaks; where nobody pauses, with what is before and after."""
        options = {"longest_s": self.long_audio.window_s, "overlap_s": self.long_audio.overlap_s}
        return self._segments(blocks, self.frame_samples, **options)

    @property
    def _window_frames(self) -> int:
        return round(self.long_audio.window_s * self.sample_rate / self.frame_samples)

    @torch.inference_mode()
    def _whole_output(self, blocks: Iterator[Tensor]) -> tuple[Tensor, int]:
        """The CTC output (T, V) of audio from its beginning to its end, and its samples."""
        wav, rest = take(blocks, self.long_audio.whole_s * self.sample_rate)
        if rest is None:
            outputs = self._outputs(*self._encode_padded([wav], PADDING_S)) if len(wav) else []
            return (outputs[0] if outputs else torch.zeros(0, self.model.vocab_size)), len(wav)
        counted, merger, parts = Counted(chain([wav], rest)), Merger(self._window_frames), []
        for batch in batches_of(self._overlapping_windows(counted), ALIGNED_S * self.sample_rate):
            outputs = self._outputs(*self._encode_padded([window.wav for window in batch], PADDING_S))
            for window, output in zip(batch, outputs, strict=True):
                parts += merger.feed(Output(window.start // self.frame_samples, output, window.continues))
        parts += merger.end()
        return laid_out(parts, counted.samples // self.frame_samples, self.model.vocab_size), counted.samples

    def written(self, pieces: Sequence[Piece], name: str, samples: int) -> Transcript:
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


def _rows(encoded: Tensor, frames: Tensor, chosen: Sequence[bool]) -> tuple[Tensor, Tensor]:
    """Some rows of encoded (B, T, D) and (B,) frames; all of them as they are."""
    if all(chosen):
        return encoded, frames
    return encoded[torch.tensor(chosen)], frames[torch.tensor(chosen)]
