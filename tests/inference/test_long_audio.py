"""Long audio: in constant memory, every word once, whether somebody pauses or nobody does."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from test_transcriber import RATE, TONES, ToneModel, play
from torch import Tensor

from toolkit.dataio.audio import load_audio
from toolkit.decoders.ctc import CTCGreedySearcher, CTCPrefixSearcher
from toolkit.errors import AudioError, ConfigError, DataError
from toolkit.inference.long_audio import DETECTORS, LongAudio, batches_of, take
from toolkit.inference.segments import Segment, pause_after, quietest, segments
from toolkit.inference.speech import Levels
from toolkit.inference.transcriber import Transcriber
from toolkit.inference.windows import Merger, Output, laid_out, seam
from toolkit.metrics.error_rate import word_errors
from toolkit.tokenizer import Tokenizer

ROOT = Path(__file__).parents[2]
AN4 = Path(os.environ.get("ASR_DATA", ROOT.parent / "shared/data")) / "an4"

SHORT = LongAudio(whole_s=4.0, window_s=3.0, overlap_s=1.2, segment_s=3.0, pause_s=0.6)


class WholeSearch:
    """A greedy search that cannot be fed in parts, as those of attention and transducers."""

    def __call__(self, *arguments: object) -> list:
        return CTCGreedySearcher()(*arguments)


@pytest.fixture(params=["windows", "beam", "segments"])
def transcriber(tokenizer: Tokenizer, request: pytest.FixtureRequest) -> Transcriber:
    search = {"windows": CTCGreedySearcher(), "beam": CTCPrefixSearcher(), "segments": WholeSearch()}[request.param]
    made = Transcriber(ToneModel(tokenizer), tokenizer, search, sample_rate=RATE, device="cpu")
    made.long_audio = SHORT
    return made


def letters(count: int, seed: int = 1) -> str:
    return "".join(np.random.default_rng(seed).choice(list(TONES), count))


def speech(text: str, pause: float = 1.0) -> np.ndarray:
    """Tones with short silences between them, and long ones between words."""
    silence = np.zeros(round(pause * RATE), np.float32)
    return np.concatenate([part for word in text.split() for part in (play(word), silence)])


def starts_of(text: str) -> list[float]:
    """When the words of `speech` begin: a tone and a silence take 0.6 s."""
    lengths = [0.3 + 0.6 * len(word) + 1.0 for word in text.split()]
    return [round(0.3 + sum(lengths[:place]), 1) for place in range(len(lengths))]


# Through the Transcriber


def test_a_text_with_pauses_is_heard_whole(transcriber: Transcriber) -> None:
    text = "ABC CAB B AC BCAB CC A BACBA"
    found = transcriber.transcribe(speech(text))
    assert found.text.replace(" ", "") == text.replace(" ", "")
    assert [word.text for word in found.words] == found.text.split()
    starts = [word.start for word in found.words]
    assert all(min(abs(start - found) for found in starts) < 0.1 for start in starts_of(text))  # a frame of the model
    assert found.duration == pytest.approx(len(speech(text)) / RATE)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_or_doubled_where_nobody_pauses(transcriber: Transcriber, seed: int) -> None:
    text = letters(60, seed)
    found = transcriber.transcribe(play(text))
    assert found.text.replace(" ", "") == text
    assert "".join(word.text for word in found.words) == text


def test_the_same_from_a_file_in_a_list_and_at_any_batch_size(transcriber: Transcriber, tmp_path: Path) -> None:
    wav = speech("ABC CAB B AC BCAB CC A BACBA " + letters(20))
    soundfile.write(tmp_path / "long.wav", wav, RATE, subtype="FLOAT")
    alone = transcriber.transcribe(wav)
    for seconds in (0.1, 7.0, 1000.0):
        short, found, _ = transcriber.transcribe([play("CAB"), wav, play("A")], batch_seconds=seconds)
        assert (short.text, found) == ("CAB", alone)
    (filed,) = transcriber.transcribe_files([tmp_path / "long.wav"])
    assert dataclasses.replace(filed, file="") == alone


def test_short_audio_stays_whole(transcriber: Transcriber, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.inference.recognition.segments", lambda *_, **__: pytest.fail("was cut"))
    assert transcriber.transcribe(play("ABCAB")[: 4 * RATE]).text == "ABCAB"


def test_silence_has_no_words(transcriber: Transcriber) -> None:
    noise = 1e-5 * torch.randn(20 * RATE, generator=torch.Generator().manual_seed(0))
    for silent in (torch.zeros(RATE), torch.zeros(20 * RATE), noise):
        found = transcriber.transcribe(silent)
        assert (found.text, found.words, found.duration) == ("", (), len(silent) / RATE)


@pytest.mark.parametrize("search", [CTCGreedySearcher(), WholeSearch()])
def test_five_hours_are_heard_in_the_memory_of_a_minute(
    tokenizer: Tokenizer, search: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    minute, held = torch.from_numpy(np.resize(speech("ABC B CAB"), 60 * RATE)), []
    pad = torch.cat

    def recording() -> Iterator[Tensor]:
        for _ in range(5 * 60):
            yield minute

    def cat(parts: list[Tensor], *arguments: int) -> Tensor:
        joined = pad(parts, *arguments)
        held.append(joined.numel())
        return joined

    made = Transcriber(ToneModel(tokenizer), tokenizer, search, sample_rate=RATE, device="cpu")
    one = made.transcribe(minute.numpy())
    monkeypatch.setattr(
        "toolkit.dataio.audio.decode_blocks", lambda _: ((part.numpy()[None], RATE) for part in recording())
    )
    monkeypatch.setattr(torch, "cat", cat)
    found = made.transcribe("five_hours.wav")
    assert found.duration == 5 * 3600
    assert len(found.words) == pytest.approx(300 * len(one.words), rel=0.02)
    assert max(held) <= 3 * 60 * RATE


def test_a_long_file_that_is_cut_off_is_reported_and_the_others_transcribed(
    transcriber: Transcriber, tmp_path: Path
) -> None:
    for name, text in (("a", "AB"), ("b", letters(40)), ("c", "BC")):
        soundfile.write(tmp_path / f"{name}.flac", play(text), RATE)
    content = (tmp_path / "b.flac").read_bytes()
    (tmp_path / "b.flac").write_bytes(content[: len(content) * 3 // 4])
    errors: list[AudioError] = []
    files = [tmp_path / f"{name}.flac" for name in "abc"]
    assert [one.text for one in transcriber.transcribe_files(files, on_error=errors.append)] == ["AB", "BC"]
    assert [str(error).startswith(f"{tmp_path}/b.flac: ") for error in errors] == [True]


# Alignment of a known text


@pytest.mark.parametrize("text", ["ABCAB", "ABC CAB B AC BCAB CC A BACBA"])
def test_a_known_text_has_the_times_of_its_words(transcriber: Transcriber, text: str) -> None:
    wav = speech(text)
    found = transcriber.align(wav, text)
    assert [word.text for word in found.words] == text.split()
    assert [word.start for word in found.words] == pytest.approx(starts_of(text))
    assert (found.text, found.duration) == (text, pytest.approx(len(wav) / RATE))


def test_words_stand_as_they_are_written(transcriber: Transcriber) -> None:
    found = transcriber.align(speech("ABC CA"), "  abc,\n“Ca!” ")
    assert [word.text for word in found.words] == ["abc,", "“Ca!”"]
    assert found.words[1].start == pytest.approx(3.4)
    assert found.text == "abc, “Ca!”"


@pytest.mark.parametrize(
    ("text", "said"),
    [("A 42", "'42': the model's tokenizer has none"), (" ", "no words"), ("ABC" * 20, r"\d+ tokens of the text")],
)
def test_a_text_that_cannot_be_aligned(transcriber: Transcriber, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        transcriber.align(play("AB"), text)


def test_a_text_that_the_audio_hardly_says_is_warned_of(
    transcriber: Transcriber, caplog: pytest.LogCaptureFixture
) -> None:
    transcriber.align(play("ABCAB"), "ABCAB")
    assert not caplog.records
    for wav in (torch.zeros(2 * RATE), play("CCACC")):
        caplog.clear()
        transcriber.align(wav, "BAB")
        assert caplog.messages == ["waveform: hardly says this text; is it the text of this audio?"]


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_batches_of_no_seconds_are_refused(transcriber: Transcriber, seconds: float) -> None:
    with pytest.raises(ConfigError, match="batch_seconds: expected seconds"):
        transcriber.transcribe(play("A"), batch_seconds=seconds)


# Segments and windows


def merged(outputs: list[Output], longest: int) -> list[tuple[int, Tensor]]:
    merger = Merger(longest)
    return [part for output in outputs for part in merger.feed(output)] + merger.end()


def spoken(blocks: Iterable[Tensor], levels: Levels, **options: float) -> list[Segment]:
    """Segments in which somebody speaks."""
    return [one for one in segments(blocks, levels, **options) if len(one.wav)]


def test_segments_end_in_pauses_and_leave_silence_out() -> None:
    wav = torch.from_numpy(speech("AB C " + letters(12), pause=2.0))
    found = spoken(wav.split(7777), Levels(RATE, 640), longest_s=30.0, pause_s=0.6)
    assert len(found) == 3
    for segment in found:
        assert segment.start % 640 == 0
        assert not segment.continues
        torch.testing.assert_close(segment.wav, wav[segment.start :][: len(segment.wav)])
    heard = torch.zeros(len(wav))
    for segment in found:
        heard[segment.start :][: len(segment.wav)] = 1
    assert wav[heard == 0].abs().max() == 0
    assert heard.mean() < 0.7


def test_who_asks_for_segments_of_silence_is_answered_before_its_end() -> None:
    blocks = (torch.zeros(RATE) for _ in range(100))
    quiet = segments(blocks, Levels(RATE, 640), longest_s=20.0, pause_s=0.3)
    first = next(quiet)
    assert (len(first.wav), first.start) == (0, pytest.approx(20 * RATE, rel=0.05))
    assert len(list(blocks)) >= 70


def test_segments_are_the_same_however_the_audio_comes() -> None:
    wav = torch.from_numpy(speech("AB C " + letters(12) + " CAB B ABCA", pause=0.7))
    options = {"longest_s": 3.0, "pause_s": 0.4}
    whole, *others = (spoken(wav.split(size), Levels(RATE, 640), **options) for size in (10**9, 777, 30_000))
    for found in others:
        assert [(one.start, len(one.wav)) for one in found] == [(one.start, len(one.wav)) for one in whole]


def test_quiet_is_kept_around_speech_on_both_sides_of_a_short_pause() -> None:
    wav = torch.from_numpy(speech("AB CA B", pause=0.3))  # with the silence of the tones, pauses of 0.6 and 0.9 s
    found = spoken([wav], Levels(RATE, 640), longest_s=30.0, pause_s=0.7)
    sounds = np.flatnonzero(wav.numpy()) / RATE
    for segment in found:
        start, end = segment.start / RATE, (segment.start + len(segment.wav)) / RATE
        inside = sounds[(sounds > start) & (sounds < end)]
        assert 0.2 <= inside[0] - start <= 0.4
        assert 0.2 <= end - inside[-1] <= 0.4
    assert len(found) == 3


@pytest.mark.parametrize("click", [0.005, 0.02])
def test_a_click_in_a_pause_is_no_speech(click: float) -> None:
    wav = torch.from_numpy(speech("AB CA", pause=0.5))
    middle, count = round((0.3 + 2 * 0.6 + 0.4) * RATE), round(click * RATE)
    wav[middle : middle + count] = 0.5
    found = spoken([wav], Levels(RATE, 640), longest_s=30.0, pause_s=0.7)
    assert len(found) == 2


@pytest.mark.parametrize("overlap", [0.0, 1.0])
def test_without_pauses_segments_cover_everything(overlap: float) -> None:
    wav = torch.from_numpy(play(letters(50)))
    options = {"longest_s": 4.0, "pause_s": 0.6, "overlap_s": overlap}
    found = spoken(wav.split(5000), Levels(RATE, 320), **options)
    assert max(len(segment.wav) for segment in found) <= 4 * RATE
    end = found[0].start
    for segment in found:
        assert segment.continues == (overlap > 0 and segment is not found[0])
        if segment.continues:
            assert end - segment.start == overlap * RATE
        assert not wav[end : segment.start].any()  # only silence is left out
        end = segment.start + len(segment.wav)
    assert end >= len(wav) - 0.3 * RATE


def test_a_pause_is_found_where_it_is_certain() -> None:
    loud = np.array([-1, -1, 1, 1, -1, -1, -1, -1, 1, -1], float)
    assert pause_after(loud, 3) == 4
    assert pause_after(loud[:6], 3) is None  # it may go on
    assert pause_after(loud, 1) == 1  # quiet at the beginning is a part of its own
    assert pause_after(-np.ones(7), 3) == 4


def test_the_quietest_place_is_amid_quiet() -> None:
    loud = np.full(100, 5.0)
    loud[[10, 60]], loud[80:84] = -9.0, -8.9  # in the first half; for one frame; for four
    assert quietest(loud) in (81, 82)


def test_windows_change_where_both_are_surest_of_a_blank() -> None:
    one, other = torch.full((8, 2), -3.0), torch.full((8, 2), -3.0)
    one[3:6, 0], other[4:7, 0] = -0.1, -0.1
    assert seam(one, other) in (4, 5)
    assert seam(one[:3], other[:3]) == 1


def test_merged_windows_are_the_whole() -> None:
    torch.manual_seed(4)
    whole = torch.randn(50, 3).log_softmax(-1)
    cuts = [(0, 20), (12, 32), (24, 44), (36, 50)]
    outputs = [Output(first + 7, whole[first:last], first > 0) for first, last in cuts]
    ((start, found),) = merged(outputs, 100)
    assert start == 7
    torch.testing.assert_close(found, whole)
    parts = merged(outputs, 10)
    assert [start for start, _ in parts] == [7, *(7 + np.cumsum([len(part) for _, part in parts[:-1]])).tolist()]
    torch.testing.assert_close(torch.cat([part for _, part in parts]), whole)
    laid = laid_out(parts, 60, 3)
    torch.testing.assert_close(laid[7:57], whole)
    assert laid[:7].argmax(1).tolist() == [0] * 7


def test_taking_stops_at_the_limit() -> None:
    wav, rest = take(iter([torch.ones(3), torch.ones(3)]), 6)
    assert (len(wav), rest) == (6, None)
    wav, rest = take(iter([torch.ones(3), torch.ones(4), torch.ones(5)]), 6)
    assert (len(wav), [len(block) for block in rest]) == (7, [5])
    assert len(take(iter([]), 6)[0]) == 0


def resident_megabytes() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that keeps what is freed")
def test_memory_that_was_freed_is_given_back_while_segments_come() -> None:
    sizes = [torch.ones(size) for _ in range(2000) for size in (20_000, 10)]  # 80 kB, and what lives on behind it
    kept, before = sizes[1::2], resident_megabytes()
    del sizes
    found = (Segment(place, torch.ones(100), continues=False) for place in range(50))
    assert sum(len(batch) for batch in batches_of(found, 100)) == 50
    assert len(kept) == 2000
    assert resident_megabytes() < before - 100


@pytest.mark.skipif(not AN4.is_dir(), reason="needs the recordings of AN4")
@pytest.mark.parametrize("detector", ["energy", "silero"])
def test_utterances_are_heard_joined_as_they_are_alone(detector: str) -> None:
    if detector == "silero":
        pytest.importorskip("silero_vad")
    asr = Transcriber.from_hparams(ROOT / "pretrained/an4-small", device="cpu")
    asr.long_audio = LongAudio(speech=DETECTORS[detector])
    files = sorted(AN4.glob("wav/an4test_clstk/*/*.flac"))[::5]
    wavs = [load_audio(file) for file in files]
    alone = " ".join(found.text for found in asr.transcribe(wavs))
    joined = asr.transcribe(torch.cat(wavs)).text
    assert len(alone.split()) > 140
    assert word_errors(alone, joined).errors <= 8  # 19 where segments end after 0.6 s
