"""A trained model as an object that writes down what is said: in a waveform, a file or an archive."""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from toolkit.dataio.audio import Audio, name_of, read_audio
from toolkit.decoders.hypothesis import Hypothesis
from toolkit.errors import AudioError, ConfigError, DataError
from toolkit.inference.adapters import Recogniser, recogniser_of
from toolkit.inference.confidence import Calibration
from toolkit.inference.hotwords import with_hotwords
from toolkit.inference.huggingface import read_huggingface
from toolkit.inference.long_audio import batches_of
from toolkit.inference.pretrained import Options
from toolkit.inference.provenance import check_tokens
from toolkit.inference.recognition import PADDING_S, Recognition
from toolkit.inference.recordings import Piece, Recording
from toolkit.inference.sources import Origin, is_huggingface
from toolkit.inference.timing import SHORT_S, spelled, with_frames
from toolkit.inference.transcript import Transcript

if TYPE_CHECKING:
    from typing_extensions import Self


logger = logging.getLogger(__name__)

# Audio read ahead, in batches: enough to sort by length, little enough to hold in memory.
READ_AHEAD_BATCHES = 8

# Mean confidence of a text's tokens, below which the audio hardly says it: silence and noise have 0.04 to 0.29, and
# what is said in AN4's test set 0.56 or more (an4-small, ctc_seed3).
DOUBTFUL = 0.3


class Transcriber(Recognition):
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
        When there is no such device, or sampling rate.
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

    @classmethod
    def _from_folder(cls, origin: Origin, options: Options) -> Self:
        if is_huggingface(origin.folder, options.hparams_file):
            return cls._of(read_huggingface(origin, options.overrides), origin.folder, options.device)
        return super()._from_folder(origin, options)

    @classmethod
    def _from_loaded(cls, loaded: Mapping[str, Any], folder: Path, device: str | torch.device | None) -> Self:
        if "pretrainer" not in loaded:
            parts = Recogniser(*(loaded[key] for key in ("model", *cls.HPARAMS_NEEDED)))
            check_tokens(parts.tokenizer, folder, loaded.get("lm_folder"))
            return cls._of(parts, folder, device)
        transcriber = cls._of(recogniser_of(loaded), folder, device)
        # what its YAML calls so, as code for SpeechBrain has it: mods.encoder, hparams.compute_features
        known = vars(transcriber.hparams)
        others = {name: module for name, module in loaded["modules"].items() if name not in transcriber.mods}
        transcriber._keep(others, {name: value for name, value in loaded.items() if name not in known})
        return transcriber

    @classmethod
    def _of(cls, parts: Recogniser, folder: Path, device: str | torch.device | None) -> Self:
        """The transcriber of what was loaded from a folder, which is heard to work."""
        transcriber = cls(parts.model, parts.tokenizer, parts.search, sample_rate=parts.sample_rate, device=device)
        transcriber.long_audio, transcriber.calibration = parts.long_audio, Calibration.read(folder)
        transcriber._check_hears()
        return transcriber

    @torch.no_grad()
    def _check_hears(self) -> None:
        """Let the model hear a moment of silence: parts that do not fit together raise an error now."""
        self.encode_batch(torch.zeros(1, round(SHORT_S * self.sample_rate)), torch.ones(1))

    def transcribe_file(self, path: str | Path) -> str:
        """The words of one audio file."""
        (transcript,) = self.transcribe_files([path])
        return transcript.text

    @torch.no_grad()
    def transcribe_batch(self, wavs: Tensor, rel_lens: Tensor) -> tuple[list[str], list[list[int]]]:
        """Waveforms (B, S), lengths (B,) as shares of S -> the words and the tokens of each."""
        found = self.search(self.model, *self._encode_relative(wavs, rel_lens))
        tokens = [best.tokens for best, *_ in found]
        return [self.tokenizer.decode(row) for row in tokens], tokens

    def encode_batch(self, wavs: Tensor, rel_lens: Tensor) -> Tensor:
        """Waveforms (B, S), lengths (B,) as shares of S -> what the encoder makes of them (B, T, D)."""
        return self._encode_relative(wavs, rel_lens)[0]

    def forward(self, wavs: Tensor, rel_lens: Tensor) -> tuple[list[str], list[list[int]]]:
        """The same as `transcribe_batch`."""
        return self.transcribe_batch(wavs, rel_lens)

    def _encode_relative(self, wavs: Tensor, rel_lens: Tensor) -> tuple[Tensor, Tensor]:
        """Encoded (B, T, D) with (B,) frames."""
        wavs = wavs.float().to(self.device)
        return self.model.encode(wavs, torch.round(rel_lens.to(self.device) * wavs.shape[1]).long())

    def transcribe(
        self,
        audio: Audio | Sequence[Audio],
        *,
        sample_rate: int | None = None,
        channel: int | None = None,
        batch_seconds: float = 60.0,
        nbest: int | None = None,
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
        nbest
            How many hypotheses to search for, at most its beam size; by default as many as its ``topk`` says. Some may
            be of one text, which is told once.

        Raises
        ------
        AudioError
            Names the audio and why it cannot be heard.
        ConfigError
            The search cannot find so many texts, or ``batch_seconds`` is not above zero.
        """
        one = not isinstance(audio, (list, tuple))
        reader = partial(read_audio, sample_rate=self.sample_rate, given_rate=sample_rate, channel=channel)
        named = ((name_of(single), reader(single)) for single in ([audio] if one else audio))
        found = list(self.searching(nbest)._transcripts(named, batch_seconds, _raise))
        return found[0] if one else found

    def transcribe_files(
        self,
        paths: Iterable[str | Path],
        *,
        channel: int | None = None,
        batch_seconds: float = 60.0,
        nbest: int | None = None,
        on_error: Callable[[AudioError], None] | None = None,
    ) -> Iterator[Transcript]:
        """The transcripts of audio files, in their order, as they are made; only a few batches of audio are in memory.

        Parameters
        ----------
        paths : iterable of str or Path
            Files of any container, sample rate, channel count and length.
        channel, batch_seconds, nbest
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
        named = ((name_of(path), reader(path)) for path in paths)
        yield from self.searching(nbest)._transcripts(named, batch_seconds, on_error or failed.append)
        if failed:
            raise AudioError("\n".join(map(str, failed)))

    def transcribe_waveforms(
        self, waveforms: Mapping[str, Tensor], *, batch_seconds: float = 60.0, nbest: int | None = None
    ) -> Iterator[Transcript]:
        """The transcripts of waveforms (S,) at the model's rate, as `load_audio` reads them, by the names of files."""
        named = ((name, iter([wav])) for name, wav in waveforms.items())
        yield from self.searching(nbest)._transcripts(named, batch_seconds, _raise)

    def searching(self, nbest: int | None = None, hotwords: Sequence[str] = ()) -> Self:
        """The same with a search that finds so many texts, and for which phrases are likely, if it can be told so.

        Raises
        ------
        ConfigError
            The search cannot find so many.
        """
        search = with_hotwords(self.search, hotwords, self.tokenizer)
        if nbest not in (None, getattr(search, "topk", 1)):
            most = getattr(search, "beam_size", 1)
            if not 1 <= nbest <= most:
                kind = type(search).__name__
                raise ConfigError(f"nbest={nbest}: expected 1 to {most}, as the model's {kind} keeps no more texts")
            search = dataclasses.replace(search, topk=nbest)
        if search is self.search:
            return self
        self.frame_samples  # noqa: B018  (found once, and not by every copy)
        other = copy.copy(self)
        other.search = search
        return other

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
        named: Iterable[tuple[str, Iterator[Tensor]]],
        batch_seconds: float,
        report: Callable[[AudioError], None],
    ) -> Iterator[Transcript]:
        """The transcripts of named blocks (S,), in their order: what is short in batches, what is long by itself."""
        if not batch_seconds > 0:
            raise ConfigError(f"batch_seconds: expected seconds of audio, for instance 60, not {batch_seconds}")
        held: list[tuple[str, Recording]] = []
        samples = 0
        for name, blocks in named:
            try:
                recording = self.recording(blocks)
                if recording.long:
                    yield from self._transcribe(held, batch_seconds)
                    held, samples = [], 0
                    yield self._transcribe_long(recording, name, batch_seconds)
                    continue
            except AudioError as error:
                report(error)
                continue
            held.append((name, recording))
            samples += recording.samples
            if samples >= READ_AHEAD_BATCHES * batch_seconds * self.sample_rate:
                yield from self._transcribe(held, batch_seconds)
                held, samples = [], 0
        yield from self._transcribe(held, batch_seconds)

    def _transcribe(self, named: Sequence[tuple[str, Recording]], batch_seconds: float) -> list[Transcript]:
        """The transcripts of named recordings, in their order, batched with others of their length."""
        windows = [(recording, window) for _, recording in named for window in recording.windows]
        said: dict[Recording, list[Piece]] = {}
        for batch in length_batches([len(one.wav) for _, one in windows], batch_seconds * self.sample_rate):
            heard = self.hear([windows[place] for place in batch])
            said |= {windows[place][0]: pieces for place, pieces in zip(batch, heard, strict=True)}
        return [self.written(said.get(recording, []), name, recording.samples) for name, recording in named]

    def _transcribe_long(self, recording: Recording, name: str, batch_seconds: float) -> Transcript:
        """The transcript of a named recording that is heard in windows."""
        pieces: list[Piece] = []
        for batch in batches_of(recording.windows, batch_seconds * self.sample_rate):
            pieces += chain(*self.hear([(recording, window) for window in batch], PADDING_S))
        return self.written(pieces + recording.end(), name, recording.samples)


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
