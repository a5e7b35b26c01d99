"""The preparation of YesNo on a corpus of its size and names, with tones in the place of speech."""

from __future__ import annotations

import importlib.util
import itertools
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from toolkit.dataio.manifests import read_manifest
from toolkit.errors import DataError

REPOSITORY = Path(__file__).parents[2]
NAMES = ["_".join(signs) for signs in itertools.islice(itertools.product("01", repeat=8), 60)]


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    """The recipe's script."""
    spec = importlib.util.spec_from_file_location("yesno_prepare", REPOSITORY / "recipes/YesNo/yesno_prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Sixty files, and the README that comes with them."""
    folder = tmp_path / "waves_yesno"
    folder.mkdir()
    (folder / "README").touch()
    for name in NAMES:
        soundfile.write(folder / f"{name}.wav", np.sin(np.arange(2000) / 9) / 2, 8000)
    return folder


def test_names_are_transcripts(recipe: ModuleType, corpus: Path, tmp_path: Path) -> None:
    soundfile.write(corpus / "0_1_2.wav", np.zeros(2000), 8000)
    dropped = recipe.prepare_yesno(corpus, tmp_path / "manifests")
    assert {reason: len(cases) for reason, cases in dropped.reasons.items()} == {"not named by eight 0 or 1": 1}
    names = {
        part: list(json.loads((tmp_path / f"manifests/{part}.json").read_text())) for part in ("train", "valid", "test")
    }
    assert {part: len(found) for part, found in names.items()} == {"train": 24, "valid": 6, "test": 30}
    assert sorted(itertools.chain(*names.values())) == NAMES
    assert names["test"] == NAMES[1::2]  # as in lhotse.recipes.yesno
    texts = {cut.id: cut.supervisions[0].text for cut in read_manifest(tmp_path / "manifests/test.json")}
    assert texts["0_0_1_0_0_1_0_1"] == "LO LO KEN LO LO KEN LO KEN"


def test_a_recording_that_cannot_be_read_keeps_its_place(
    recipe: ModuleType, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (corpus / f"{NAMES[7]}.wav").write_bytes(b"")
    assert len(recipe.prepare_yesno(corpus, tmp_path / "manifests")) == 1
    test = list(json.loads((tmp_path / "manifests/test.json").read_text()))
    assert test == [name for name in NAMES[1::2] if name != NAMES[7]]
    assert "YesNo has 60" not in capsys.readouterr().out


def test_a_recording_that_is_not_there_changes_the_splits(
    recipe: ModuleType, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (corpus / f"{NAMES[7]}.wav").unlink()
    recipe.prepare_yesno(corpus, tmp_path / "manifests")
    assert "59 recordings, YesNo has 60: train, valid and test are others" in capsys.readouterr().out


def test_another_folder(recipe: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not YesNo: looked for 0_0_0_0_1_1_1_1\.wav .*; there is no such folder"):
        recipe.prepare_yesno(tmp_path / "waves", tmp_path / "manifests")
    (tmp_path / "waves").mkdir()
    soundfile.write(tmp_path / "waves/yes.wav", np.zeros(2000), 8000)
    with pytest.raises(DataError, match=r"is not YesNo: .*; it holds: yes\.wav"):
        recipe.prepare_yesno(tmp_path / "waves", tmp_path / "manifests")
