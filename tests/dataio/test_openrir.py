"""OpenRIR's noises and room impulse responses, as training takes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from toolkit.dataio.noises import list_audio, read_noises
from toolkit.dataio.openrir import write_noise_lists
from toolkit.errors import DataError

NOISES = ["pointsource_noises/noise-free-sound-0000.wav", "real_rirs_isotropic_noises/RWCP_type1_noise_a.wav"]
RIRS = ["real_rirs_isotropic_noises/RWCP_type1_rir_b.wav", "real_rirs_isotropic_noises/RVB2014_type1_rir_c.wav"]


@pytest.fixture
def openrir(tmp_path: Path) -> Path:
    """RIRS_NOISES, with simulated rooms, which are left out."""
    for name in [*NOISES, *RIRS, "simulated_rirs/smallroom/Room001/Room001-00001.wav"]:
        path = tmp_path / "RIRS_NOISES" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.sin(np.arange(800) / 9) / 2, 16000)
    return tmp_path / "RIRS_NOISES"


def test_its_lists_are_read_by_training(openrir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert write_noise_lists(Path("RIRS_NOISES"), tmp_path) == "OpenRIR: 2 noises, 2 rirs"
    monkeypatch.chdir(openrir)  # the lists serve from anywhere
    assert [cut.load_audio().shape for cut in read_noises(tmp_path / "noises.jsonl")] == [(1, 800)] * 2
    assert list_audio(tmp_path / "rirs.jsonl", "rir") == sorted(openrir / name for name in RIRS)


def test_another_folder_is_named(openrir: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not OpenRIR's RIRS_NOISES: looked for .*; it holds: RIRS_NOISES"):
        write_noise_lists(openrir.parent, tmp_path / "manifests")


def test_a_damaged_file_is_named(openrir: Path, tmp_path: Path) -> None:
    (openrir / RIRS[0]).write_bytes(b"no audio")
    with pytest.raises(DataError, match=r"holds a file that is no audio .*rir_b"):
        write_noise_lists(openrir, tmp_path)
    assert not (tmp_path / "rirs.jsonl").exists()
