"""A trained model as an object that writes down what is said: in a waveform, a file or an archive."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from toolkit.dataio.audio import Audio, name_of, read_audio
from toolkit.dataio.batches import pad_wavs
from toolkit.decoders.hypothesis import Hypothesis
from toolkit.errors import AudioError, ConfigError, DataError, ModelError
from toolkit.inference.adapters import recogniser_of
from toolkit.inference.confidence import Calibration
from toolkit.inference.long_audio import Counted, LongAudio, batches_of, is_sound, take
from toolkit.inference.pretrained import Pretrained
from toolkit.inference.segments import Segment, segments
from toolkit.inference.timing import ctc_output, samples_per_frame, spelled, timed_words, with_frames
from toolkit.inference.transcript import Alternative, Transcript, Word
from toolkit.inference.windows import Output, laid_out, merged

if TYPE_CHECKING:
    from typing_extensions import Self

    from toolkit.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

# Audio read ahead, in batches: enough to sort by length, little enough to hold in memory.
READ_AHEAD_BATCHES = 8

# The segments of long audio are padded to a multiple of so many seconds: torch keeps memory for every length it meets.
PADDING_S = 4

# Segments of models whose CTC output is not merged begin at multiples of so many seconds.
SEGMENT_FRAME_S = 0.04

# Mean confidence of a text's tokens, below which the audio hardly says it: silence and noise have 0.04 to 0.29, and
# what is said in AN4's test set 0.56 or more (an4-small, ctc_seed3).
DOUBTFUL = 0.3


class Transcriber(Pretrained):
    """Speech to text with one model; a transcript is the same alone, in a batch and in any order.

    Parameters
    ----------
    model : Module
        A recogniser of `toolkit.models.recogniser`.
    tokenizer : Tokenizer
        The one that the model was trained with.
    search : callable
        A searcher of `toolkit.decoders`.
    sample_rate : int
        Of the waveforms that the model hears, in Hz; files of other rates are resampled.
    device : str or torch.device, optional
        Where to compute; by default a GPU where there is one.

    Raises
    ------
    ConfigError
        When there is no such device.
    ModelError
        When model and tokenizer differ in their number of tokens.

    Attributes
    ----------
    calibration : Calibration
        What makes the model's confidence in a word the share of such words that are right.
    long_audio : LongAudio
        How audio is heard that is too long to be heard whole.
    """

    MODULES_NEEDED: ClassVar[Sequence[str]] = ("model",)
    HPARAMS_NEEDED: ClassVar[Sequence[str]] = ("tokenizer", "test_search", "sample_rate")

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Tokenizer,
        search: Callable[..., Any],
        *,
        sample_rate: int,
        device: str | torch.device | None = None,
    ) -> None:
        if model.vocab_size != len(tokenizer):
            raise ModelError(
                f"{tokenizer.model_file}: {len(tokenizer)} tokens, but the model was trained with {model.vocab_size}; "
                "use the tokenizer that it was trained with"
            )
        hparams = {"tokenizer": tokenizer, "test_search": search, "sample_rate": sample_rate}
        super().__init__({"model": model}, hparams, device=device)
        self.model, self.tokenizer, self.search, self.sample_rate = model, tokenizer, search, sample_rate
        self.calibration, self.long_audio = Calibration(), LongAudio()

    @classmethod
    def from_run(cls, folder: str | Path, *, device: str | torch.device | None = None) -> Self:
        """The model that a training run left in its output folder: `from_hparams` without options."""
        return cls.from_hparams(folder, device=device)

    @classmethod
    def _from_loaded(cls, loaded: Mapping[str, Any], folder: Path, device: str | torch.device | None) -> Self:
        if "pretrainer" in loaded:
            model, tokenizer, search, sample_rate = recogniser_of(loaded)
        else:
            model, tokenizer, search, sample_rate = (loaded[key] for key in ("model", *cls.HPARAMS_NEEDED))
        transcriber = cls(model, tokenizer, search, sample_rate=sample_rate, device=device)
        transcriber.calibration = Calibration.read(folder)
        return transcriber

    def transcribe_file(self, path: str | Path) -> str:
        """The words of one audio file."""
        (transcript,) = self.transcribe_files([path])
        return transcript.text

    @torch.no_grad()
    def transcribe_batch(self, wavs: Tensor, wav_lens: Tensor) -> tuple[list[str], list[list[int]]]:
        """Waveforms (B, S), lengths (B,) as shares of S -> the words and the tokens of each."""
        found = self.search(self.model, *self._encode_relative(wavs, wav_lens))
        tokens = [best.tokens for best, *_ in found]
        return [self.tokenizer.decode(row) for row in tokens], tokens

    def encode_batch(self, wavs: Tensor, wav_lens: Tensor) -> Tensor:
        """Waveforms (B, S), lengths (B,) as shares of S -> what the encoder makes of them (B, T, D)."""
        return self._encode_relative(wavs, wav_lens)[0]

    def forward(self, wavs: Tensor, wav_lens: Tensor) -> tuple[list[str], list[list[int]]]:
        """The same as `transcribe_batch`."""
        return self.transcribe_batch(wavs, wav_lens)

    def _encode_relative(self, wavs: Tensor, wav_lens: Tensor) -> tuple[Tensor, Tensor]:
        """Encoded (B, T, D) with (B,) frames."""
        wavs = wavs.float().to(self.device)
        return self.model.encode(wavs, torch.round(wav_lens.to(self.device) * wavs.shape[1]).long())

    @cached_property
    def frame_samples(self) -> int:
        """How many samples one frame of the encoder is after the other."""
        return samples_per_frame(self.model, self.sample_rate, self.device)

    def transcribe(
        self,
        audio: Audio | Sequence[Audio],
        *,
        sample_rate: int | None = None,
        channel: int | None = None,
        batch_seconds: float = 60.0,
    ) -> Transcript | list[Transcript]:
        """What is said in audio of any kind and length: a transcript, or of a list of audio one for each, in its order.

        Parameters
        ----------
        audio
            A path, the bytes of a file, a file opened for reading bytes, or samples (S,) or (C, S); or a list of these.
            Without samples there are no words.
        sample_rate
            Of samples, in Hz; by default the model's. Files say theirs.
        channel
            Which one to hear, from 0 on; by default their mean.
        batch_seconds
            Seconds of audio computed at once, padding included.

        Raises
        ------
        AudioError
            Names the audio and why it cannot be heard.
        ConfigError
            ``batch_seconds`` is not above zero.
        """
        one = not isinstance(audio, (list, tuple))
        reader = partial(read_audio, sample_rate=self.sample_rate, given_rate=sample_rate, channel=channel)
        found = list(self._transcripts([audio] if one else audio, reader, batch_seconds, _raise))
        return found[0] if one else found

    def transcribe_files(
        self,
        paths: Iterable[str | Path],
        *,
        channel: int | None = None,
        batch_seconds: float = 60.0,
        on_error: Callable[[AudioError], None] | None = None,
    ) -> Iterator[Transcript]:
        """The transcripts of audio files, in their order, as they are made; only a few batches of audio are in memory.

        Parameters
        ----------
        paths : iterable of str or Path
            Files of any container, sample rate, channel count and length.
        channel, batch_seconds
            As of `transcribe`.
        on_error : callable, optional
            Called with the AudioError of each file that cannot be read, which then has no transcript.

        Raises
        ------
        AudioError
            Without ``on_error``: once all other files are transcribed, names those that cannot be read and why.
        """
        failed: list[AudioError] = []
        reader = partial(read_audio, sample_rate=self.sample_rate, channel=channel)
        yield from self._transcripts(paths, reader, batch_seconds, on_error or failed.append)
        if failed:
            raise AudioError("\n".join(map(str, failed)))

    @torch.inference_mode()
    def align(
        self, audio: Audio, text: str, *, sample_rate: int | None = None, channel: int | None = None
    ) -> Transcript:
        """A transcript that is known, with the times of its words; its score is the sum of its tokens' log confidence.

        Warns where the audio hardly says it.

        Words stand as they are written. Case and punctuation that the tokenizer does not know are not looked for.

        Parameters
        ----------
        audio, sample_rate, channel
            As of `transcribe`.
        text
            What is said in the audio.

        Raises
        ------
        AudioError
            Names the audio and why it cannot be heard.
        DataError
            The text cannot have been said in this audio, or has a word that the tokenizer cannot spell.
        ModelError
            The model has no CTC output.
        """
        pieces, words = self.tokenizer.pieces(), text.split()
        tokens = self.tokenizer.encode(spelled(words, pieces))
        reader = partial(read_audio, sample_rate=self.sample_rate, given_rate=sample_rate, channel=channel)
        log_probs, samples = self._whole_output(reader(audio))
        found = with_frames(Hypothesis(tokens, 0.0), log_probs)
        if found.frames is None:
            raise DataError(
                f"{name_of(audio) or 'waveform'}: {len(log_probs)} frames of audio have no room for the {len(tokens)} "
                "tokens of the text; is it the text of this audio?"
            )
        if sum(found.confidence) < DOUBTFUL * len(tokens):
            logger.warning("%s: hardly says this text; is it the text of this audio?", name_of(audio) or "waveform")
        return Transcript(
            " ".join(words),
            self._timed(Piece(0, [found]), " ".join(words)),
            tokens=tuple(pieces[token] for token in tokens),
            score=sum(math.log(max(one, 1e-30)) for one in found.confidence),
            duration=samples / self.sample_rate,
            file=name_of(audio),
        )

    def _transcripts(
        self,
        audios: Iterable[Audio],
        reader: Callable[[Audio], Iterator[Tensor]],
        batch_seconds: float,
        report: Callable[[AudioError], None],
    ) -> Iterator[Transcript]:
        """The transcripts of audio, in its order: what is short in batches, what is long by itself."""
        if not batch_seconds > 0:
            raise ConfigError(f"batch_seconds: expected seconds of audio, for instance 60, not {batch_seconds}")
        held: list[tuple[str, Tensor]] = []
        samples = 0
        for audio in audios:
            name = name_of(audio)
            try:
                wav, rest = take(reader(audio), self.long_audio.whole_s * self.sample_rate)
                if rest is not None:
                    yield from self._transcribe(held, batch_seconds)
                    held, samples = [], 0
                    yield self._transcribe_long(chain([wav], rest), name, batch_seconds)
                    continue
            except AudioError as error:
                report(error)
                continue
            held.append((name, wav))
            samples += len(wav)
            if samples >= READ_AHEAD_BATCHES * batch_seconds * self.sample_rate:
                yield from self._transcribe(held, batch_seconds)
                held, samples = [], 0
        yield from self._transcribe(held, batch_seconds)

    def _transcribe(self, recordings: Sequence[tuple[str, Tensor]], batch_seconds: float) -> list[Transcript]:
        """The transcripts of named waveforms, in their order, batched with others of their length."""
        found: list[list[Piece]] = [[] for _ in recordings]
        lengths = [len(wav) if is_sound(wav) else 0 for _, wav in recordings]
        for batch in length_batches(lengths, batch_seconds * self.sample_rate):
            for place, hypotheses in zip(batch, self._recognise([recordings[i][1] for i in batch]), strict=True):
                found[place] = [Piece(0, hypotheses)]
        rows = zip(recordings, found, strict=True)
        return [self._transcript(pieces, name, len(wav)) for (name, wav), pieces in rows]

    def _transcribe_long(self, blocks: Iterable[Tensor], name: str, batch_seconds: float) -> Transcript:
        """The transcript of named audio that comes in blocks (S,)."""
        counted = Counted(blocks)
        recognise = self._recognise_windows if hasattr(self.search, "stream") else self._recognise_segments
        pieces = list(recognise(counted, batch_seconds))
        return self._transcript(pieces, name, counted.samples)

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
        nbest = [Alternative(text, score)]
        if len(pieces) == 1:
            nbest += [Alternative(self.tokenizer.decode(one.tokens), one.score) for one in pieces[0].hypotheses[1:]]
        return Transcript(
            text,
            tuple(words),
            tokens=tuple(tokens),
            score=score,
            nbest=tuple(nbest) if pieces else (),
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


class Piece(NamedTuple):
    """What may be said from a sample of the recording on, best first."""

    start: int
    hypotheses: list[Hypothesis]


def length_batches(lengths: Sequence[int], most: float) -> Iterator[list[int]]:
    """The places of recordings, longest first, in batches of at most ``most`` samples, padding included.

    A recording longer than that is a batch of its own; empty ones are in no batch.
    """
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > most:
            yield batch
            batch = []
        if lengths[place]:
            batch.append(place)
    if batch:
        yield batch


def _raise(error: AudioError) -> None:
    raise error
