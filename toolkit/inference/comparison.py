"""How near one model is to another that it should equal: log-probabilities, and words of a test set."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lhotse.cut import Cut
from torch import Tensor
from tqdm import tqdm

from toolkit.dataio.batches import pad_wavs
from toolkit.dataio.corpus import Corpus, config_of_path
from toolkit.dataio.cut_audio import load_cut
from toolkit.dataio.manifest_writers import said
from toolkit.errors import DataError, ModelError
from toolkit.inference.transcriber import Transcriber
from toolkit.metrics.error_rate import ErrorRateTracker
from toolkit.models.recogniser import CTCModel

TOLERANCE = 1e-3  # of log-probabilities; float32 in another order is off by 1e-5
AT_ONCE = 32  # utterances


@dataclass(frozen=True)
class Tested:
    """What a model made of a test set; rates in percent, and seconds of processor time."""

    wer: float
    cer: float
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """A model beside the one that it should equal.

    Attributes
    ----------
    difference
        The largest of two CTC log-probabilities.
    agreement
        The share of frames in which both find the same token the most likely.
    audio
        What they heard for that.
    test, utterances, before, after
        What was transcribed with both, and how well.
    """

    difference: float
    agreement: float
    audio: str
    test: str | None = None
    utterances: int = 0
    before: Tested | None = None
    after: Tested | None = None

    def facts(self) -> dict[str, Any]:
        """As a dictionary."""
        return asdict(self)


def compare(before: Transcriber, after: Transcriber, *, test: Path | None = None, exactly: bool = True) -> Comparison:
    """Both models on a test set, or, without one, their log-probabilities of synthetic sounds.

    Raises
    ------
    ModelError
        They differ by more than rounding, and should not.
    DataError
        There is nothing to test on.
    """
    cuts = None if test is None else list(_cuts(test))
    if cuts is None:
        wavs, audio = sounds(before.sample_rate), "synthetic sounds"
    else:
        wavs, audio = [_wav(cut, before.sample_rate) for cut in cuts[:AT_ONCE]], str(test)
    difference, agreement = _difference(before, after, wavs)
    if exactly and difference > TOLERANCE:
        raise ModelError(
            f"log-probabilities differ from the run's by up to {difference:.2g}, expected {TOLERANCE:g} at most; this "
            "model cannot be exported so"
        )
    if cuts is None:
        return Comparison(difference, agreement, audio)
    tested = [_tested(one, cuts) for one in (before, after)]
    return Comparison(difference, agreement, audio, str(test), len(cuts), *tested)


def sounds(sample_rate: int) -> list[Tensor]:
    """Noises (S,) of 0.7 to 4 s whose loudness and colour change every tenth of a second; always the same."""
    generator = torch.Generator().manual_seed(1)
    return [_noise(seconds, sample_rate, generator) for seconds in (4.0, 2.3, 0.7)]


def _noise(seconds: float, sample_rate: int, generator: torch.Generator) -> Tensor:
    step = sample_rate // 10
    pieces = torch.randn(round(10 * seconds), step, generator=generator)
    smooth = pieces.cumsum(1) / step**0.5  # of low pitch
    loudness, pitch = torch.rand(2, len(pieces), 1, generator=generator)
    return (0.2 * loudness * (pitch * smooth + (1 - pitch) * pieces)).flatten()


@torch.inference_mode()
def _difference(before: Transcriber, after: Transcriber, wavs: list[Tensor]) -> tuple[float, float]:
    first, second = (torch.cat(list(_log_probs(one, wavs))) for one in (before, after))
    same = first.argmax(1) == second.argmax(1)
    return float((first - second).abs().max()), float(same.float().mean())


def _log_probs(transcriber: Transcriber, wavs: list[Tensor]) -> Iterator[Tensor]:
    """CTC log-probabilities (T, V) of each waveform (S,)."""
    model = transcriber.model
    encoded, frames = model.encoder(*model.features(*pad_wavs(wavs)))
    log_probs = CTCModel.ctc_log_probs(model, encoded)  # also of a SpeechLM, which gives none of what it encodes
    for rows, count in zip(log_probs, frames.tolist(), strict=True):
        yield rows[:count]


def _tested(transcriber: Transcriber, cuts: list[Cut]) -> Tested:
    scored, seconds, waiting = ErrorRateTracker(), 0.0, iter(cuts)
    transcriber.transcribe([_wav(cuts[0], transcriber.sample_rate)])  # what is compiled at first is not timed
    with tqdm(total=len(cuts), unit="utterance", disable=None, leave=False) as bar:
        while batch := list(islice(waiting, AT_ONCE)):
            wavs = [_wav(cut, transcriber.sample_rate) for cut in batch]
            began = time.process_time()
            found = transcriber.transcribe(wavs)
            seconds += time.process_time() - began
            for cut, transcript in zip(batch, found, strict=True):
                scored.add(cut.id, said(cut), transcript.text)
            bar.update(len(batch))
    return Tested(round(scored.wer, 2), round(scored.cer, 2), round(seconds, 1))


def _cuts(test: Path) -> Iterator[Cut]:
    corpus = Corpus.of(f"--test {test}", config_of_path(test))
    cut = None
    for cut in corpus.examples:
        yield cut
    if cut is None:
        raise DataError(f"--test {test}: no utterances; name a manifest that has some")


def _wav(cut: Cut, sample_rate: int) -> Tensor:
    return load_cut(cut if cut.sampling_rate == sample_rate else cut.resample(sample_rate))
