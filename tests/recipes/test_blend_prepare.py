"""The blend's preparation on a miniature corpus laid out as LibriSpeech is."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from toolkit.dataio.manifests import read_manifest
from toolkit.errors import DataError

REPOSITORY = Path(__file__).parents[2]
PARTS = {
    "train-clean-5": {"84-121123-0000": "GO ON", "84-121123-0001": "DON'T"},
    "dev-clean-2": {"1272-128104-0000": "MISTER QUILTER"},
    "test-clean": {"61-70968-0000": "HE BEGAN"},
    "test-other": {"367-130732-0000": "LOBSTERS"},
}


@pytest.fixture(scope="module")
def blend() -> ModuleType:
    """The recipe's script."""
    spec = importlib.util.spec_from_file_location("blend_prepare", REPOSITORY / "recipes/Blend/blend_prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_audio(path: Path, sample_rate: int, samples: int = 2000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.sin(np.arange(samples) / 9) / 2, sample_rate)


def build_librispeech(folder: Path) -> Path:
    for part, texts in PARTS.items():
        for name, words in texts.items():
            speaker, chapter, _ = name.split("-")
            write_audio(folder / part / speaker / chapter / f"{name}.flac", 16000)
            with (folder / part / speaker / chapter / f"{speaker}-{chapter}.trans.txt").open("a") as lines:
                lines.write(f"{name} {words}\n")
    return folder


def test_librispeech_by_its_parts(blend: ModuleType, tmp_path: Path) -> None:
    assert len(blend.prepare_librispeech(build_librispeech(tmp_path / "LibriSpeech"), tmp_path / "manifests")) == 0
    cuts = {split: list(read_manifest(tmp_path / f"manifests/{split}.json")) for split in blend.LIBRISPEECH}
    found = {
        part: {cut.id: cut.supervisions[0].text for cut in cuts[split]} for split, part in blend.LIBRISPEECH.items()
    }
    assert found == PARTS
    assert [cut.supervisions[0].speaker for cut in cuts["train"]] == ["84", "84"]
    assert cuts["train"][0].load_audio().shape == (1, 2000)
    assert (tmp_path / "manifests/lm_train.txt").read_text() == "GO ON\nDON'T\n"


def test_a_part_that_is_missing_is_named(blend: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "LibriSpeech/dev-clean-2").mkdir(parents=True)
    with pytest.raises(DataError, match=r"is not LibriSpeech: looked for train-clean-5.*it holds: dev-clean-2"):
        blend.main([str(tmp_path / "LibriSpeech"), str(tmp_path / "manifests")])


def test_a_damaged_transcript_names_its_line(blend: ModuleType, tmp_path: Path) -> None:
    corpus = build_librispeech(tmp_path / "LibriSpeech")
    with (corpus / "dev-clean-2/1272/128104/1272-128104.trans.txt").open("a") as lines:
        lines.write("1272-128104-0001\n")
    with pytest.raises(DataError, match=r"1272-128104.trans.txt: line 2 is not 'utterance WORDS'"):
        blend.prepare_librispeech(corpus, tmp_path / "manifests")
