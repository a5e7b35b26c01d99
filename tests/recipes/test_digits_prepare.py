"""The preparation of the digits on a miniature corpus laid out as the Free Spoken Digit Dataset is."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from toolkit.dataio.manifests import read_manifest
from toolkit.errors import DataError

REPOSITORY = Path(__file__).parents[2]
REAL = Path(os.environ.get("ASR_DATA", REPOSITORY.parent / "shared/data"))
SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    """The recipe's script."""
    spec = importlib.util.spec_from_file_location("digits_prepare", REPOSITORY / "recipes/Digits/digits_prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two speakers, two digits, six takes."""
    recordings = tmp_path / "fsdd/recordings"
    recordings.mkdir(parents=True)
    for take in (0, 4, 5, 9, 10, 49):
        for name in (f"7_theo_{take}", f"0_lucas_{take}"):
            soundfile.write(recordings / f"{name}.wav", np.sin(np.arange(2000) / 9) / 2, 8000)
    return tmp_path / "fsdd"


def names_of(manifests: Path) -> dict[str, set[str]]:
    return {split: set(json.loads((manifests / f"{split}.json").read_text())) for split in SPLITS}


def test_digits_by_their_takes(recipe: ModuleType, corpus: Path, tmp_path: Path) -> None:
    soundfile.write(corpus / "recordings/seven.wav", np.zeros(2000), 8000)
    dropped = recipe.prepare_digits(corpus, tmp_path / "manifests")
    assert {reason: len(cases) for reason, cases in dropped.reasons.items()} == {"not named DIGIT_SPEAKER_TAKE": 1}
    takes = {"train": (10, 49), "valid": (5, 9), "test": (0, 4)}
    for split, numbers in takes.items():
        cuts = list(read_manifest(tmp_path / f"manifests/{split}.json"))
        names = {cut.id: (cut.supervisions[0].text, cut.supervisions[0].speaker) for cut in cuts}
        expected = {f"{digit}_{speaker}_{take}": (word, speaker) for take in numbers
                    for digit, word, speaker in ((7, "SEVEN", "theo"), (0, "ZERO", "lucas"))}  # fmt: skip
        assert names == expected
        assert {cut.sampling_rate for cut in cuts} == {8000}
    assert sorted((tmp_path / "manifests/lm_test.txt").read_text().split()) == ["SEVEN", "SEVEN", "ZERO", "ZERO"]


def test_a_speaker_held_out_is_tested_on_and_heard_nowhere_else(
    recipe: ModuleType, corpus: Path, tmp_path: Path
) -> None:
    recipe.main([str(corpus), str(tmp_path / "manifests"), "--held-out", "theo"])
    assert names_of(tmp_path / "manifests") == {
        "train": {"0_lucas_10", "0_lucas_49"},
        "valid": {"0_lucas_0", "0_lucas_4", "0_lucas_5", "0_lucas_9"},
        "test": {f"7_theo_{take}" for take in (0, 4, 5, 9, 10, 49)},
    }


def test_a_speaker_that_nobody_knows(recipe: ModuleType, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--held-out leo: no such speaker; .*fsdd has lucas, theo"):
        recipe.prepare_digits(corpus, tmp_path / "manifests", "leo")
    assert not (tmp_path / "manifests").exists()


def test_another_folder(recipe: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "fsdd/audio").mkdir(parents=True)
    with pytest.raises(
        DataError, match=r"is not the Free Spoken Digit Dataset: looked for recordings; it holds: audio"
    ):
        recipe.prepare_digits(tmp_path / "fsdd", tmp_path / "manifests")


@pytest.mark.skipif(not (REAL / "fsdd").is_dir(), reason="the digits are not beside the project")
def test_the_real_digits(recipe: ModuleType, tmp_path: Path) -> None:
    assert len(recipe.prepare_digits(REAL / "fsdd", tmp_path)) == 0
    assert {split: len(names) for split, names in names_of(tmp_path).items()} == {
        "train": 2000,
        "valid": 250,
        "test": 250,
    }
