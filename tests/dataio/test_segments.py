"""Manifests of parts of long recordings: what is written is heard at its place, and what is none is counted."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from miniature import read_cuts, sing

from toolkit.dataio.containers import AudioInfo
from toolkit.dataio.cut_audio import load_cut
from toolkit.dataio.prepare import AHEAD, Dropped
from toolkit.dataio.segments import Segment, write_segments
from toolkit.dataio.transcripts import read_transcripts
from toolkit.errors import DataError, ManifestError

RATE, SECONDS = 16000, 8.0


def segments_of(audio: Path, *ends: tuple[float, float]) -> Iterator[Segment]:
    for number, (start, end) in enumerate(ends):
        yield Segment(f"{audio.stem}-{number}", audio, start, end - start, f" PART  {number}", "ann", "en")


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".sph", ".opus"])
def test_parts_are_heard_at_their_places(tmp_path: Path, suffix: str) -> None:
    audio = tmp_path / f"corpus/talks/talk{suffix}"
    tone = sing(audio, SECONDS)
    ends = [(0.0, 1.5), (3.21, 4.75), (6.5, 8.0)]
    dropped = Dropped()
    said = write_segments(tmp_path / "m", {"train": segments_of(audio, *ends)}, tmp_path / "corpus", dropped=dropped)
    assert (len(dropped), said) == (0, "train: 3 utterances, 0.1 min, 6 words, 1 speakers")
    cuts = read_cuts(tmp_path / "m/train.json")
    for cut, (start, end) in zip(cuts, ends, strict=True):
        wanted = tone[round(start * RATE) : round(end * RATE)]
        heard = load_cut(cut).numpy()
        assert len(heard) == len(wanted)
        # A coder's noise is far below the tone, which a hundredth of a second later has another phase.
        assert np.abs(heard - wanted).mean() < 0.02
    assert [cut.id for cut in cuts] == ["talk-0", "talk-1", "talk-2"]
    spoken = [cut.supervisions[0] for cut in cuts]
    assert {(one.text, one.speaker, one.language) for one in spoken} == {(f"PART {n}", "ann", "en") for n in range(3)}
    assert (tmp_path / "m/lm_train.txt").read_text() == "PART 0\nPART 1\nPART 2\n"


def test_a_corpus_moves_without_its_manifests(tmp_path: Path) -> None:
    sing(tmp_path / "corpus/talk.wav", SECONDS)
    audio = tmp_path / "corpus/talk.wav"
    write_segments(tmp_path / "m", {"test": segments_of(audio, (1.0, 2.0))}, tmp_path / "corpus", dropped=Dropped())
    assert "{data_root}/talk.wav" in (tmp_path / "m/test.json").read_text()
    (tmp_path / "corpus").rename(tmp_path / "moved")
    (tmp_path / "m/data_root.txt").write_text(str(tmp_path / "moved"))
    assert load_cut(read_cuts(tmp_path / "m/test.json")[0]).shape == (RATE,)
    assert read_transcripts(tmp_path / "m/test.json")["talk-0"].audio == str(tmp_path / "moved/talk.wav")
    (tmp_path / "m/data_root.txt").unlink()
    with pytest.raises(ManifestError, match=r"test.json: line 1: needs \{data_root\}: set data_root"):
        read_cuts(tmp_path / "m/test.json")


def test_what_is_no_part_of_a_recording_is_counted(tmp_path: Path) -> None:
    sing(tmp_path / "talk.wav", SECONDS)
    (tmp_path / "torn.wav").write_bytes(b"RIFF, but no more")
    segments = [
        *segments_of(tmp_path / "talk.wav", (1.0, 2.0), (7.0, 8.04), (7.0, 8.2), (-0.5, 1.0), (2.0, 2.0)),
        *segments_of(tmp_path / "torn.wav", (0.0, 1.0)),
        Segment("silence", tmp_path / "talk.wav", 0.0, 1.0, " "),
    ]
    dropped = Dropped()
    write_segments(tmp_path / "m", {"train": segments}, tmp_path, dropped=dropped)
    # 40 ms beyond the end are the rounding of a transcriber's clock.
    names = [json.loads(line)["id"] for line in (tmp_path / "m/train.json").read_text().splitlines()]
    assert names == ["talk-0", "talk-1"]
    assert {reason: [case.split(":")[0] for case in cases] for reason, cases in dropped.reasons.items()} == {
        "that are no part of their recording": ["talk-2", "talk-3", "talk-4"],
        "with unreadable audio": [str(tmp_path / "torn.wav")],
        "with an empty transcript": ["silence"],
    }
    assert "talk-2: 1.2 s from 7.0 s on, of 8.00 s of {data_root}/talk.wav" in dropped.summary()


def test_recordings_are_opened_at_once_each_one_time_and_written_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    met = threading.Barrier(2, timeout=10)  # one alone would wait here for ever
    opened = []

    def probe(path: Path) -> AudioInfo:
        opened.append(path.name)
        if path.name in ("0.wav", "1.wav"):
            met.wait()
        return AudioInfo(RATE, 10 * RATE)

    monkeypatch.setattr("toolkit.dataio.segments.probe_audio", probe)
    recordings = [tmp_path / f"{number}.wav" for number in range(2 * AHEAD)]
    parts = [one for audio in recordings for one in segments_of(audio, (0.0, 1.0), (1.0, 2.0))]
    write_segments(tmp_path / "m", {"train": parts, "test": parts[:3]}, tmp_path, dropped=Dropped())
    assert sorted(opened) == sorted(path.name for path in recordings)
    for split, wanted in {"train": parts, "test": parts[:3]}.items():
        lines = (tmp_path / f"m/{split}.json").read_text().splitlines()
        assert [json.loads(line)["id"] for line in lines] == [one.name for one in wanted]


def test_nothing_is_written_when_a_split_is_empty_or_breaks_off(tmp_path: Path) -> None:
    sing(tmp_path / "talk.wav", SECONDS)

    def broken() -> Iterator[Segment]:
        yield from segments_of(tmp_path / "talk.wav", (0.0, 1.0))
        raise DataError("train.stm: line 2 is damaged")

    with pytest.raises(DataError, match="line 2 is damaged"):
        write_segments(tmp_path / "m", {"train": broken()}, tmp_path, dropped=Dropped())
    splits = {"train": segments_of(tmp_path / "talk.wav", (0.0, 1.0)), "valid": []}
    with pytest.raises(DataError, match="no utterance is left for valid: nothing was written"):
        write_segments(tmp_path / "m", splits, tmp_path, dropped=Dropped())
    assert list((tmp_path / "m").iterdir()) == []
