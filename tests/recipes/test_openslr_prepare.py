"""OpenSLR's preparation on miniatures of Chile's corpus, Catalonia's, and one with lists of other names."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType

import pytest
from miniature import load_prepare, read_cuts, sing, spoken

from toolkit.dataio.spelling import Spelling
from toolkit.errors import DataError

SENTENCE = "¿Dónde está «el Ñandú»?"


@pytest.fixture(scope="module")
def openslr() -> ModuleType:
    """The recipe's script."""
    return load_prepare("OpenSLR")


def build(folder: Path, sex: str, speakers: int, line: str = "{name}\t{text}\n", text: str = SENTENCE) -> list[str]:
    """An archive as it is unpacked: two sentences of each speaker."""
    names = [f"{sex}_{speaker:05d}_{take:011d}" for speaker in range(speakers) for take in (17, 4711)]
    for name in names:
        sing(folder / f"{name}.wav", 0.1, 48000)
    (folder / "line_index.tsv").write_text("".join(line.format(name=name, text=text) for name in names), "utf-8")
    return names


def test_splits_are_of_whole_speakers(openslr: ModuleType, tmp_path: Path) -> None:
    names = build(tmp_path / "SLR71/es_cl_female", "clf", 6) + build(tmp_path / "SLR71/es_cl_male", "clm", 6)
    build(tmp_path / "SLR69/ca_es_female", "caf", 3, text="L’excel·lent")
    openslr.main([str(tmp_path), str(tmp_path / "m"), "--corpora", "71", "69"])
    heard = {split: spoken(tmp_path / f"m/SLR71/{split}.json") for split in ("train", "valid", "test")}
    assert sorted(name for split in heard.values() for name in split) == sorted(names)
    speakers = [{name.rpartition("_")[0] for name in split} for split in heard.values()]
    assert [len(one) for one in speakers] == [8, 2, 2]
    assert len(set.union(*speakers)) == 12
    assert set(heard["train"].values()) == {"dónde está el ñandú"}
    cut = read_cuts(tmp_path / "m/SLR71/test.json")[0]
    assert (cut.sampling_rate, cut.supervisions[0].language) == (48000, "es")
    assert cut.supervisions[0].speaker == cut.id.rpartition("_")[0]
    assert set(spoken(tmp_path / "m/SLR69/train.json").values()) == {"l'excel·lent"}


def test_sentences_of_train_in_test_are_counted(
    openslr: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(tmp_path / "SLR71/es_cl_female", "clf", 6)
    openslr.main([str(tmp_path), str(tmp_path / "m"), "--corpora", "71"])
    assert "with a sentence of train: 2 of 2 of test, 2 of 2 of valid" in capsys.readouterr().out
    table = tmp_path / "SLR71/es_cl_female/line_index.tsv"
    sentences = [
        f"{line.split()[0]}\t{'a' * number}\n" for number, line in enumerate(table.read_text().splitlines(), 1)
    ]
    table.write_text("".join(sentences))
    openslr.main([str(tmp_path), str(tmp_path / "m"), "--corpora", "71"])
    assert "with a sentence of train: 0 of 2 of test, 0 of 2 of valid" in capsys.readouterr().out


def test_lists_of_other_names_and_columns(openslr: ModuleType, tmp_path: Path) -> None:
    names = build(tmp_path / "SLR74/wavs", "prf", 3, line="{name}\t\t{text}\n")
    (tmp_path / "SLR74/wavs/line_index.tsv").rename(tmp_path / "SLR74/line_index_female.tsv")
    with (tmp_path / "SLR74/line_index_female.tsv").open("a") as lines:
        lines.write("prf_00009_00000000001\t\n")
    dropped = openslr.prepare_openslr(tmp_path / "SLR74", tmp_path / "m", Spelling("es"))
    assert {reason: len(cases) for reason, cases in dropped.reasons.items()} == {"without audio": 1}
    heard = [name for split in ("train", "valid", "test") for name in spoken(tmp_path / f"m/{split}.json")]
    assert sorted(heard) == sorted(names)


def test_archives_are_fetched(openslr: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for archive, sex in (("es_cl_female", "clf"), ("es_cl_male", "clm")):
        build(tmp_path / archive, sex, 2)
        shutil.make_archive(str(tmp_path / "server/71" / archive), "zip", tmp_path / archive)
    monkeypatch.setattr(openslr, "URL", (tmp_path / "server").as_uri())
    arguments = [str(tmp_path / "data/openslr"), str(tmp_path / "m"), "--corpora", "71"]
    openslr.main([*arguments, "--download"])
    assert {path.name for path in (tmp_path / "data/openslr/SLR71").iterdir()} == {"es_cl_female", "es_cl_male"}
    assert sum(len(spoken(tmp_path / f"m/SLR71/{split}.json")) for split in ("train", "valid", "test")) == 8
    openslr.main(arguments)


def test_what_is_missing_is_named(openslr: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "SLR71/es_cl_female").mkdir(parents=True)
    with pytest.raises(DataError, match=r"SLR71 is not a corpus of OpenSLR: looked for line_index.tsv.*: es_cl_female"):
        openslr.main([str(tmp_path), str(tmp_path / "m"), "--corpora", "71"])
    build(tmp_path / "SLR71/es_cl_female", "clf", 3)
    with pytest.raises(DataError, match="is not OpenSLR's corpora: looked for SLR72; it holds: SLR71"):
        openslr.main([str(tmp_path), str(tmp_path / "m"), "--corpora", "71", "72"])
    assert not (tmp_path / "m").exists()


def test_a_damaged_list_names_its_line(openslr: ModuleType, tmp_path: Path) -> None:
    build(tmp_path / "SLR71/es_cl_female", "clf", 3, line="{name} {text}\n")
    with pytest.raises(DataError, match=r"line_index.tsv: line 1 is not 'SPEAKER_NUMBER<TAB>sentence'"):
        openslr.prepare_openslr(tmp_path / "SLR71", tmp_path / "m", Spelling("es"))
    assert not (tmp_path / "m").exists()


def test_every_archive_is_of_its_corpus(openslr: ModuleType) -> None:
    archives = [archive for _, names in openslr.CORPORA.values() for archive in names]
    assert len(archives) == len(set(archives))
    assert all(name.split("_")[0] == language for language, names in openslr.CORPORA.values() for name in names)
