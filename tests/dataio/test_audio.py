"""Audio of any kind as one waveform: from whatever holds it, at any rate, of any channel."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from toolkit.dataio.audio import load_audio, name_of, read_audio
from toolkit.errors import AudioError

RATE = 16000


def tone(hertz: float, rate: int = RATE, seconds: float = 1.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.fixture
def flac(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.flac", np.stack([tone(300), tone(700)], axis=1), RATE)
    return tmp_path / "a.flac"


def test_whatever_holds_it_it_sounds_the_same(flac: Path) -> None:
    expected = load_audio(flac)
    with flac.open("rb") as file:
        for audio in (str(flac), flac.read_bytes(), io.BytesIO(flac.read_bytes()), file):
            torch.testing.assert_close(load_audio(audio), expected, rtol=0, atol=0)
    samples, _ = soundfile.read(flac, dtype="float32")
    for audio in (samples.T, samples.T.astype(np.float64), torch.from_numpy(samples.T.copy())):
        torch.testing.assert_close(load_audio(audio), expected, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["int16", "int32"])
def test_whole_numbers_are_scaled(flac: Path, kind: str) -> None:
    samples, _ = soundfile.read(flac, dtype=kind)
    torch.testing.assert_close(load_audio(samples.T), load_audio(flac), rtol=0, atol=1e-7)


def test_bytes_as_samples_are_around_128() -> None:
    assert load_audio(np.array([0, 128, 192], np.uint8)).tolist() == [-1.0, 0.0, 0.5]


@pytest.mark.parametrize("channel", [0, 1])
def test_a_channel_can_be_chosen(flac: Path, channel: int) -> None:
    np.testing.assert_allclose(load_audio(flac, channel=channel), tone((300, 700)[channel]), atol=1e-4)
    np.testing.assert_allclose(load_audio(flac), (tone(300) + tone(700)) / 2, atol=1e-4)


@pytest.mark.parametrize("rate", [8000, 11025, 22051, 44100, 48000, 96000])
def test_every_rate_becomes_the_models(rate: int) -> None:
    wav = load_audio(tone(1000, rate), RATE, given_rate=rate)
    assert len(wav) == pytest.approx(RATE, abs=1)
    middle = slice(1000, 15000)
    np.testing.assert_allclose(wav[middle], tone(1000)[: len(wav)][middle], atol=2e-5)


def test_what_the_models_rate_cannot_hold_is_left_out() -> None:
    assert load_audio(tone(9000, 44100), RATE, given_rate=44100)[1000:-1000].abs().max() < 1e-5


@pytest.mark.parametrize(("name", "rate"), [("a.wav", 44100), ("a.mp3", 44100), ("a.m4a", 44100)])
def test_blocks_are_the_whole(tmp_path: Path, name: str, rate: int) -> None:
    if name.endswith("m4a"):
        write_m4a(tmp_path / name, tone(500, rate, 35.0), rate)
    else:
        soundfile.write(tmp_path / name, tone(500, rate, 35.0), rate)
    blocks = list(read_audio(tmp_path / name, RATE))
    assert len(blocks) >= 4
    assert max(map(len, blocks)) < 11 * RATE
    wav = torch.cat(blocks)
    assert len(wav) == pytest.approx(35 * RATE, abs=0.1 * RATE)
    spectrum = torch.fft.rfft(wav[: 30 * RATE]).abs()
    assert spectrum.argmax() == 500 * 30


def write_m4a(path: Path, samples: np.ndarray, rate: int) -> None:
    import av

    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("aac", rate=rate, layout="mono")
        for first in range(0, len(samples), 1024):
            frame = av.AudioFrame.from_ndarray(samples[None, first : first + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate, first
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_a_video_that_is_cut_off_within_its_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    write_m4a(path, tone(500, RATE, 30.0), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match=rf"^{path}: (cut off: 1\d\.\d of 30\.\d seconds|not audio)"):
        load_audio(path)


def test_samples_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(32000))
    with pytest.raises(AudioError, match=r"a\.raw: samples without a header"):
        load_audio(tmp_path / "a.raw")
    with pytest.raises(AudioError, match=r"b\.raw: no such audio file"):
        load_audio(tmp_path / "b.raw")


def test_only_paths_have_names(flac: Path) -> None:
    assert (name_of(flac), name_of(str(flac)), name_of(b""), name_of(torch.zeros(1))) == (str(flac), str(flac), "", "")


@pytest.mark.parametrize(
    ("audio", "said"),
    [
        (b"", r"bytes of audio: the file is empty"),
        (b"not a sound " * 50, r"bytes of audio: not audio"),
        (io.BytesIO(b"RIFF\x00\x00\x00\x00WAVE"), r"BytesIO of audio: "),
        (np.zeros((0, 100)), r"waveform: expected samples \(S,\) or \(channels, S\).* shape \(0, 100\)"),
        (np.zeros((16000, 2)), r"waveform: expected samples .* shape \(16000, 2\)"),
        (np.zeros((1000, 2)), r"waveform: expected samples .* shape \(1000, 2\)"),
        (io.StringIO("words"), "a file: is opened for text; open it with mode 'rb'"),
        (np.zeros((1, 2, 100)), r"waveform: expected samples .* shape \(1, 2, 100\)"),
        (torch.tensor(0.5), r"waveform: expected samples .* shape \(\)"),
        (np.array([0.1, np.nan]), "waveform: holds samples that are not finite numbers"),
        (np.array([0.1, np.inf]), "waveform: holds samples that are not finite numbers"),
        (np.array([300.0, -20000.0]), r"waveform: samples of 20000; expected \[-1, 1\]: divide by 32768"),
        (np.array([1, 2]), "waveform: samples of type int64; expected floating point, int16, int32 or uint8"),
        (np.array([True]), "waveform: samples of type bool"),
        (17, "int: expected the path of a file, its bytes, the file opened for reading, or an array"),
    ],
)
def test_what_is_no_audio_is_refused(audio: object, said: str) -> None:
    with pytest.raises(AudioError, match=f"^{said}"):
        load_audio(audio)


def test_a_wav_without_channels(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(300), RATE)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[22:24] = bytes(2)
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(AudioError, match=r"a\.wav: "):
        load_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("channel", [2, -1])
def test_a_channel_that_is_not_there_is_named(flac: Path, channel: int) -> None:
    with pytest.raises(AudioError, match=rf"a\.flac: has no channel {channel}, only 0 to 1"):
        load_audio(flac, channel=channel)


@pytest.mark.parametrize("rate", [0, -1, 16, 10**7])
def test_a_rate_that_is_none_is_refused(rate: int) -> None:
    with pytest.raises(AudioError, match=f"waveform: a sample rate of {rate} Hz; expected 1000 to 768000"):
        load_audio(tone(300), given_rate=rate)


def test_clipped_audio_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    load_audio(np.clip(4 * tone(300, seconds=30.0), -1, 1))
    (record,) = caplog.records
    assert "waveform: clipped: 66.2 % of its samples are at full scale" in record.getMessage()
    caplog.clear()
    load_audio(1.99 * tone(300))
    assert not caplog.records


def test_channels_that_cancel_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wav = 0.5 * tone(300)
    noise = np.random.default_rng(1).normal(0, 0.1, (64, RATE))
    soundfile.write(tmp_path / "a.wav", np.stack([wav, -wav], axis=1), RATE)
    load_audio(tmp_path / "a.wav")
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{tmp_path}/a.wav: its channels cancel each other out, words may be lost; "
        "choose one (--channel 0, or channel=0)"
    )
    caplog.clear()
    load_audio(tmp_path / "a.wav", channel=1)
    for fine in (np.stack([wav, wav]), np.stack([wav, 0 * wav]), np.zeros((2, 100)), noise):
        load_audio(fine)
    assert not caplog.records


def test_numbers_of_the_other_byte_order(flac: Path) -> None:
    samples = soundfile.read(flac, dtype="int16", always_2d=True)[0].T
    for kind in (">i2", ">i4", ">f4", ">f8"):
        shift = 16 if kind == ">i4" else 0
        scale = 2.0**-15 if "f" in kind else 1
        other = (samples.astype(np.float64) * scale * 2**shift).astype(kind)
        torch.testing.assert_close(load_audio(other), load_audio(samples))


def test_a_file_that_was_read_before_is_at_its_end(flac: Path) -> None:
    with flac.open("rb") as file:
        file.read()
        with pytest.raises(AudioError, match=r"a\.flac: was read to its end before; call its seek\(0\)"):
            load_audio(file)
        file.seek(0)
        assert len(load_audio(file))


def test_an_error_names_no_copy_and_no_path_twice(tmp_path: Path) -> None:
    (tmp_path / "a.m4a").write_bytes(b"not a sound " * 50)
    for audio in (tmp_path / "a.m4a", (tmp_path / "a.m4a").read_bytes()):
        with pytest.raises(AudioError) as caught:
            load_audio(audio)
        assert "/tmp/audio-" not in str(caught.value)
        assert "Errno" not in str(caught.value)
        assert str(caught.value).count("a.m4a") == isinstance(audio, Path)
