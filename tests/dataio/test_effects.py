"""Effects and codecs do to real sounds what they say, keep their length, and are drawn from (seed, epoch, cut id)."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse.cut import Cut

from toolkit.dataio.augment import Augmentation
from toolkit.dataio.config import DataConfig
from toolkit.dataio.cut_audio import load_cut
from toolkit.dataio.effects import CODECS, EFFECTS, Coded, Played
from toolkit.dataio.manifests import read_manifest
from toolkit.errors import ConfigError

RATE = 16000
TIME = np.arange(2 * RATE) / RATE


def tone(hertz: float) -> np.ndarray:
    """Two seconds (1, S), the second one twice as loud."""
    return (0.1 * (1 + (TIME >= 1)) * np.sin(2 * np.pi * hertz * TIME)).astype(np.float32)[None]


def played(name: str, samples: np.ndarray, draw: int = 1) -> np.ndarray:
    return Played(EFFECTS[name](RATE, random.Random(draw)))(samples, RATE)


def pitch(samples: np.ndarray) -> float:
    """The loudest frequency, in Hz."""
    return float(np.abs(np.fft.rfft(samples[0])).argmax() * RATE / samples.shape[1])


def level(samples: np.ndarray) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(samples**2))))


def end(samples: np.ndarray) -> float:
    """When there begins silence at the end, in seconds."""
    return float(np.flatnonzero(np.abs(samples[0]) > 1e-3)[-1] / RATE)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", [*EFFECTS, *CODECS])
def test_length_and_silence_stay(name: str, channels: int) -> None:
    change = Played(EFFECTS[name](RATE, random.Random(1))) if name in EFFECTS else Coded(name)
    for samples in (np.repeat(tone(300), channels, axis=0)[:, :12345], np.zeros((channels, 777), np.float32)):
        found = change(samples, RATE)
        assert (found.shape, found.dtype) == (samples.shape, np.float32)
        assert np.abs(found).max() <= 2 * np.abs(samples).max() + 2e-3


@pytest.mark.parametrize("draw", range(4))
def test_speed_tempo_and_pitch(draw: int) -> None:
    voice = tone(300)
    fast, at_tempo, high = (played(name, voice, draw) for name in ("speed", "tempo", "pitch"))
    assert 300 <= pitch(fast) <= 300 * 1.15 + 1
    assert end(fast) == pytest.approx(2 * 300 / pitch(fast), abs=0.02)
    assert pitch(at_tempo) == pytest.approx(300, abs=3)
    assert 2 / 1.15 - 0.02 <= end(at_tempo) < 2
    assert 300 * 2 ** (-2 / 12) - 3 <= pitch(high) <= 300 * 2 ** (2 / 12) + 3
    assert abs(pitch(high) - 300) > 1
    assert end(high) == pytest.approx(2, abs=0.05)


def test_filters() -> None:
    for name, kept, lost in (("low_pass", 300, 7900), ("band_pass", 1000, 7900), ("band_pass", 1000, 30)):
        assert level(played(name, tone(kept))) > level(tone(kept)) - 3
        assert level(played(name, tone(lost))) < level(tone(lost)) - 6


def test_gain_clipping_and_echo() -> None:
    voice = tone(300)
    assert level(voice) - 15.1 <= level(played("gain", voice)) < level(voice)
    clipped = played("clipping", voice)
    assert np.mean(np.abs(clipped) >= 0.99 * np.abs(clipped).max()) > 0.1  # flat at the top
    assert np.abs(clipped).max() < 0.8 * np.abs(voice).max()
    np.testing.assert_allclose(clipped[0, :RATE], voice[0, :RATE].clip(-clipped.max(), clipped.max()), atol=1e-4)
    click = np.zeros((1, RATE), np.float32)
    click[0, 100] = 0.5
    assert len(np.flatnonzero(np.abs(played("echo", click)) > 0.02)) == 2


def test_codecs() -> None:
    speech = np.random.default_rng(1).normal(0, 0.1, (1, RATE)).astype(np.float32)
    low = sum(tone(hertz)[:, :RATE] for hertz in (250, 700, 1900))
    for name, codec in CODECS.items():
        found = Coded(name)(low, RATE)
        assert 0.9 < np.corrcoef(found[0], low[0])[0, 1] < 0.99999, name  # in time, and not quite the same
        if codec.sample_rate == 8000:
            spectrum = np.abs(np.fft.rfft(Coded(name)(speech, RATE)[0]))
            assert spectrum[4200:].max() < 0.05 * spectrum[500:3000].mean()
    assert np.abs(Coded("opus", 1.0)(speech, RATE) - Coded("opus", 0.0)(speech, RATE)).max() > 0.01


@pytest.fixture
def cut(tmp_path: Path) -> Cut:
    soundfile.write(tmp_path / "utt.wav", tone(300)[0], RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "noise.wav", np.random.default_rng(1).normal(0, 0.1, RATE), RATE)
    (tmp_path / "m.json").write_text(json.dumps({"utt": {"wav": "utt.wav", "length": 2.0, "words": "YES"}}))
    return read_manifest(tmp_path / "m.json")[0]


def augmentation(**values: object) -> Augmentation:
    keys = {"manifest_filepath": "m.json", "batch_size": 1} | values
    return Augmentation.from_config(DataConfig.from_hparams("train_data", keys))


def test_what_happens_is_drawn_from_seed_epoch_and_id(cut: Cut) -> None:
    channel = {"effects": [*EFFECTS], "effect_prob": 0.5, "codecs": [*CODECS], "codec_prob": 0.5}
    heard = [augmentation(**channel)(cut.with_id(f"u{number}"), 3) for number in range(200)]
    again = [augmentation(**channel)(cut.with_id(f"u{number}"), 3) for number in range(200)]
    kinds = [[type(one).__name__ for one in each.recording.transforms or []] for each in heard]
    assert {tuple(kind) for kind in kinds} == {(), ("Played",), ("Coded",), ("Played", "Coded")}
    for name in ("Played", "Coded"):
        assert 70 < sum(name in kind for kind in kinds) < 130
    assert [one.recording.transforms for one in heard] == [one.recording.transforms for one in again]
    assert {len(one.recording.transforms[0].filters) for one in heard if "Played" in str(one.recording.transforms)} > {
        1
    }
    assert heard[0].recording.transforms != augmentation(**channel)(cut.with_id("u0"), 4).recording.transforms
    assert {(one.duration, one.num_samples) for one in heard} == {(2.0, 2 * RATE)}


def test_a_part_with_noise_is_sent_with_it(cut: Cut, tmp_path: Path) -> None:
    noise = {"noise_path": tmp_path / "noise.wav", "noise_mix_prob": 1.0}
    (tmp_path / "noises").mkdir()
    (tmp_path / "noise.wav").rename(tmp_path / "noises/noise.wav")
    noise["noise_path"] = tmp_path / "noises"
    part = cut.truncate(offset=0.5, duration=1.0, preserve_id=True)
    plain = load_cut(augmentation(**noise)(part, 0)).numpy()
    sent = load_cut(augmentation(**noise, codecs=["mulaw"], codec_prob=1.0)(part, 0)).numpy()
    np.testing.assert_array_equal(sent, Coded("mulaw")(plain[None], RATE)[0])


def test_wrong_names(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match=r"train_data\.codecs: expected a list of some of gsm, mulaw, mp3, opus, not"):
        augmentation(codecs=["amr"])
    with pytest.raises(ConfigError, match=r"train_data\.effects: expected a list of some of speed, .* not 'pitch'"):
        augmentation(effects="pitch")
    augmentation(effect_prob=0.3)
    assert "train_data.effect_prob: has no effect without effects" in caplog.text
