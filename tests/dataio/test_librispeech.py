"""What is wrong with a copy of LibriSpeech is counted or named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from miniature import read_cuts

from toolkit.dataio.librispeech import read_part, write_parts
from toolkit.dataio.prepare import Dropped
from toolkit.errors import DataError

CHAPTER = "dev-clean/84/121123"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two utterances of a chapter."""
    chapter = tmp_path / CHAPTER
    chapter.mkdir(parents=True)
    for name in ("84-121123-0000", "84-121123-0001"):
        soundfile.write(chapter / f"{name}.flac", np.sin(np.arange(3000) / 9) / 2, 16000)
    (chapter / "84-121123.trans.txt").write_text("84-121123-0000 GO ON\n84-121123-0001 DON'T\n")
    return tmp_path


def test_a_copy_in_order(corpus: Path) -> None:
    dropped = Dropped()
    utterances = read_part(corpus / "dev-clean", dropped)
    assert [(one.name, one.words, one.speaker) for one in utterances] == [
        ("84-121123-0000", "GO ON", "84"),
        ("84-121123-0001", "DON'T", "84"),
    ]
    assert len(dropped) == 0


def test_what_is_missing_or_damaged_is_counted(corpus: Path, tmp_path: Path) -> None:
    chapter = corpus / CHAPTER
    whole = (chapter / "84-121123-0001.flac").read_bytes()
    for name, content in {"0001": whole[: len(whole) // 2], "0002": b"no audio", "0004": whole}.items():
        (chapter / f"84-121123-{name}.flac").write_bytes(content)
    with (chapter / "84-121123.trans.txt").open("a") as lines:
        lines.write("84-121123-0002 NOISE\n84-121123-0003 GONE\n")
    dropped = write_parts(corpus, tmp_path / "manifests", {"clean": ["dev-clean"]})
    assert [cut.id for cut in read_cuts(tmp_path / "manifests/clean.json")] == ["84-121123-0000"]
    cases = {reason: " ".join(cases) for reason, cases in dropped.reasons.items()}
    assert "84-121123-0001" in cases["with unreadable audio"]
    assert "84-121123-0002" in cases["with unreadable audio"]
    assert cases["without audio"] == "84-121123-0003"
    assert cases["without a transcript"].endswith("84-121123-0004.flac")


def test_a_line_without_words_is_named(corpus: Path) -> None:
    with (corpus / CHAPTER / "84-121123.trans.txt").open("a") as lines:
        lines.write("84-121123-0002\n")
    with pytest.raises(DataError, match=r"84-121123.trans.txt: line 3 is not 'UTTERANCE WORDS': '84-121123-0002'"):
        list(read_part(corpus / "dev-clean", Dropped()))


def test_nothing_is_written_of_an_empty_part(corpus: Path, tmp_path: Path) -> None:
    (corpus / "dev-other").mkdir()
    with pytest.raises(DataError, match="no utterance is left for other"):
        write_parts(corpus, tmp_path / "manifests", {"clean": ["dev-clean"], "other": ["dev-other"]})
    assert list((tmp_path / "manifests").glob("*")) == []
