"""Live recognition: lines while they are spoken, as if each had been heard alone; nothing where nobody speaks."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soxr
import torch
from test_utterances import RATE, noise, recording, speech
from torch import Tensor

from toolkit.dataio.audio import load_audio
from toolkit.errors import AudioError, ModelError
from toolkit.inference.live import Excerpt, LiveStream, LiveUtterances, listen, live
from toolkit.inference.streaming import StreamingASR
from toolkit.inference.transcriber import Transcriber
from toolkit.inference.transcript import Heard
from toolkit.metrics.error_rate import word_errors

REAL = Path(os.environ.get("ASR_DATA", Path(__file__).parents[3] / "shared/data")) / "an4"
NAMES = ("an406-fcaw-b", "an407-fcaw-b", "an408-fcaw-b", "an409-fcaw-b", "an410-fcaw-b", "cen1-fcaw-b")


@pytest.fixture(scope="module")
def whole(run_folder: Path) -> Transcriber:
    """A model that hears whole utterances."""
    return Transcriber.from_hparams(run_folder, device="cpu")


@pytest.fixture(scope="module")
def streaming(streaming_folder: Path) -> StreamingASR:
    return StreamingASR.from_hparams(streaming_folder, device="cpu")


@pytest.fixture(params=["whole", "streaming"])
def asr(request: pytest.FixtureRequest) -> Transcriber:
    return request.getfixturevalue(request.param)


def in_pieces(wav: Tensor, seed: int) -> list[Tensor]:
    draw, pieces, start = random.Random(seed), [], 0
    while start < len(wav):
        pieces.append(wav[start : start + draw.choice([1, 160, 1600, 4800, 30_000])])
        start += len(pieces[-1])
    return pieces


def finals(found: list[Heard]) -> list[Heard]:
    return [heard for heard in found if heard.final]


def said(found: list[Heard]) -> list[tuple]:
    """What there is to the last lines, but for rounding."""
    return [
        (one.transcript.text, one.transcript.words, one.transcript.duration, one.duration, one.speech_ended)
        for one in finals(found)
    ]


def test_a_session_is_of_the_models_kind(whole: Transcriber, streaming: StreamingASR) -> None:
    assert (type(live(whole)), type(live(streaming))) == (LiveUtterances, LiveStream)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_pieces_do_not_matter(asr: Transcriber, seed: int) -> None:
    wav = recording(-50)
    at_once = list(listen(asr, [wav]))
    assert [heard.duration for heard in finals(at_once)] == pytest.approx([3, 4.5, 9], abs=0.3)
    found = said(list(listen(asr, in_pieces(wav, seed))))
    assert [line[0] for line in found] == [line[0] for line in said(at_once)]
    for line, other in zip(found, said(at_once), strict=True):
        assert [(word.text, word.start, word.end) for word in line[1]] == [(w.text, w.start, w.end) for w in other[1]]
        assert line[2:] == other[2:]


def test_a_line_is_what_its_audio_says_alone_but_later(asr: Transcriber) -> None:
    wav = recording(-50)
    found = finals(list(listen(asr, wav.split(1600))))
    for heard in found:
        end = round(heard.duration * RATE)
        start = end - round(heard.transcript.duration * RATE)
        alone = asr.transcribe([wav[start:end]])[0]
        assert heard.transcript.text == alone.text != ""
        assert heard.stable == len(alone.text)
        for word, other in zip(heard.transcript.words, alone.words, strict=True):
            assert (word.start, word.end) == pytest.approx((start / RATE + other.start, start / RATE + other.end))
    assert len(found) == 3


def test_partials_come_about_every_second_and_of_the_line_only(asr: Transcriber) -> None:
    wav = torch.cat([noise(1, -60), speech(6), noise(2, -60)])
    times, place = [], 0
    session = live(asr)
    for block in wav.split(800):
        session.feed(block)
        place += len(block)
        while (excerpt := session.wanted()) is not None:
            times.append((place / RATE, excerpt))
            session.hear(excerpt)
    assert [excerpt.final for _, excerpt in times] == [False] * (len(times) - 1) + [True]
    assert 5 <= len(times) <= 20
    assert times[0][0] < 2.3
    assert all(place - excerpt.end / RATE < 0.4 for place, excerpt in times[:-1])


def test_a_session_that_is_behind_leaves_partials_out(whole: Transcriber) -> None:
    session = live(whole)
    session.feed(recording(-50))
    assert session.waiting_s == pytest.approx(2 + 0.5 + 3 + 6 * 0.2, abs=0.8)  # with what is around them
    wanted = [session.wanted() for _ in range(4)]
    assert [excerpt and (excerpt.final, excerpt.paused) for excerpt in wanted] == [(True, True)] * 3 + [None]
    assert (session.waiting_s, session.over) == (0, False)
    session.finish()
    assert session.over


def test_a_session_that_is_asked_late_wants_partials_less_often(whole: Transcriber) -> None:
    def partials(asked_after_s: float) -> int:
        session, count = live(whole), 0
        for block in torch.cat([noise(1, -60), speech(18)]).split(round(asked_after_s * RATE)):
            session.feed(block)
            count += session.wanted() is not None
        return count

    assert 16 <= partials(0.1) <= 18
    assert partials(1.6) <= 7  # of eleven times


def test_partials_come_again_once_what_was_late_is_done(whole: Transcriber) -> None:
    session, partials = live(whole), 0
    late = torch.cat([noise(1, -60), speech(15), noise(2, -60)])
    for block in late.split([round(seconds * RATE) for seconds in (3.5, 4.5, 7.5, 2.5)]):  # ever later
        session.feed(block)
        assert session.wanted() is not None
    for block in torch.cat([speech(5), noise(1, -60)]).split(1600):
        session.feed(block)
        excerpt = session.wanted()
        partials += excerpt is not None and not excerpt.final
    assert partials >= 4


def test_lines_of_several_speakers_in_one_batch(whole: Transcriber) -> None:
    sessions = [live(whole), live(whole)]
    wavs = [recording(-50), torch.cat([noise(1, -50), speech(2.5), noise(1, -50)])]
    for session, wav in zip(sessions, wavs, strict=True):
        session.feed(wav)
    excerpts = [session.wanted() for session in sessions]
    together = whole.recognise([excerpt.wav for excerpt in excerpts])
    for session, excerpt, hypotheses, wav in zip(sessions, excerpts, together, wavs, strict=True):
        (heard,) = session.understood(excerpt, hypotheses)
        alone = next(listen(whole, [wav]))
        assert heard.transcript.text == alone.transcript.text != ""
        assert [word.start for word in heard.transcript.words] == [word.start for word in alone.transcript.words]


@pytest.mark.parametrize("sound", [torch.zeros(5 * RATE), noise(5, -60), noise(5, -20)])
def test_nobody_speaks(asr: Transcriber, sound: Tensor) -> None:
    session = live(asr)
    for block in sound.split(1600):
        session.feed(block)
        assert session.wanted() is None
    session.finish()
    assert (session.wanted(), session.over) == (None, True)


def test_nothing_at_all(asr: Transcriber) -> None:
    assert list(listen(asr, [])) == list(listen(asr, [torch.zeros(0)], sample_rate=8000)) == []


def test_what_never_pauses_comes_in_lines_of_bounded_length(asr: Transcriber, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asr, "long_audio", replace(asr.long_audio, segment_s=3.0, whole_s=3.0))
    found = list(listen(asr, torch.cat([noise(1, -60), speech(10), noise(1, -60)]).split(1600)))
    assert [heard.speech_ended for heard in finals(found)] == [False] * (len(finals(found)) - 1) + [True]
    assert all(heard.transcript.duration <= 3.5 for heard in found)
    assert sum(heard.transcript.duration for heard in finals(found)) == pytest.approx(10, abs=0.5)
    starts = [word.start for heard in finals(found) for word in heard.transcript.words]
    assert starts == sorted(starts)


def test_words_that_turn_out_to_be_none_are_taken_back(whole: Transcriber) -> None:
    session, (hypotheses,) = live(whole), whole.recognise([speech(1)])
    line, nothing = Excerpt(0, speech(1), final=False), [replace(hypotheses[0], tokens=[], frames=None)]
    (heard,) = session.understood(line, hypotheses)
    assert heard.transcript.text
    assert session.understood(line, hypotheses) == []  # is known
    (last,) = session.understood(line._replace(final=True), nothing)
    assert (last.final, last.transcript.text) == (True, "")
    assert session.understood(line._replace(final=True), nothing) == []


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_other_sampling_rates(asr: Transcriber, rate: int) -> None:
    wav = recording(-50)
    other = soxr.resample(wav.numpy(), RATE, rate)
    found = finals(list(listen(asr, np.array_split(other, 150), sample_rate=rate)))
    assert [heard.duration for heard in found] == pytest.approx([3, 4.5, 9], abs=0.3)


def test_what_is_no_sound_is_refused(whole: Transcriber) -> None:
    session = live(whole)
    with pytest.raises(ModelError, match=r"int16 of \(3,\)"):
        session.feed(np.zeros(3, np.int16))
    with pytest.raises(ModelError, match=r"\(2, 3\)"):
        session.feed(torch.zeros(2, 3))
    with pytest.raises(AudioError, match="numbers"):
        session.feed(torch.tensor([0.0, float("nan")]))
    session.finish()
    with pytest.raises(ModelError, match="finished"):
        session.feed(torch.zeros(3))


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="needs the recordings of AN4")
def test_real_speech_is_understood_as_each_utterance_alone() -> None:
    asr = Transcriber.from_hparams("pretrained/an4-small", device="cpu")
    wavs = [load_audio(REAL / "wav/an4test_clstk/fcaw" / f"{name}.flac") for name in NAMES]
    alone = [transcript.text for transcript in asr.transcribe(wavs)]
    joined = torch.cat([part for wav in wavs for part in (noise(1, -60), wav)] + [noise(1, -60)])
    found = list(listen(asr, in_pieces(joined, 1)))
    assert len(finals(found)) == len(alone)
    texts = [heard.transcript.text for heard in finals(found)]
    assert sum(word_errors(one, other).errors for one, other in zip(alone, texts, strict=True)) <= 2
    ends = np.cumsum([RATE + len(wav) for wav in wavs]) / RATE
    for heard, end, wav in zip(finals(found), ends, wavs, strict=True):
        assert heard.speech_ended
        assert all(end - len(wav) / RATE <= word.start < word.end <= end for word in heard.transcript.words)
    assert len(found) - len(alone) > 5
