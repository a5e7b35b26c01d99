"""Waveforms of batches, read in place, are those of each cut alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from lhotse import AudioSource, MonoCut, Recording
from lhotse.cut import Cut
from torch.utils.data import DataLoader, Dataset

from toolkit.dataio import cut_audio
from toolkit.dataio.cut_audio import load_cut, load_cuts
from toolkit.errors import AudioError


def make_cut(path: Path, samples: int = 8000, channels: int = 1, *, promised: int | None = None) -> MonoCut:
    audio = np.random.default_rng(samples).normal(0, 0.1, (samples, channels)).astype(np.float32)
    soundfile.write(path, audio, 16000, subtype="FLOAT" if path.suffix == ".wav" else "PCM_16")
    count = promised or samples
    recording = Recording(
        path.name, [AudioSource("file", list(range(channels)), str(path))], 16000, count, count / 16000
    )
    return MonoCut(path.name, 0.0, count / 16000, 0, [], recording=recording)


def test_all_kinds_of_cuts_in_one_batch(tmp_path: Path) -> None:
    plain, flac = make_cut(tmp_path / "a.wav"), make_cut(tmp_path / "a.flac", 9000)
    longer, shorter = (make_cut(tmp_path / f"{count}.wav", 8000, promised=count) for count in (7990, 8010))
    cuts = [
        plain,
        flac,
        plain.truncate(offset=0.123, duration=0.2),
        make_cut(tmp_path / "two.wav", 7000, 2),
        plain.resample(8000).resample(16000),
        flac.perturb_speed(0.9),
        plain.mix(flac, snr=10),
        longer,
        shorter,
    ]
    wavs, samples = load_cuts(cuts)
    assert samples.tolist() == [cut.num_samples for cut in cuts]
    assert wavs.shape == (len(cuts), max(samples))
    for wav, count, cut in zip(wavs, samples, cuts, strict=True):
        torch.testing.assert_close(wav[:count], load_cut(cut), rtol=0, atol=0)
        assert not wav[count:].any()


def test_plain_files_are_read_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = [make_cut(tmp_path / "a.wav"), make_cut(tmp_path / "a.flac", 9000).truncate(offset=0.1, duration=0.3)]
    monkeypatch.setattr(cut_audio, "load_cut", None)
    assert load_cuts(cuts)[1].tolist() == [8000, 4800]


class Waveforms(Dataset):
    """The waveforms of the cuts."""

    def __init__(self, cuts: list[Cut]) -> None:
        self.cuts = cuts

    def __getitem__(self, count: int) -> torch.Tensor:
        return load_cuts(self.cuts[:count])[0]


@pytest.mark.parametrize("strategy", sorted(torch.multiprocessing.get_all_sharing_strategies()))
def test_workers_send_what_is_loaded_here(tmp_path: Path, strategy: str) -> None:
    """Through memory that files, too, can be made of, and which the one who gets it may change."""
    plain, flac = make_cut(tmp_path / "a.wav", 7000), make_cut(tmp_path / "a.flac", 9000)
    dataset = Waveforms([plain, flac, plain.truncate(duration=0.2).append(flac), plain])
    loader = DataLoader(
        dataset, sampler=[4, 1, 3], batch_size=None, num_workers=1, worker_init_fn=partial(share_by, strategy)
    )
    for count, wavs in zip((4, 1, 3), list(loader), strict=True):
        torch.testing.assert_close(wavs, dataset[count], rtol=0, atol=0)
        assert not wavs.mul_(0).any()


def share_by(strategy: str, worker: int) -> None:  # noqa: ARG001 (torch's)
    torch.multiprocessing.set_sharing_strategy(strategy)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:9000])


def not_finite(path: Path) -> None:
    soundfile.write(path, np.full(8000, np.nan, np.float32), 16000, subtype="FLOAT")


def much_shorter(path: Path) -> None:
    soundfile.write(path, np.zeros(4000), 16000)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (Path.unlink, "no such audio file"),
        (cut_off, "not what the manifest says|cut off"),
        (not_finite, "not finite"),
        (much_shorter, "not what the manifest says"),
    ],
)
def test_damage_names_utterance_and_file(tmp_path: Path, damage: object, said: str) -> None:
    cut: Cut = make_cut(tmp_path / "a.wav")
    damage(tmp_path / "a.wav")
    with pytest.raises(AudioError, match=rf"utterance 'a\.wav': .*a\.wav: .*({said})"):
        load_cuts([cut])


def test_silence_added_to_what_cannot_be_read(tmp_path: Path) -> None:
    cut = make_cut(tmp_path / "a.wav").pad(duration=1.0, preserve_id=True)
    (tmp_path / "a.wav").write_bytes(b"")
    with pytest.raises(AudioError, match=r"utterance 'a\.wav': .*a\.wav: .*empty"):
        load_cut(cut)
