"""TED-LIUM's preparation on miniature talks of release 3."""

from __future__ import annotations

import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from miniature import load_prepare, read_cuts, sing, spoken

from toolkit.dataio.cut_audio import load_cut
from toolkit.errors import DataError

TALKS = {
    "legacy/train/AlGore_2004": (
        ";; a header",
        "AlGore_2004 1 AlGore_2004 0.25 1.50 <o,f0,male> so it 's {NOISE} what they 'd 've read(2) <sil> in the ' 60s",
        "AlGore_2004 1 AlGore_2004 1.50 2.25 <NA> <unk> 's idea",
    ),
    "legacy/train/BillGates_2009": ("BillGates_2009 1 BillGates_2009 0.10 0.90 <NA> thank you",),
    "legacy/dev/CraigVenter_2001": (
        "CraigVenter_2001 1 CraigVenter_2001 0.50 1.00 <o,f0,male> you know <unk> well",
        "CraigVenter_2001 1 inter_segment_gap 1.00 1.25 <o,,unknown> ignore_time_segment_in_scoring",
    ),
    "legacy/test/DanBarber_2010": ("DanBarber_2010 1 DanBarber_2010 0.00 3.00 <o,f0,male> [BREATH] i 've known",),
}


@pytest.fixture(scope="module")
def tedlium() -> ModuleType:
    """The recipe's script."""
    return load_prepare("TEDLIUM")


def build(folder: Path) -> Path:
    for place, lines in TALKS.items():
        part, _, talk = place.rpartition("/")
        sing(folder / part / "sph" / f"{talk}.sph", 3.0)
        stm = folder / part / "stm" / f"{talk}.stm"
        stm.parent.mkdir(exist_ok=True)
        stm.write_text("".join(f"{line}\n" for line in lines))
    return folder


def test_words_of_talks(tedlium: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tedlium.main([str(build(tmp_path / "ted")), str(tmp_path / "m")])
    train = {
        "AlGore_2004-0000025-0000150": "so it's what they'd've read in the '60s",
        "BillGates_2009-0000010-0000090": "thank you",
    }
    assert spoken(tmp_path / "m/train.json") == train
    assert spoken(tmp_path / "m/valid.json") == {"CraigVenter_2001-0000050-0000100": "you know well"}
    assert spoken(tmp_path / "m/test.json") == {"DanBarber_2010-0000000-0000300": "i've known"}
    assert "1 of the training set with <unk>:\n    AlGore_2004-0000150-0000225" in capsys.readouterr().out
    assert (tmp_path / "m/lm_train.txt").read_text().splitlines() == list(train.values())


def test_unknown_words_may_be_kept_without_their_mark(tedlium: ModuleType, tmp_path: Path) -> None:
    tedlium.main([str(build(tmp_path / "ted")), str(tmp_path / "m"), "--keep-unknown"])
    assert spoken(tmp_path / "m/train.json")["AlGore_2004-0000150-0000225"] == "idea"


def test_an_utterance_is_heard_where_it_is_in_the_talk(tedlium: ModuleType, tmp_path: Path) -> None:
    corpus = build(tmp_path / "ted")
    tedlium.prepare_tedlium(corpus, tmp_path / "m")
    tone = sing(tmp_path / "tone.sph", 3.0)
    (cut,) = read_cuts(tmp_path / "m/valid.json")
    assert cut.supervisions[0].speaker == "CraigVenter_2001"
    np.testing.assert_allclose(load_cut(cut).numpy(), tone[8000:16000], atol=1e-4)


def test_the_training_set_may_be_in_data(tedlium: ModuleType, tmp_path: Path) -> None:
    corpus = build(tmp_path / "ted")
    shutil.move(corpus / "legacy/train", corpus / "data")
    assert len(tedlium.prepare_tedlium(corpus, tmp_path / "m")) == 1
    assert len(spoken(tmp_path / "m/train.json")) == 2
    for part in ("dev", "test"):  # which data/ may hold, too
        shutil.copytree(corpus / "legacy" / part, corpus / "data", dirs_exist_ok=True)
    dropped = tedlium.prepare_tedlium(corpus, tmp_path / "m")
    assert "2 talks of the training set that dev or test has:" in dropped.summary()
    assert len(spoken(tmp_path / "m/train.json")) == 2
    shutil.rmtree(corpus / "data")
    with pytest.raises(DataError, match=r"there are no .stm files in legacy/train/stm or data/stm"):
        tedlium.prepare_tedlium(corpus, tmp_path / "m")


def test_the_archive_is_unpacked_without_its_links(
    tedlium: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path / "TEDLIUM_release-3")
    shutil.move(tmp_path / "TEDLIUM_release-3/legacy/train", tmp_path / "TEDLIUM_release-3/data")
    (tmp_path / "TEDLIUM_release-3/legacy/train").mkdir()
    for name in ("sph", "stm"):
        (tmp_path / "TEDLIUM_release-3/legacy/train" / name).symlink_to(f"../../data/{name}")
    (tmp_path / "place").mkdir()
    with tarfile.open(tmp_path / "place/TEDLIUM_release-3.tgz", "w:gz") as tar:
        tar.add(tmp_path / "TEDLIUM_release-3", "TEDLIUM_release-3")
    monkeypatch.setattr(tedlium, "ARCHIVES", [replace(one, checksum=None) for one in tedlium.ARCHIVES])
    tedlium.main([str(tmp_path / "place/ted"), str(tmp_path / "m"), "--download"])  # the archive is there
    assert list(spoken(tmp_path / "m/train.json").values())[-1] == "thank you"
    assert not (tmp_path / "place/ted/legacy/train").exists()


def test_a_talk_without_audio_is_counted(tedlium: ModuleType, tmp_path: Path) -> None:
    corpus = build(tmp_path / "ted")
    (corpus / "legacy/train/sph/BillGates_2009.sph").unlink()
    dropped = tedlium.prepare_tedlium(corpus, tmp_path / "m")
    assert len(dropped.reasons["with unreadable audio"]) == 1
    assert "BillGates_2009.sph: no such audio file" in dropped.summary()


def test_bad_input_is_named(tedlium: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "TEDLIUM_release-3").mkdir()
    with pytest.raises(DataError, match=r"is not TED-LIUM release 3: looked for .*it holds: TEDLIUM_release-3"):
        tedlium.prepare_tedlium(tmp_path, tmp_path / "m")
    corpus = build(tmp_path / "ted")
    with (corpus / "legacy/dev/stm/CraigVenter_2001.stm").open("a") as stm:
        stm.write("CraigVenter_2001 1 CraigVenter_2001 0.50 now <NA> what\n")
    with pytest.raises(DataError, match=r"CraigVenter_2001.stm: line 3 is not 'TALK 1 SPEAKER START END"):
        tedlium.prepare_tedlium(corpus, tmp_path / "m")
    assert list((tmp_path / "m").iterdir()) == []
