"""MLS's preparation on a miniature corpus of both editions."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType

import pytest
from miniature import load_prepare, read_cuts, sing, spoken

from toolkit.dataio.cut_audio import load_cut
from toolkit.dataio.spelling import Spelling
from toolkit.errors import DataError

PARTS = {
    "train": {
        "10_20_000000": "es war einmal – ein könig",
        "10_20_000001": "der hatt' eine tochter",
        "11_21_000000": "drei mal γ",
        "12_22_000000": "und wenn sie nicht gestorben sind",
    },
    "dev": {"30_40_000000": "guten tag"},
    "test": {"50_60_000000": "lebe wohl"},
}
NINE_HOURS, ONE_HOUR = ["10_20_000001", "11_21_000000"], ["12_22_000000"]


@pytest.fixture(scope="module")
def mls() -> ModuleType:
    """The recipe's script."""
    return load_prepare("MLS")


def build(folder: Path, suffix: str) -> Path:
    """A language of MLS, in FLAC or in Opus."""
    corpus = folder / ("mls_german_opus" if suffix == ".opus" else "mls_german")
    for part, texts in PARTS.items():
        for name in texts:
            speaker, book, _ = name.split("_")
            sing(corpus / part / "audio" / speaker / book / f"{name}{suffix}")
        lines = "".join(f"{name}\t{words}\n" for name, words in texts.items())
        (corpus / part / "transcripts.txt").write_text(lines, encoding="utf-8")
    for place, names in {"9hr": NINE_HOURS, "1hr/0": [], "1hr/5": ONE_HOUR}.items():
        handles = corpus / "train/limited_supervision" / place / "handles.txt"
        handles.parent.mkdir(parents=True)
        handles.write_text("".join(f"{name}\n" for name in names))
    return folder


@pytest.mark.parametrize("suffix", [".flac", ".opus"])
def test_splits_and_subsets(mls: ModuleType, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--language", "de", *(["--opus"] if suffix == ".opus" else [])]
    mls.main([str(build(tmp_path / "mls", suffix)), str(tmp_path / "m"), *options])
    train = {
        "10_20_000000": "es war einmal ein könig",
        "10_20_000001": "der hatt eine tochter",
        "12_22_000000": "und wenn sie nicht gestorben sind",
    }
    assert spoken(tmp_path / "m/train.json") == train
    assert spoken(tmp_path / "m/valid.json") == PARTS["dev"]
    assert spoken(tmp_path / "m/test.json") == PARTS["test"]
    assert list(spoken(tmp_path / "m/train_10h.json")) == ["10_20_000001", "12_22_000000"]
    assert list(spoken(tmp_path / "m/train_1h.json")) == ["12_22_000000"]
    assert (tmp_path / "m/lm_train.txt").read_text(encoding="utf-8").splitlines() == list(train.values())
    cut = read_cuts(tmp_path / "m/train.json")[0]
    assert (cut.supervisions[0].speaker, cut.supervisions[0].language) == ("10", "de")
    assert len(load_cut(cut)) / cut.sampling_rate == pytest.approx(0.25)
    said = capsys.readouterr().out
    assert "1 without a spelling:\n    11_21_000000: drei mal γ" in said
    assert "GREEK SMALL LETTER GAMMA" in said
    assert not (tmp_path / "m/lm_books.txt").exists()


def test_books_are_picked_evenly(mls: ModuleType, tmp_path: Path) -> None:
    build(tmp_path / "mls", ".flac")
    (tmp_path / "mls/mls_lm_german").mkdir()
    lines = [f"{word} dichter" for word in ("ein", "kein", "mein", "dein", "sein", "γ", "rein")]
    (tmp_path / "mls/mls_lm_german/data.txt").write_text("\n".join(lines), encoding="utf-8")
    mls.main([str(tmp_path / "mls"), str(tmp_path / "m"), "--language", "de", "--book-sentences", "4"])
    assert (tmp_path / "m/lm_books.txt").read_text().splitlines() == [lines[0], lines[2], lines[4], lines[6]]
    mls.main([str(tmp_path / "mls"), str(tmp_path / "m"), "--language", "de"])
    assert (tmp_path / "m/lm_books.txt").read_text().splitlines() == lines[:5] + lines[6:]


def test_books_without_their_text_are_found_before_anything_is_written(mls: ModuleType, tmp_path: Path) -> None:
    (build(tmp_path / "mls", ".flac") / "mls_lm_german").mkdir()
    with pytest.raises(
        DataError, match=r"mls_lm_german is not the books of .*: looked for data.txt; it holds: nothing"
    ):
        mls.main([str(tmp_path / "mls"), str(tmp_path / "m"), "--language", "de"])
    assert not (tmp_path / "m").exists()


def test_corpus_and_books_are_fetched(mls: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (build(tmp_path / "mls", ".opus") / "mls_lm_german").mkdir()
    (tmp_path / "mls/mls_lm_german/data.txt").write_text("ein dichter\n")
    for name in ("mls_german_opus", "mls_lm_german"):
        shutil.make_archive(str(tmp_path / "server" / name), "gztar", tmp_path / "mls", name)
    monkeypatch.setattr(mls, "URL", (tmp_path / "server").as_uri())
    mls.main([str(tmp_path / "data/mls"), str(tmp_path / "m"), "--language", "de", "--opus", "--download"])
    assert len(spoken(tmp_path / "m/train.json")) == 3
    assert (tmp_path / "m/lm_books.txt").read_text() == "ein dichter\n"


def test_a_file_that_is_missing_is_counted_once(mls: ModuleType, tmp_path: Path) -> None:
    build(tmp_path / "mls", ".flac")
    (tmp_path / "mls/mls_german/train/audio/10/20/10_20_000001.flac").unlink()
    dropped = mls.prepare_mls(tmp_path / "mls/mls_german", tmp_path / "m", Spelling("de"))
    assert {reason: len(cases) for reason, cases in dropped.reasons.items()} == {
        "without a spelling": 1,
        "with unreadable audio": 1,
    }


def test_a_wrong_folder_says_what_was_looked_for(mls: ModuleType, tmp_path: Path) -> None:
    build(tmp_path / "mls", ".opus")
    message = r"is not Multilingual LibriSpeech: looked for mls_german/train/transcripts.txt.*it holds: mls_german_opus"
    with pytest.raises(DataError, match=message):
        mls.main([str(tmp_path / "mls"), str(tmp_path / "m"), "--language", "de"])
    assert not (tmp_path / "m").exists()


def test_a_damaged_transcript_names_its_line(mls: ModuleType, tmp_path: Path) -> None:
    build(tmp_path / "mls", ".flac")
    with (tmp_path / "mls/mls_german/dev/transcripts.txt").open("a") as lines:
        lines.write("30_40_000001 with a space\n")
    with pytest.raises(DataError, match=r"dev/transcripts.txt: line 2 is not 'SPEAKER_BOOK_NUMBER<TAB>words'"):
        mls.main([str(tmp_path / "mls"), str(tmp_path / "m"), "--language", "de"])
    assert list((tmp_path / "m").iterdir()) == []
