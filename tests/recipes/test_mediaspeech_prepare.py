"""MediaSpeech's preparation on a miniature corpus."""

from __future__ import annotations

import tarfile
from pathlib import Path
from types import ModuleType

import pytest
from miniature import load_prepare, read_cuts, sing, spoken

from toolkit.dataio.spelling import Spelling
from toolkit.errors import DataError


@pytest.fixture(scope="module")
def mediaspeech() -> ModuleType:
    """The recipe's script."""
    return load_prepare("MediaSpeech")


def build(folder: Path, names: list[str], words: str = "Türkiye'nin ışığı!") -> Path:
    for name in names:
        sing(folder / "TR" / f"{name}.flac", 0.1)
        (folder / "TR" / f"{name}.txt").write_text(f"{words}\n", encoding="utf-8")
    return folder


def test_parts_of_a_video_are_on_one_side(mediaspeech: ModuleType, tmp_path: Path) -> None:
    names = [f"video{video}_{part}" for video in "abcdefghijklmnopqrstuvwxyz" for part in (1, 12, "3-4.5")]
    build(tmp_path / "ms", names)
    mediaspeech.main([str(tmp_path / "ms"), str(tmp_path / "m"), "--language", "tr"])
    heard = {split: spoken(tmp_path / f"m/{split}.json") for split in ("train", "valid", "test")}
    assert sorted(name for split in heard.values() for name in split) == sorted(names)
    assert {len(split) for split in heard.values()} == {60, 9}
    videos = [{name.split("_")[0] for name in split} for split in heard.values()]
    assert sum(map(len, videos)) == 26
    assert set(heard["train"].values()) == {"türkiye'nin ışığı"}
    assert {cut.supervisions[0].language for cut in read_cuts(tmp_path / "m/test.json")} == {"tr"}


def test_names_that_tell_no_video(mediaspeech: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path / "ms", [f"audio_{number:04d}" for number in range(20)])
    mediaspeech.main([str(tmp_path / "ms"), str(tmp_path / "m"), "--language", "tr"])
    assert "20 sources of 20 recordings" in capsys.readouterr().out
    assert 2 <= len(spoken(tmp_path / "m/test.json")) <= 3


def test_a_language_is_fetched(mediaspeech: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path / "ms", [f"audio_{number}" for number in range(20)])
    (tmp_path / "server").mkdir()
    with tarfile.open(tmp_path / "server/TR.tgz", "w:gz") as tar:
        tar.add(tmp_path / "ms/TR", "TR")
    monkeypatch.setattr(mediaspeech, "URL", (tmp_path / "server").as_uri())
    mediaspeech.main([str(tmp_path / "data/ms"), str(tmp_path / "m"), "--language", "tr", "--download"])
    assert sum(len(spoken(tmp_path / f"m/{split}.json")) for split in ("train", "valid", "test")) == 20


def test_what_is_left_out(mediaspeech: ModuleType, tmp_path: Path) -> None:
    folder = build(tmp_path / "ms", [f"audio_{number}" for number in range(20)]) / "TR"
    (folder / "audio_0.txt").write_text("saat 9:30")
    (folder / "audio_1.txt").write_text("...")
    (folder / "audio_2.txt").write_text("\n")
    (folder / "audio_3.txt").unlink()
    (folder / "audio_4.flac").unlink()
    (folder / "audio_5.flac").write_bytes(b"fLaC, and no more")
    dropped = mediaspeech.prepare_mediaspeech(tmp_path / "ms", tmp_path / "m", Spelling("tr"))
    assert {reason: len(cases) for reason, cases in dropped.reasons.items()} == {
        "without a transcript": 1,
        "without audio": 1,
        "with an empty transcript": 2,
        "without a spelling": 1,
        "with unreadable audio": 1,
    }


def test_a_wrong_folder_says_what_was_looked_for(mediaspeech: ModuleType, tmp_path: Path) -> None:
    build(tmp_path, ["a_1"])
    with pytest.raises(DataError, match="is not MediaSpeech: looked for FR; it holds: TR"):
        mediaspeech.main([str(tmp_path), str(tmp_path / "m"), "--language", "fr"])
