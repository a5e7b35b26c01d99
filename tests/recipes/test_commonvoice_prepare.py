"""Common Voice's preparation on a miniature language: the archive as distributed, and copies for `datasets`."""

from __future__ import annotations

import csv
import gc
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import datasets
import pytest
from miniature import load_prepare, read_cuts, sing, spoken

from toolkit.dataio.cut_audio import load_cut
from toolkit.errors import ConfigError, DataError

RELEASE = "cv-corpus-21.0-2025-03-14"
PARTS = {
    "train": {
        "cv_de_1": ("ann", "„Größe“, sagte Łukasz."),
        "cv_de_2": ("bob", 'Ein "Zitat'),
        "cv_de_3": ("bob", "50 %"),
    },
    "dev": {"cv_de_4": ("cia", "Guten Tag!")},
    "test": {"cv_de_5": ("dan", "Leb’ wohl …"), "cv_de_6": ("dan", "?")},
}
# What only validated.tsv has: of a new speaker, of a speaker of test, and a sentence of dev, typed in other ways.
MORE = {
    "cv_de_7": ("eva", "Noch einer"),
    "cv_de_8": ("dan", "Nicht dieser"),
    "cv_de_9": ("eva", "Guten Tag!"),
    "cv_de_10": ("eva", "„guten Tag“"),
}


@pytest.fixture(scope="module")
def commonvoice() -> ModuleType:
    """The recipe's script."""
    return load_prepare("CommonVoice")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf_cache"))


def build(folder: Path) -> Path:
    """A language as its archive unpacks."""
    validated = {name: told for part in PARTS.values() for name, told in part.items()} | MORE
    for name in validated:
        sing(folder / "clips" / f"{name}.mp3", sample_rate=32000)
    for table, told in {**PARTS, "validated": validated}.items():
        lines = ["client_id\tpath\tsentence_id\tsentence\tup_votes"]
        lines += [f"{speaker}\t{name}.mp3\t0\t{sentence}\t2" for name, (speaker, sentence) in told.items()]
        (folder / f"{table}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_the_archive_as_distributed(
    commonvoice: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / f"{RELEASE}-de.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(build(tmp_path / "made"), f"{RELEASE}/de")
    for _ in range(2):  # the second time it is unpacked already
        commonvoice.main([str(archive), str(tmp_path / "m"), "--language", "de"])
        assert spoken(tmp_path / "m/train.json") == {"cv_de_1": "größe sagte lukasz", "cv_de_2": "ein zitat"}
        assert spoken(tmp_path / "m/valid.json") == {"cv_de_4": "guten tag"}
        assert spoken(tmp_path / "m/test.json") == {"cv_de_5": "leb wohl"}
    cut = read_cuts(tmp_path / "m/train.json")[0]
    assert (cut.supervisions[0].speaker, cut.supervisions[0].language) == ("ann", "de")
    assert load_cut(cut).shape == (8000,)
    assert (tmp_path / "m/lm_train.txt").read_text(encoding="utf-8") == "größe sagte lukasz\nein zitat\n"
    printed = capsys.readouterr().out
    assert "1  % (U+0025 PERCENT SIGN): 50 %" in printed
    assert "1  Ł (U+0141 LATIN CAPITAL LETTER L WITH STROKE) -> L: „Größe“, sagte" in printed
    assert "1 without a spelling:" in printed
    assert "1 with an empty transcript:\n    cv_de_6" in printed


@pytest.mark.parametrize("case", ["upper", "keep"])
def test_all_that_is_validated_but_what_dev_and_test_have(commonvoice: ModuleType, tmp_path: Path, case: str) -> None:
    build(tmp_path / RELEASE / "de")
    commonvoice.main([str(tmp_path / RELEASE), str(tmp_path / "m"), "--language", "de", "--validated", "--case", case])
    words = {"cv_de_1": "Größe sagte Lukasz", "cv_de_2": "Ein Zitat", "cv_de_7": "Noch einer"}
    upper = case == "upper"
    assert spoken(tmp_path / "m/train.json") == {
        name: said.replace("ß", "ẞ").upper() if upper else said for name, said in words.items()
    }
    assert spoken(tmp_path / "m/test.json") == {"cv_de_5": "LEB WOHL" if upper else "Leb wohl"}


def as_parquet(folder: Path, made: Path) -> None:
    features = {name: datasets.Value("string") for name in ("client_id", "path", "sentence")}
    for part, split in (("train", "train"), ("dev", "validation"), ("test", "test")):
        rows = [
            {"client_id": speaker, "path": f"{name}.mp3", "sentence": sentence}
            | {"audio": {"bytes": (made / "clips" / f"{name}.mp3").read_bytes(), "path": f"{name}.mp3"}}
            for name, (speaker, sentence) in PARTS[part].items()
        ]
        table = datasets.Dataset.from_list(rows).cast(
            datasets.Features({**features, "audio": datasets.Audio(decode=False)})
        )
        table.to_parquet(folder / f"{split}-00000-of-00001.parquet")


def as_audio_folder(folder: Path, made: Path) -> None:
    for part, split in (("train", "train"), ("dev", "validation"), ("test", "test")):
        (folder / split).mkdir()
        with (folder / split / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["file_name", "client_id", "sentence"])
            for name, (speaker, sentence) in PARTS[part].items():
                shutil.copy(made / "clips" / f"{name}.mp3", folder / split)
                rows.writerow([f"{name}.mp3", speaker, sentence])


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # metadata.csv, which `datasets` leaves open
@pytest.mark.parametrize("copy", [as_parquet, as_audio_folder])
def test_copies_for_datasets(commonvoice: ModuleType, tmp_path: Path, copy: Callable[[Path, Path], None]) -> None:
    (tmp_path / "hf").mkdir()
    copy(tmp_path / "hf", build(tmp_path / "made"))
    commonvoice.main([str(tmp_path / "hf"), str(tmp_path / "m"), "--language", "de", "--hf"])
    assert spoken(tmp_path / "m/train.json") == {"cv_de_1": "größe sagte lukasz", "cv_de_2": "ein zitat"}
    assert spoken(tmp_path / "m/valid.json") == {"cv_de_4": "guten tag"}
    assert load_cut(read_cuts(tmp_path / "m/valid.json")[0]).shape == (8000,)
    assert (tmp_path / "m/clips").exists() == (copy is as_parquet)  # what has files already is not copied
    gc.collect()


def test_there_is_no_download(commonvoice: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"only to those who log in .*datacollective.*https://commonvoice.mozilla.org/datasets"
    ):
        commonvoice.main([str(tmp_path / "cv"), str(tmp_path / "m"), "--language", "de", "--download"])


def test_another_folder_is_refused(commonvoice: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "cv/wav").mkdir(parents=True)
    with pytest.raises(DataError, match=r"looked for clips, train.tsv, dev.tsv, test.tsv; it holds: wav"):
        commonvoice.main([str(tmp_path / "cv"), str(tmp_path / "m"), "--language", "de"])
    assert not (tmp_path / "m").exists()
    with pytest.raises(ConfigError, match="--validated is for the archive"):
        commonvoice.main([str(tmp_path / "cv"), str(tmp_path / "m"), "--language", "de", "--hf", "--validated"])
    with pytest.raises(DataError, match="cv/wav: datasets cannot load it"):
        commonvoice.main([str(tmp_path / "cv/wav"), str(tmp_path / "m"), "--language", "de", "--hf"])


def test_a_table_without_a_column_is_named(commonvoice: ModuleType, tmp_path: Path) -> None:
    folder = build(tmp_path / "de")
    (folder / "dev.tsv").write_text("client_id\tpath\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"dev.tsv: no column sentence; it has client_id, path"):
        commonvoice.main([str(folder), str(tmp_path / "m"), "--language", "de"])
    assert not (tmp_path / "m/train.json").exists()
