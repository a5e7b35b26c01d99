"""Streaming: the same words as of the whole, whatever the pieces; what is called stable stays."""

from __future__ import annotations

import math
import os
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from toolkit.dataio.audio import load_audio
from toolkit.decoders.attention import AttentionSearcher
from toolkit.decoders.ctc import CTCGreedySearcher, CTCPrefixSearcher
from toolkit.decoders.hypothesis import Hypothesis
from toolkit.errors import AudioError, ModelError
from toolkit.inference import timing
from toolkit.inference.streaming import PartialTranscript, StreamingASR
from toolkit.inference.transcript import Transcript
from toolkit.models.chunks import Context

REAL = Path(os.environ.get("ASR_DATA", Path(__file__).parents[3] / "shared/data")) / "an4"
CHUNK = 8 * 4 * 160  # samples


@pytest.fixture
def asr(streaming_folder: Path) -> StreamingASR:
    return StreamingASR.from_hparams(streaming_folder, device="cpu")


def babble(seconds: float, seed: int = 0) -> Tensor:
    """Noise whose spectrum changes five times a second."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for _ in range(math.ceil(5 * seconds)):
        kernel = torch.randn(1, 1, 9, generator=generator)
        parts.append(nn.functional.conv1d(torch.randn(1, 1, 3208, generator=generator), kernel)[0, 0])
    return 0.1 * torch.cat(parts)[: round(16000 * seconds)]


def in_pieces(wav: Tensor, seed: int, sizes: tuple[int, ...] = (1, 3, 160, 1000, 7000, 20000)) -> list[Tensor]:
    """The waveform cut at random; mostly into small pieces first."""
    draw, pieces, start = random.Random(seed), [], 0
    while start < len(wav):
        pieces.append(wav[start : start + draw.choice(sizes)])
        start += len(pieces[-1])
    return pieces


def streamed(asr: StreamingASR, pieces: list[Tensor]) -> tuple[list[PartialTranscript], Transcript]:
    stream = asr.stream()
    return [stream.feed(piece) for piece in pieces], stream.finish()


def assert_alike(found: Transcript, whole: Transcript) -> None:
    """The same words at the same times, and the same scores but for rounding."""
    assert (found.text, found.tokens, found.duration) == (whole.text, whole.tokens, whole.duration)
    assert [(w.text, w.start, w.end) for w in found.words] == [(w.text, w.start, w.end) for w in whole.words]
    assert found.score == pytest.approx(whole.score, rel=1e-4)


@pytest.mark.parametrize("search", [CTCGreedySearcher(), CTCPrefixSearcher(), CTCPrefixSearcher(align=True, topk=3)])
@pytest.mark.parametrize("seconds", [0.001, 0.32, 0.33, 3.0])
def test_any_pieces_give_what_the_whole_gives(asr: StreamingASR, search: object, seconds: float) -> None:
    asr.search, wav = search, babble(seconds)
    (whole,) = asr.transcribe([wav])
    assert seconds < 1 or len(whole.tokens) > 2
    for seed in range(3):
        assert_alike(streamed(asr, in_pieces(wav, seed))[1], whole)


def test_one_sample_at_a_time(asr: StreamingASR) -> None:
    wav = babble(0.7)
    partials, final = streamed(asr, list(wav.split(1)))
    assert_alike(final, asr.transcribe([wav])[0])
    changes = [place for place, (before, now) in enumerate(pairwise(partials), start=1) if before != now]
    assert changes == [CHUNK - 1, 2 * CHUNK - 1]  # as soon as a chunk is complete


def test_chunks_can_be_others_from_the_beginning(streaming_folder: Path) -> None:
    asr = StreamingASR.from_hparams(streaming_folder, overrides={"chunks": {"frames": 5}}, device="cpu")
    assert asr.context == Context(5, 2)
    assert asr.stream().feed(torch.zeros(2 * CHUNK)).duration == 0.6


@pytest.mark.parametrize("context", [Context(1, 3), Context(20, 1), Context(5, None)])
def test_other_chunks_than_those_of_testing(asr: StreamingASR, context: Context) -> None:
    asr.context, wav = context, babble(2.3)
    assert_alike(streamed(asr, in_pieces(wav, 1))[1], asr.transcribe([wav])[0])


def test_frames_are_those_of_the_whole_file(asr: StreamingASR) -> None:
    wav = babble(4.0)
    with torch.inference_mode():
        encoded, _ = asr.model.encode(wav[None], torch.tensor([len(wav)]))
        features, encoder = asr.model.features.stream(), asr.model.encoder.stream()
        parts = [encoder.feed(features.feed(chunk[None])) for chunk in wav.split(CHUNK)]
    torch.testing.assert_close(torch.cat(parts, dim=1), encoded, atol=1e-4, rtol=0)


def test_streams_of_one_model_do_not_know_of_each_other(asr: StreamingASR) -> None:
    wavs = [babble(2.0, seed) for seed in (1, 2, 3)]
    streams = [asr.stream() for _ in wavs]
    for pieces in zip(*(wav.split(1234) for wav in wavs), strict=True):
        for stream, piece in zip(streams, pieces, strict=True):
            stream.feed(piece)
    found = [stream.finish() for stream in streams]
    assert len({one.text for one in found}) == 3
    for one, whole in zip(found, asr.transcribe(wavs), strict=True):
        assert_alike(one, whole)


def test_a_partial_transcript_comes_with_its_chunk_and_what_is_stable_stays(asr: StreamingASR) -> None:
    partials, final = streamed(asr, list(babble(6.4).split(CHUNK // 2)))
    assert partials[0] == PartialTranscript()
    assert [one.duration for one in partials[1::2]] == pytest.approx([0.32 * count for count in range(1, 21)])
    later = [one.text for one in partials[1:]] + [final.text]
    for place, one in enumerate(partials):
        assert all(text.startswith(one.text[: one.stable]) for text in later[place:])
    assert 0 < partials[-1].stable <= len(partials[-1].text)
    assert len({one.text for one in partials}) > 10


def test_long_audio_is_heard_as_a_stream_and_not_in_windows(asr: StreamingASR, monkeypatch: pytest.MonkeyPatch) -> None:
    wav = babble(6.0)
    monkeypatch.setattr("toolkit.inference.streaming.LINE_PAUSE_S", math.inf)
    (whole,) = asr.transcribe([wav])
    asr.long_audio = replace(asr.long_audio, whole_s=2.0)
    assert_alike(asr.transcribe([wav])[0], whole)


def test_long_audio_is_put_away_in_pauses(asr: StreamingASR, monkeypatch: pytest.MonkeyPatch) -> None:
    letter, heard, aligned = asr.tokenizer.pieces().index("A"), [], []

    def ctc_log_probs(encoded: Tensor) -> Tensor:
        """An A in the fourth frame of every tenth chunk, of 0.32 s."""
        logits = torch.zeros(*encoded.shape[:2], len(asr.tokenizer)).index_fill(2, torch.tensor([0]), 9.0)
        if len(heard) % 10 == 1:
            logits[0, 3, [0, letter]] = logits[0, 3, [letter, 0]]
        heard.append(len(logits))
        return logits.log_softmax(dim=-1)

    def with_frames(best: Hypothesis, log_probs: Tensor) -> Hypothesis:
        aligned.append(len(log_probs))
        return timing.with_frames(best, log_probs)

    asr.model.ctc_log_probs = ctc_log_probs
    monkeypatch.setattr("toolkit.inference.streaming.with_frames", with_frames)
    found = asr.transcribe(babble(64.0))
    assert found.text == " ".join("A" * 20)
    assert [word.start for word in found.words] == pytest.approx([0.44 + 3.2 * count for count in range(20)])
    assert found.duration == 64.0
    assert max(aligned) <= 10 * 8  # not 1600 frames


def test_a_line_ends_and_the_stream_goes_on(asr: StreamingASR) -> None:
    one, other = babble(3.2, seed=1), babble(2.5, seed=2)
    stream, other_stream = asr.stream(), asr.stream()
    stream.feed(one)
    first = stream.end_line()
    assert_alike(first, asr.transcribe([one])[0])
    assert stream.words() == ()
    assert stream.feed(other).text == other_stream.feed(other).text
    second, alone = stream.finish(), other_stream.finish()
    assert (second.text, second.duration) == (alone.text, 2.5)
    assert [word.start for word in second.words] == pytest.approx([3.2 + word.start for word in alone.words])


def test_an_array_that_is_filled_again_and_again(asr: StreamingASR) -> None:
    wav, stream, buffer = babble(2.0), asr.stream(), np.empty(500, np.float32)
    for piece in wav.split(500):
        buffer[:] = piece
        stream.feed(buffer)
    assert_alike(stream.finish(), asr.transcribe([wav])[0])


def test_words_have_times_while_they_are_spoken(asr: StreamingASR) -> None:
    asr.search, stream, wav = CTCGreedySearcher(), asr.stream(), babble(3.2, seed=1)
    assert stream.words() == ()
    for chunk in wav.split(CHUNK):
        partial, words = stream.feed(chunk), stream.words()
        assert " ".join(word.text for word in words) == partial.text
        times = [time for word in words for time in (word.start, word.end)]
        assert times == sorted(times)
        assert max(times, default=0.0) <= partial.duration
    assert len(words) > 1
    assert stream.finish().words == words


def test_a_pause_is_as_long_as_nothing_is_heard_after_a_word(asr: StreamingASR) -> None:
    blank = torch.tensor([9.0, 0, 0, 0, 0, 0])[: len(asr.tokenizer)]
    letter = asr.tokenizer.pieces().index("A")
    says_a = torch.zeros(len(asr.tokenizer)).index_fill(0, torch.tensor([letter]), 9.0)

    def ctc_log_probs(encoded: Tensor) -> Tensor:
        """An A in the fourth frame of the second chunk, and blanks."""
        asr.heard = getattr(asr, "heard", 0) + 1
        logits = blank.expand(*encoded.shape[:2], -1).clone()
        if asr.heard == 2:
            logits[0, 3] = says_a
        return logits.log_softmax(dim=-1)

    asr.model.ctc_log_probs = ctc_log_probs
    stream = asr.stream()
    pauses = [stream.feed(torch.full((CHUNK,), 0.1)).pause for _ in range(4)]
    assert pauses == pytest.approx([0.0, 0.16, 0.48, 0.8])
    assert stream.finish().text == "A"


def test_what_is_no_audio_is_refused(asr: StreamingASR) -> None:
    stream = asr.stream()
    stream.feed(np.zeros(100, np.float32))
    with pytest.raises(AudioError, match="sample 103 of the stream is nan: expected numbers only"):
        stream.feed(torch.tensor([0.0, 0.1, 0.2, math.nan]))
    with pytest.raises(ModelError, match=r"floating-point samples of shape \(S,\), got torch.int16 of shape \(5,\)"):
        stream.feed(np.zeros(5, np.int16))
    with pytest.raises(ModelError, match=r"got torch.float32 of shape \(2, 5\); average the channels"):
        stream.feed(torch.zeros(2, 5))
    assert stream.finish().duration == 100 / 16000  # what was refused is as if it had not come


def test_no_audio_is_no_words_and_a_finished_stream_is_over(asr: StreamingASR) -> None:
    stream = asr.stream()
    assert stream.feed(torch.zeros(0)) == PartialTranscript()
    assert stream.finish() == Transcript("")
    stream = asr.stream()
    assert stream.feed(torch.zeros(16000)).text == ""  # whatever the model hears in digital silence
    assert stream.finish() == Transcript("", duration=1.0)
    for late in (stream.finish, lambda: stream.feed(torch.zeros(5))):
        with pytest.raises(ModelError, match="this stream is finished: begin another"):
            late()


def test_a_model_that_needs_whole_utterances_is_refused(run_folder: Path, asr: StreamingASR) -> None:
    with pytest.raises(ModelError, match="this model cannot stream: it needs whole utterances for its features"):
        StreamingASR.from_hparams(run_folder, device="cpu")
    with pytest.raises(ModelError, match="for its search, AttentionSearcher"):
        StreamingASR(asr.model, asr.tokenizer, AttentionSearcher(), sample_rate=16000)
    asr.context = Context(None, None)
    with pytest.raises(ModelError, match="chunks: frames: give a number to stream with"):
        asr.stream()


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the recordings of AN4")
def test_real_speech_in_pieces_is_what_the_file_gives(asr: StreamingASR) -> None:
    files = sorted(REAL.glob("wav/an4test_clstk/*/*.flac"))[::13]
    assert len(files) == 10
    for place, whole in enumerate(asr.transcribe_files(files)):
        assert_alike(streamed(asr, in_pieces(load_audio(files[place]), place))[1], whole)
