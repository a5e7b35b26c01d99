"""A trained model as an object that writes down what is said: in a waveform, a file or an archive."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from toolkit.dataio.audio import load_audio
from toolkit.dataio.batches import pad_wavs
from toolkit.decoders.hypothesis import Hypothesis
from toolkit.errors import AudioError, ModelError
from toolkit.inference.adapters import recogniser_of
from toolkit.inference.confidence import Calibration
from toolkit.inference.pretrained import Pretrained
from toolkit.inference.timing import ctc_output, samples_per_frame, timed_words, with_frames
from toolkit.inference.transcript import Alternative, Transcript

if TYPE_CHECKING:
    from typing_extensions import Self

    from toolkit.tokenizer import Tokenizer

# Audio read ahead, in batches: enough to sort by length, little enough to hold in memory.
READ_AHEAD_BATCHES = 8

# Seconds of the longest file. A model hears a file as a whole: 20 minutes take the encoders of AN4's recipe 1.4 GB, and
# memory grows with the length, time with its square where there is attention.
LONGEST_S = 1800.0


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
        self.calibration = Calibration()

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
        found = self.search(self.model, *self._encode(wavs, wav_lens))
        tokens = [best.tokens for best, *_ in found]
        return [self.tokenizer.decode(row) for row in tokens], tokens

    def encode_batch(self, wavs: Tensor, wav_lens: Tensor) -> Tensor:
        """Waveforms (B, S), lengths (B,) as shares of S -> what the encoder makes of them (B, T, D)."""
        return self._encode(wavs, wav_lens)[0]

    def forward(self, wavs: Tensor, wav_lens: Tensor) -> tuple[list[str], list[list[int]]]:
        """The same as `transcribe_batch`."""
        return self.transcribe_batch(wavs, wav_lens)

    def _encode(self, wavs: Tensor, wav_lens: Tensor) -> tuple[Tensor, Tensor]:
        """Encoded (B, T, D) with (B,) frames."""
        wavs = wavs.float().to(self.device)
        return self.model.encode(wavs, torch.round(wav_lens.to(self.device) * wavs.shape[1]).long())

    @cached_property
    def frame_samples(self) -> int:
        """How many samples one frame of the encoder is after the other."""
        return samples_per_frame(self.model, self.sample_rate, self.device)

    def transcribe(self, wavs: Sequence[Tensor], *, batch_seconds: float = 60.0) -> list[Transcript]:
        """The transcripts of waveforms (S,) at the model's sample rate, in their order; no samples, no words."""
        wavs = [_checked(wav, place) for place, wav in enumerate(wavs)]
        return self._transcribe([("", wav) for wav in wavs], batch_seconds)

    def transcribe_files(
        self,
        paths: Iterable[str | Path],
        *,
        batch_seconds: float = 60.0,
        on_error: Callable[[AudioError], None] | None = None,
    ) -> Iterator[Transcript]:
        """The transcripts of audio files, in their order, as they are made; only a few batches of audio are in memory.

        Parameters
        ----------
        paths : iterable of str or Path
            Files of any container, sample rate and channel count, of at most `LONGEST_S` seconds.
        batch_seconds : float
            Seconds of audio in a batch, padding included; a longer file is a batch of its own.
        on_error : callable, optional
            Called with the AudioError of each file that cannot be read or is too long, which then has no transcript.

        Raises
        ------
        AudioError
            Without ``on_error``: once all other files are transcribed, names those that cannot be read and why.
        """
        failed: list[AudioError] = []
        for recordings in self._read(paths, READ_AHEAD_BATCHES * batch_seconds, on_error or failed.append):
            yield from self._transcribe(recordings, batch_seconds)
        if failed:
            raise AudioError("\n".join(map(str, failed)))

    def _read(
        self, paths: Iterable[str | Path], seconds: float, report: Callable[[AudioError], None]
    ) -> Iterator[list[tuple[str, Tensor]]]:
        """Files with their waveforms, some ``seconds`` of audio at a time."""
        recordings, samples = [], 0
        for path in paths:
            try:
                wav = load_audio(path, self.sample_rate, longest=LONGEST_S)
            except AudioError as error:
                report(error)
                continue
            recordings.append((str(path), wav))
            samples += len(wav)
            if samples >= seconds * self.sample_rate:
                yield recordings
                recordings, samples = [], 0
        yield recordings

    def _transcribe(self, recordings: Sequence[tuple[str, Tensor]], batch_seconds: float) -> list[Transcript]:
        """The transcripts of named waveforms, in their order, batched with others of their length."""
        transcripts = [Transcript("", file=name) for name, _ in recordings]
        lengths = [len(wav) for _, wav in recordings]
        for batch in length_batches(lengths, batch_seconds * self.sample_rate):
            found = self._recognise([recordings[place][1] for place in batch])
            for place, hypotheses in zip(batch, found, strict=True):
                name, wav = recordings[place]
                transcripts[place] = self._transcript(hypotheses, name, len(wav))
        return transcripts

    @torch.inference_mode()
    def _recognise(self, wavs: Sequence[Tensor]) -> list[list[Hypothesis]]:
        """What one batch of waveforms (S,), none of them empty, may say; the best of each with its tokens' frames."""
        padded, samples = pad_wavs(wavs)
        encoded, frames = self.model.encode(padded.to(self.device), samples.to(self.device))
        found = self.search(self.model, encoded, frames)
        log_probs = ctc_output(self.model, encoded)
        if log_probs is None:
            return found
        rows = zip(found, log_probs, frames.tolist(), strict=True)
        return [[with_frames(best, row[:count]), *others] for (best, *others), row, count in rows]

    def _transcript(self, hypotheses: Sequence[Hypothesis], name: str, samples: int) -> Transcript:
        """What is said in a named recording of so many samples, by the best of the hypotheses."""
        best, texts = hypotheses[0], [self.tokenizer.decode(one.tokens) for one in hypotheses]
        pieces = self.tokenizer.pieces()
        words = timed_words(best, pieces, texts[0], self.frame_samples / self.sample_rate) if best.frames else ()
        words = tuple(replace(word, confidence=self.calibration(word.confidence)) for word in words)
        return Transcript(
            texts[0],
            words,
            tokens=tuple(pieces[token] for token in best.tokens),
            score=best.score,
            nbest=tuple(Alternative(text, one.score) for text, one in zip(texts, hypotheses, strict=True)),
            duration=samples / self.sample_rate,
            file=name,
        )


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


def _checked(wav: Tensor, place: int) -> Tensor:
    """The waveform, when it is one."""
    if wav.dim() != 1 or not wav.is_floating_point():
        raise ModelError(
            f"waveform {place}: expected floating-point samples of shape (S,), got {wav.dtype} of shape "
            f"{tuple(wav.shape)}; average the channels, and scale to [-1, 1]"
        )
    return wav.float()
