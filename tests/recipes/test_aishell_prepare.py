"""AISHELL-1's preparation on a miniature corpus, unpacked and as it arrives."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from types import ModuleType

import pytest
from miniature import load_prepare, read_cuts, sing, spoken

from toolkit.errors import DataError

SAID = {
    "train/S0002/BAC009S0002W0122": "而 对 楼市 成交 抑制 作用 最 大 的 限 购",
    "train/S0003/BAC009S0003W0121": "用 ａｐｐ 看 k 线",
    "dev/S0724/BAC009S0724W0121": "广州市 房地产 中介 协会 分析",
    "test/S0764/BAC009S0764W0121": "甚至 出现 交易 几乎 停滞 的 情况",
}


@pytest.fixture(scope="module")
def aishell() -> ModuleType:
    """The recipe's script."""
    return load_prepare("AISHELL1")


def build(folder: Path) -> Path:
    for place in SAID:
        sing(folder / f"data_aishell/wav/{place}.wav")
    lines = "".join(f"{place.split('/')[-1]} {words} \n" for place, words in SAID.items())
    transcript = folder / "data_aishell/transcript/aishell_transcript_v0.8.txt"
    transcript.parent.mkdir()
    transcript.write_text(lines, encoding="utf-8")
    return folder


def test_characters_without_spaces(aishell: ModuleType, tmp_path: Path) -> None:
    aishell.main([str(build(tmp_path / "aishell")), str(tmp_path / "m")])
    assert spoken(tmp_path / "m/train.json") == {
        "BAC009S0002W0122": "而对楼市成交抑制作用最大的限购",
        "BAC009S0003W0121": "用APP看K线",
    }
    assert spoken(tmp_path / "m/valid.json") == {"BAC009S0724W0121": "广州市房地产中介协会分析"}
    (cut,) = read_cuts(tmp_path / "m/test.json")
    assert (cut.supervisions[0].speaker, cut.num_samples) == ("S0764", 4000)
    assert (tmp_path / "m/lm_test.txt").read_text(encoding="utf-8") == "甚至出现交易几乎停滞的情况\n"


def test_what_is_dropped_is_counted(aishell: ModuleType, tmp_path: Path) -> None:
    corpus = build(tmp_path / "aishell")
    sing(corpus / "data_aishell/wav/train/S0002/BAC009S0002W0123.wav")
    (corpus / "data_aishell/wav/train/S0003/BAC009S0003W0121.wav").write_bytes(b"RIFF")
    dropped = aishell.prepare_aishell(corpus, tmp_path / "m")
    counts = {reason: len(cases) for reason, cases in dropped.reasons.items()}
    assert counts == {"without a transcript": 1, "with unreadable audio": 1}


def test_speakers_archives_are_unpacked_once(aishell: ModuleType, tmp_path: Path) -> None:
    corpus = build(tmp_path / "aishell")
    wavs = corpus / "data_aishell/wav"
    for part in ("train", "dev", "test"):
        for speaker in (wavs / part).iterdir():
            with tarfile.open(wavs / f"{speaker.name}.tar.gz", "w:gz") as tar:
                tar.add(speaker, f"./{part}/{speaker.name}")
        (wavs / part).rename(tmp_path / part)
    with pytest.raises(DataError, match=r"S0\d+.tar.gz: the speakers' archives are not unpacked; --download"):
        aishell.prepare_aishell(corpus, tmp_path / "m")
    aishell.main([str(corpus), str(tmp_path / "m"), "--download"])  # of data_aishell, which is there, nothing
    assert len(json.loads((tmp_path / "m/train.json").read_text(encoding="utf-8"))) == 2
    made = (wavs / "train/S0002").stat().st_mtime_ns
    aishell.unpack_speakers(wavs)
    assert (wavs / "train/S0002").stat().st_mtime_ns == made


def test_a_wrong_folder_says_what_was_looked_for(aishell: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "wav").mkdir()
    with pytest.raises(DataError, match=r"is not AISHELL-1: looked for data_aishell/transcript.*it holds: wav"):
        aishell.main([str(tmp_path), str(tmp_path / "m")])


def test_a_damaged_transcript_names_its_line(aishell: ModuleType, tmp_path: Path) -> None:
    corpus = build(tmp_path / "aishell")
    with (corpus / aishell.TRANSCRIPT).open("a") as lines:
        lines.write("BAC009S0002W0124\n")
    with pytest.raises(DataError, match=r"aishell_transcript_v0.8.txt: line 5 is not 'utterance WORDS'"):
        aishell.prepare_aishell(corpus, tmp_path / "m")
