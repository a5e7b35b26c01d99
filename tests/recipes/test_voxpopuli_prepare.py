"""VoxPopuli's preparation on a miniature of its sittings, and of the files that its own program cuts."""

from __future__ import annotations

import csv
import gzip
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from miniature import load_prepare, read_cuts, sing, spoken

from toolkit.dataio.cut_audio import load_cut
from toolkit.dataio.spelling import Spelling
from toolkit.errors import DataError

MONDAY, TUESDAY = "20120911-0900-PLENARY-15", "20190114-0900-PLENARY-3"
# session_id, start_time, end_time, original_text, normed_text, speaker_id, split
ROWS = [
    (MONDAY, 0.5, 1.25, "Herr Präsident! Nein.", "herr präsident nein", "28115", "train"),
    (MONDAY, 1.25, 1.75, '"So nicht | so"', "so nicht so", "28115", "dev"),
    (TUESDAY, 0.0, 1.0, "Danke.", "danke", "None", "train"),
    (TUESDAY, 1.0, 2.0, "Im Jahr 2012.", "im jahr 2012", "7", "train"),
    (TUESDAY, 1.0, 9.0, "Zu spät.", "zu spät", "7", "test"),
    (MONDAY, 1.5, 2.0, "Bitte sehr.", "bitte sehr", "9", "test"),
    ("20200101-0900-PLENARY", 1.5, 2.0, "Fort.", "fort", "9", "test"),
]
HEADER = "session_id|start_time|end_time|original_text|normed_text|speaker_id|split"


@pytest.fixture(scope="module")
def voxpopuli() -> ModuleType:
    """The recipe's script."""
    return load_prepare("VoxPopuli")


def build(folder: Path) -> np.ndarray:
    """Two sittings of two seconds and the table of German; returns the samples of a sitting."""
    for sitting in (MONDAY, TUESDAY):
        tone = sing(folder / "raw_audios/original" / sitting[:4] / f"{sitting}_original.ogg", 2.0)
    table = folder / "transcribed_data/de/asr_de.tsv.gz"
    table.parent.mkdir(parents=True)
    with gzip.open(table, "wt", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="|", lineterminator="\n").writerows([HEADER.split("|"), *ROWS])
    return tone


def test_utterances_are_parts_of_sittings(
    voxpopuli: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tone = build(tmp_path / "vp")
    voxpopuli.main([str(tmp_path / "vp"), str(tmp_path / "m"), "--language", "de"])
    assert spoken(tmp_path / "m/train.json") == {f"de-{MONDAY}-1": "herr präsident nein", f"de-{TUESDAY}-1": "danke"}
    assert spoken(tmp_path / "m/valid.json") == {f"de-{MONDAY}-2": "so nicht so"}
    assert spoken(tmp_path / "m/test.json") == {f"de-{MONDAY}-3": "bitte sehr"}
    cut, other = read_cuts(tmp_path / "m/train.json")
    assert other.supervisions[0].speaker is None
    heard = load_cut(cut).numpy()
    assert len(heard) == 12000
    np.testing.assert_allclose(heard[800:-800], tone[8800:19200], atol=0.1)
    assert (cut.supervisions[0].speaker, cut.supervisions[0].language) == ("28115", "de")
    said = capsys.readouterr().out
    for reason in ("1 without a spelling", "1 with unreadable audio", "1 that are no part of their recording"):
        assert reason in said


def test_numbers_become_words(voxpopuli: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("num2words")
    build(tmp_path / "vp")
    table = tmp_path / "vp/transcribed_data/de/asr_de.tsv.gz"
    table.write_bytes(gzip.compress(gzip.decompress(table.read_bytes()).replace(b"im jahr 2012", b"noch 12 jahre")))
    voxpopuli.main([str(tmp_path / "vp"), str(tmp_path / "m"), "--language", "de", "--digits", "words"])
    assert spoken(tmp_path / "m/train.json")[f"de-{TUESDAY}-2"] == "noch zwölf jahre"


def test_files_that_were_cut_are_taken(voxpopuli: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "vp/transcribed_data/et"
    for part, words in {"train": 'aitäh "teile', "dev": "jah", "test": "ei"}.items():
        name = f"20120911-{part}_3"
        sing(folder / "2012" / f"{name}.ogg")
        header = "id\traw_text\tnormalized_text\tspeaker_id\tsplit\tgender"
        (folder / f"asr_{part}.tsv").write_text(f"{header}\n{name}\t\t{words}\tNone\t{part}\tmale\n", encoding="utf-8")
    assert len(voxpopuli.prepare_voxpopuli(tmp_path / "vp", tmp_path / "m", Spelling("et"))) == 0
    assert spoken(tmp_path / "m/train.json") == {"20120911-train_3": "aitäh teile"}
    assert spoken(tmp_path / "m/test.json") == {"20120911-test_3": "ei"}
    assert read_cuts(tmp_path / "m/test.json")[0].supervisions[0].speaker is None


def test_languages_of_a_sitting_have_names_of_their_own(voxpopuli: ModuleType, tmp_path: Path) -> None:
    build(tmp_path / "vp")
    shutil.copytree(tmp_path / "vp/transcribed_data/de", tmp_path / "vp/transcribed_data/fr")
    (tmp_path / "vp/transcribed_data/fr/asr_de.tsv.gz").rename(tmp_path / "vp/transcribed_data/fr/asr_fr.tsv.gz")
    for language in ("de", "fr"):
        voxpopuli.prepare_voxpopuli(tmp_path / "vp", tmp_path / language, Spelling(language))
    assert not spoken(tmp_path / "de/train.json").keys() & spoken(tmp_path / "fr/train.json").keys()


def test_sittings_are_fetched_by_year(voxpopuli: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path / "vp")
    for year in ("2012", "2019"):
        tar = tmp_path / f"server/audios/original_{year}"
        shutil.make_archive(str(tar), "tar", tmp_path / "vp/raw_audios", f"original/{year}")
    (tmp_path / "server/annotations/asr").mkdir(parents=True)
    (tmp_path / "vp/transcribed_data/de/asr_de.tsv.gz").rename(tmp_path / "server/annotations/asr/asr_de.tsv.gz")
    monkeypatch.setattr(voxpopuli, "URL", (tmp_path / "server").as_uri())
    monkeypatch.setattr(voxpopuli, "YEARS", (2012, 2019))
    voxpopuli.main([str(tmp_path / "data/vp"), str(tmp_path / "m"), "--language", "de", "--download"])
    assert len(spoken(tmp_path / "m/train.json")) == 2


def test_a_wrong_folder_says_what_was_looked_for(voxpopuli: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "raw_audios/de").mkdir(parents=True)
    wanted = r"looked for raw_audios/original, transcribed_data/de/asr_de.tsv.gz; it holds: raw_audios"
    with pytest.raises(DataError, match=wanted):
        voxpopuli.prepare_voxpopuli(tmp_path, tmp_path / "m", Spelling("de"))


def packed(table: str) -> bytes:
    return gzip.compress(table.encode(), mtime=0)  # the same bytes, and so test's name, in every process of the tests


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (packed("id|text\n1|a\n"), "no column session_id, split, .*; it has id, text"),
        (packed(HEADER * 99)[:-9], "cannot be read .*; delete it and fetch it again"),
        (b"<html>", "cannot be read"),
        (packed(f"{HEADER}\n{MONDAY}|early|2|a|a|1|train\n"), "from 'early' to '2' are no seconds"),
    ],
)
def test_a_damaged_table(voxpopuli: ModuleType, tmp_path: Path, content: bytes, message: str) -> None:
    build(tmp_path / "vp")
    (tmp_path / "vp/transcribed_data/de/asr_de.tsv.gz").write_bytes(content)
    with pytest.raises(DataError, match=f"asr_de.tsv.gz: .*{message}"):
        voxpopuli.prepare_voxpopuli(tmp_path / "vp", tmp_path / "m", Spelling("de"))
    assert list((tmp_path / "m").iterdir()) == []
