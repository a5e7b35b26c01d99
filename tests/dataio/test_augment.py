"""Speed, reverberation and noise do to the samples what they say, and are drawn from (seed, epoch, cut id)."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from lhotse import CutSet, Recording, RecordingSet, SupervisionSegment
from lhotse.cut import Cut
from torchaudio.functional import resample

from toolkit.dataio.augment import Augmentation, impulse_response, with_speed_copies
from toolkit.dataio.config import DataConfig
from toolkit.dataio.cut_audio import load_cut
from toolkit.dataio.indexed import Listed
from toolkit.dataio.manifests import read_manifest
from toolkit.dataio.noises import list_audio, noise_cut
from toolkit.errors import AudioError, ConfigError, DataError

REAL = Path(os.environ.get("ASR_DATA", Path(__file__).parents[3] / "shared/data")) / "rirs_noises"
SPEECH = np.random.default_rng(1).normal(0, 0.1, 24000).astype(np.float32)


@pytest.fixture
def cut(tmp_path: Path) -> Cut:
    """One and a half seconds of speech at 16 kHz."""
    soundfile.write(tmp_path / "utt.wav", SPEECH, 16000, subtype="FLOAT")
    (tmp_path / "m.json").write_text(json.dumps({"utt": {"wav": "utt.wav", "length": 1.5, "words": "YES"}}))
    return read_manifest(tmp_path / "m.json")[0]


def augmentation(**values: object) -> Augmentation:
    return Augmentation.from_config(
        DataConfig.from_hparams("train_data", {"manifest_filepath": "m.json", "batch_size": 1} | values)
    )


def noise_folder(folder: Path, *seconds: float, sample_rate: int = 16000) -> Path:
    folder.mkdir()
    for number, length in enumerate(seconds):
        noise = np.random.default_rng(number).normal(0, 0.3, (round(length * sample_rate), 2))
        soundfile.write(folder / f"{number}.wav", noise, sample_rate)
    return folder


def duration(cut: Cut) -> float:
    return cut.duration


def test_speed_copies(cut: Cut) -> None:
    copies = with_speed_copies(Listed([cut], duration))
    plain, slow, fast = copies
    assert copies.lengths.tolist() == pytest.approx([one.duration for one in (plain, slow, fast)], abs=1e-8)
    assert [one.id for one in (plain, slow, fast)] == ["utt", "utt_sp0.9", "utt_sp1.1"]
    assert (slow.duration, fast.duration) == (pytest.approx(1.5 / 0.9, abs=1e-4), pytest.approx(1.5 / 1.1, abs=1e-4))
    assert slow.supervisions[0].text == "YES"
    for copy, rate in ((slow, 14400), (fast, 17600)):
        expected = resample(torch.from_numpy(SPEECH), rate, 16000)
        torch.testing.assert_close(load_cut(copy)[:20000], expected[:20000], atol=1e-5, rtol=0)
        assert abs(len(load_cut(copy)) - len(expected)) <= 1


@pytest.mark.parametrize("seconds", [(5.0,), (0.2, 0.33)])
@pytest.mark.parametrize("snr", [0.0, 15.0])
def test_noise_has_the_ratio_asked_for_from_beginning_to_end(
    cut: Cut, tmp_path: Path, seconds: tuple[float, ...], snr: float
) -> None:
    folder = noise_folder(tmp_path / "noises", *seconds, sample_rate=22050)
    noisy = augmentation(noise_path=folder, noise_mix_prob=1.0, noise_snr=[snr, snr])(cut, epoch=0)
    assert (noisy.id, noisy.duration) == ("utt", 1.5)
    noise = load_cut(noisy).numpy() - SPEECH
    power = [np.mean(part**2) for part in np.split(noise[: 24000 - 1000], 23)]
    assert 10 * np.log10(np.mean(SPEECH**2) / np.mean(noise[:23000] ** 2)) == pytest.approx(snr, abs=0.5)
    assert min(power) > 0.2 * max(power)


def test_noise_of_an_odd_length_fits_an_utterance_of_an_odd_length(tmp_path: Path, cut: Cut) -> None:
    augment = augmentation(noise_path=noise_folder(tmp_path / "noises", 0.1, 0.77, 3.21), noise_mix_prob=1.0)
    short = cut.truncate(duration=0.7654, preserve_id=True)
    for epoch, copy in enumerate([*with_speed_copies(Listed([short], duration))] * 5):
        assert len(load_cut(augment(copy, epoch))) == copy.num_samples


@pytest.mark.parametrize("sign", [1, -1])
def test_reverberation_is_a_convolution_aligned_at_the_peak(cut: Cut, tmp_path: Path, sign: int) -> None:
    response = np.zeros(800, dtype=np.float32)
    response[[100, 160, 400]] = [0.5 * sign, -0.3 * sign, 0.2 * sign]
    (tmp_path / "rirs").mkdir()
    soundfile.write(tmp_path / "rirs/a.wav", np.stack([response, response[::-1]], axis=1), 16000, subtype="FLOAT")
    wet = load_cut(augmentation(rir_enabled=True, rir_path=tmp_path / "rirs", rir_prob=1.0)(cut, epoch=0)).numpy()
    expected = np.convolve(SPEECH, response / response[100])[100 : 100 + 24000]
    expected *= np.sqrt(np.mean(SPEECH**2) / np.mean(expected**2))
    np.testing.assert_allclose(wet, expected, atol=1e-5)


def test_impulse_responses_of_another_rate_are_resampled(tmp_path: Path) -> None:
    response = np.zeros(4800)
    response[960] = 1.0
    soundfile.write(tmp_path / "a.wav", response, 48000)
    recording = impulse_response(tmp_path / "a.wav", 16000)
    assert (recording.sampling_rate, recording.num_samples) == (16000, 1600)
    assert np.abs(recording.load_audio()).argmax() == 320


def test_a_silent_impulse_response(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 16000)
    with pytest.raises(AudioError, match=r"a\.wav: a silent impulse response"):
        impulse_response(tmp_path / "a.wav", 16000)


def test_silent_noise_leaves_speech_alone(cut: Cut, tmp_path: Path) -> None:
    (tmp_path / "noises").mkdir()
    soundfile.write(tmp_path / "noises/a.wav", np.zeros(8000), 16000)
    noisy = augmentation(noise_path=tmp_path / "noises", noise_mix_prob=1.0)(cut, epoch=0)
    np.testing.assert_array_equal(load_cut(noisy).numpy(), SPEECH)


def test_draws_depend_on_seed_epoch_and_cut_alone(cut: Cut, tmp_path: Path) -> None:
    folder = noise_folder(tmp_path / "noises", 5.0, 6.0)
    values = {"noise_path": folder, "rir_enabled": True, "rir_path": folder}
    other = cut.with_id("other")
    first, again, reseeded = augmentation(**values), augmentation(**values), augmentation(**values, seed=1)
    drawn = [load_cut(first(one, epoch)) for one in (cut, other) for epoch in range(8)]
    # In another order, as another worker or a resumed run would ask.
    redrawn = [load_cut(again(one, epoch)) for one in (other, cut) for epoch in reversed(range(8))]
    for one, same in zip(drawn, redrawn[:7:-1] + redrawn[7::-1], strict=True):
        torch.testing.assert_close(one, same, rtol=0, atol=0)
    assert len({tuple(one[:50].tolist()) for one in drawn}) > 8
    assert any(not torch.equal(load_cut(reseeded(cut, epoch)), drawn[epoch]) for epoch in range(8))


def test_probabilities(cut: Cut, tmp_path: Path) -> None:
    folder = noise_folder(tmp_path / "noises", 5.0, 5.0)
    augment = augmentation(noise_path=folder, noise_mix_prob=0.3, rir_enabled=True, rir_path=folder, rir_prob=0.6)
    drawn = [augment(cut.with_id(str(number)), 0) for number in range(500)]
    noisy = [one for one in drawn if len(getattr(one, "tracks", [])) == 2]
    wet = [one for one in drawn if (one.tracks[0].cut if one in noisy else one).recording.transforms]
    # Four standard deviations.
    assert abs(len(noisy) - 150) < 41
    assert abs(len(wet) - 300) < 44
    assert {one.tracks[1].cut.id for one in noisy} == {"0.wav", "1.wav"}
    assert augmentation(noise_path=folder, noise_mix_prob=0.0)(cut, 0) is cut


def test_lists_of_files(tmp_path: Path) -> None:
    folder = noise_folder(tmp_path / "noises", 1.0, 1.0)
    (folder / "notes.txt").touch()
    assert list_audio(folder, "noise") == [folder / "0.wav", folder / "1.wav"]
    (folder / "nemo.jsonl").write_text('{"audio_filepath": "1.wav", "duration": 1.0}\n')
    assert list_audio(folder / "nemo.jsonl", "noise") == [folder / "1.wav"]
    (folder / "manifest.jsonl").write_text('{"audio": "0.wav", "kind": "rir"}\n{"audio": "1.wav", "kind": "noise"}\n')
    assert list_audio(folder, "noise") == [folder / "1.wav"]
    assert list_audio(folder, "rir") == [folder / "0.wav"]


@pytest.mark.parametrize("kind", ["cuts.jsonl", "cuts.jsonl.gz", "shar", "recordings.jsonl.gz", "list.jsonl.gz"])
def test_noises_as_lhotse_and_nemo_have_them(tmp_path: Path, cut: Cut, kind: str) -> None:
    file = noise_folder(tmp_path / "noises", 2.0) / "0.wav"
    noise, path = Recording.from_file(file), tmp_path / kind
    spoken = noise.to_cut()
    spoken.supervisions = [SupervisionSegment("n", noise.id, 0.0, 2.0, channel=[0, 1], text="NOISE")]
    if kind == "shar":
        path.mkdir()
        CutSet.from_cuts([spoken]).to_shar(path, fields={"recording": "wav"})
    elif kind.startswith("cuts"):
        CutSet.from_cuts([spoken]).to_file(path)
    elif kind.startswith("recordings"):
        RecordingSet.from_recordings([noise]).to_file(path)
    else:
        path.write_bytes(gzip.compress(b'{"audio": "noises/0.wav"}\n'))
    values = {"noise_mix_prob": 1.0, "noise_snr": [5, 5]}
    heard = [augmentation(noise_path=one, **values)(cut, 0) for one in (path, file.parent)]
    torch.testing.assert_close(load_cut(heard[0]), load_cut(heard[1]), rtol=0, atol=2e-4)
    assert [supervision.text for supervision in heard[0].supervisions] == ["YES"]


def test_rooms_of_a_recording_set(tmp_path: Path) -> None:
    file = noise_folder(tmp_path / "rooms", 0.1) / "0.wav"
    RecordingSet.from_recordings([Recording.from_file(file)]).to_file(tmp_path / "rooms.jsonl")
    augment = augmentation(rir_enabled=True, rir_path=tmp_path / "rooms.jsonl")
    assert list(augment.impulse_responses) == [file]


def test_bad_lists(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"noise_path: .*none: no such folder or list"):
        list_audio(tmp_path / "none", "noise")
    with pytest.raises(DataError, match=r"rir_path: .* holds no audio file of kind 'rir'"):
        list_audio(tmp_path, "rir")
    (tmp_path / "a.jsonl").write_text('{"audio": "a.wav"}\n{"file": "b.wav"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl: line 2 is not"):
        list_audio(tmp_path / "a.jsonl", "noise")


@pytest.mark.skipif(not REAL.is_dir(), reason="rirs_noises is not beside the project")
def test_the_real_rooms_and_noises(cut: Cut) -> None:
    augment = augmentation(noise_path=REAL, noise_mix_prob=1.0, rir_enabled=True, rir_path=REAL / "manifest.jsonl")
    assert (len(augment.impulse_responses), len(augment.noises)) == (14, 16)
    for response in augment.impulse_responses:
        wet = load_cut(cut.reverb_rir(impulse_response(response, 16000), rir_channels=[0]))
        assert wet.square().mean().item() == pytest.approx(np.mean(SPEECH**2), rel=1e-3)
    for noise in augment.noises:
        alone = augmentation(noise_path=REAL, noise_mix_prob=1.0, noise_snr=[5, 5])
        object.__setattr__(alone, "noises", (noise_cut(Path(noise.recording.sources[0].source)),))
        added = load_cut(alone(cut, 0)).numpy() - SPEECH
        assert np.isfinite(added).all()
        assert np.abs(added).max() < 20
