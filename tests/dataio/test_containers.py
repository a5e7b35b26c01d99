"""Audio in any container, rate and channel count becomes the same mono waveform; damage has one clear error."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch

from toolkit.dataio.audio import load_audio
from toolkit.dataio.containers import FFMPEG_OPTIONS, AudioInfo, decode_audio, header_seconds, probe_audio
from toolkit.errors import AudioError, NotAudioError

TONE_HZ = 440


def tone(sample_rate: int, channels: int = 1, seconds: float = 0.8) -> np.ndarray:
    """(S, C): a tone on the first channel, silence on the others."""
    samples = np.zeros((round(seconds * sample_rate), channels), dtype=np.float32)
    samples[:, 0] = 0.5 * np.sin(2 * np.pi * TONE_HZ * np.arange(len(samples)) / sample_rate)
    return samples


def save(path: Path, sample_rate: int, channels: int, seconds: float = 0.8) -> None:
    samples = tone(sample_rate, channels, seconds)
    if path.suffix == ".m4a":
        return save_with_ffmpeg(path, samples, sample_rate)
    kind = {".sph": "NIST", ".opus": "OGG"}.get(path.suffix, path.suffix[1:].upper())
    subtype = {"NIST": "PCM_16", ".opus": "OPUS"}.get(path.suffix if path.suffix == ".opus" else kind)
    return soundfile.write(path, samples, sample_rate, format=kind, subtype=subtype)


def save_with_ffmpeg(path: Path, samples: np.ndarray, sample_rate: int, codec: str = "aac") -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=sample_rate, layout="stereo" if samples.shape[1] == 2 else "mono")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout=stream.layout.name)
        frame.sample_rate, frame.time_base = sample_rate, Fraction(1, sample_rate)
        container.mux([*stream.encode(frame), *stream.encode(None)])


@pytest.mark.parametrize(
    ("name", "sample_rate", "channels"),
    [
        ("a.wav", 16000, 1),
        ("a.wav", 8000, 2),
        ("a.flac", 44100, 2),
        ("a.flac", 48000, 1),
        ("a.ogg", 22050, 1),
        ("a.opus", 48000, 2),
        ("a.mp3", 16000, 1),
        ("a.mp3", 44100, 2),
        ("a.sph", 16000, 1),
        ("a.m4a", 44100, 2),
        ("a.m4a", 16000, 1),
    ],
)
def test_every_container_rate_and_channel_count(tmp_path: Path, name: str, sample_rate: int, channels: int) -> None:
    save(tmp_path / name, sample_rate, channels)
    wav = load_audio(tmp_path / name)
    assert wav.dtype == torch.float32
    assert wav.ndim == 1
    # Lossy coders add up to two frames of their own.
    assert len(wav) / 16000 == pytest.approx(0.8, abs=0.1)
    middle = wav[4000:8000]
    spectrum = torch.fft.rfft(middle * torch.hann_window(4000)).abs()
    assert spectrum.argmax() * 16000 / 4000 == pytest.approx(TONE_HZ, abs=4)
    assert middle.abs().max() == pytest.approx(0.5 / channels, rel=0.1)
    info = probe_audio(tmp_path / name)
    samples, rate = decode_audio(tmp_path / name)
    assert (info.num_samples, info.channels, info.sample_rate) == (samples.shape[1], samples.shape[0], rate)


def test_lossless_audio_is_untouched(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, 5000).astype(np.int16)
    soundfile.write(tmp_path / "a.flac", samples, 16000)
    np.testing.assert_array_equal(load_audio(tmp_path / "a.flac").numpy() * 2**15, samples)


@pytest.mark.parametrize("name", ["a.flac", "a.m4a"])
def test_a_part_is_a_slice(tmp_path: Path, name: str) -> None:
    save(tmp_path / name, 16000, 1)
    whole, _ = decode_audio(tmp_path / name)
    np.testing.assert_array_equal(decode_audio(tmp_path / name, 0.25, 0.125)[0], whole[:, 4000:6000])
    np.testing.assert_array_equal(decode_audio(tmp_path / name, 0.25)[0], whole[:, 4000:])


def test_info_is_seconds_and_samples(tmp_path: Path) -> None:
    save(tmp_path / "a.wav", 8000, 2)
    assert probe_audio(tmp_path / "a.wav") == AudioInfo(8000, 6400, 2)
    assert probe_audio(tmp_path / "a.wav").length == 0.8


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _: None, "no such audio file"),
        (lambda path: path.mkdir(), "a folder"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_text("hello " * 100), "not audio"),
        (lambda path: soundfile.write(path, np.zeros(0), 16000, format="WAV"), "zero samples"),
    ],
)
def test_damage_names_the_file_and_the_reason(tmp_path: Path, make: object, said: str) -> None:
    path = tmp_path / "a.audio"
    make(path)
    for read in (probe_audio, decode_audio, load_audio):
        with pytest.raises(AudioError, match=f"^{path}: .*{said}"):
            read(path)


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "opus", "mp3", "sph", "aiff", "au", "m4a"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_file_that_is_cut_off(tmp_path: Path, kind: str, share: float) -> None:
    path = tmp_path / f"a.{kind}"
    save(path, 48000, 1, seconds=5)
    probe_audio(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    for read in (probe_audio, decode_audio):
        with pytest.raises(AudioError, match=f"^{path}: (damaged or )?(cut off|not audio)"):
            read(path)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000])  # FFmpeg's, SoX's
def test_a_wav_that_was_written_to_a_pipe(tmp_path: Path, size: int) -> None:
    soundfile.write(tmp_path / "a.wav", tone(16000), 16000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[40:44] = size.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    assert probe_audio(tmp_path / "a.wav").length == 0.8


def test_samples_that_are_not_numbers(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([0.0, np.nan]), 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"a\.wav: .*not finite"):
        load_audio(tmp_path / "a.wav")


def test_a_video_without_sound(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), dtype=np.uint8), format="rgb24")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(AudioError, match="no audio stream"):
        load_audio(tmp_path / "a.mp4")


def test_a_flac_that_does_not_say_how_long_it_is(tmp_path: Path) -> None:
    """As a browser or ffmpeg writes it to a pipe: the number of samples in its header, 36 bits, is 0."""
    path = tmp_path / "piped.flac"
    soundfile.write(path, tone(16000), 16000)
    header = bytearray(path.read_bytes())
    header[21] &= 0xF0
    header[22:26] = bytes(4)
    path.write_bytes(header)
    samples, rate = decode_audio(path)
    assert rate == 16000
    np.testing.assert_allclose(samples[0], tone(16000)[:, 0], atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "codec"),
    [
        *(("wav", "pcm_s16le"), ("aiff", "pcm_s16be"), ("au", "pcm_s16be"), ("flac", "flac"), ("mp3", "libmp3lame")),
        *(("ogg", "libopus"), ("opus", "libopus"), ("webm", "libopus"), ("mkv", "libopus"), ("m4a", "aac")),
        *(("mp4", "aac"), ("mov", "aac"), ("3gp", "aac"), ("aac", "aac"), ("avi", "libmp3lame"), ("caf", "pcm_s16le")),
        *(("flv", "aac"), ("ts", "aac"), ("mpg", "mp2"), ("ac3", "ac3"), ("w64", "pcm_s16le")),
    ],
)
def test_ffmpeg_may_read_every_container_that_holds_sound(tmp_path: Path, kind: str, codec: str) -> None:
    path = tmp_path / f"a.{kind}"
    save_with_ffmpeg(path, tone(48000, 2), 48000, codec)
    with av.open(str(path), options=FFMPEG_OPTIONS) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) / 48000 == pytest.approx(0.8, abs=0.1)
    assert decode_audio(path)[0].shape[1] / 48000 == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize(
    "playlist",
    [
        "ffconcat version 1.0\nfile secret.m4a\n",
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:{folder}/secret.ts\n#EXT-X-ENDLIST\n",
    ],
)
def test_no_playlist_leads_to_other_files(tmp_path: Path, playlist: str) -> None:
    for kind in ("m4a", "ts"):
        save_with_ffmpeg(tmp_path / f"secret.{kind}", tone(48000), 48000)
    path = tmp_path / "upload.m3u8"
    path.write_text(playlist.format(folder=tmp_path))
    with av.open(str(path)) as container:  # FFmpeg by itself reads them
        assert next(container.decode(audio=0)).samples
    for read in (decode_audio, probe_audio, header_seconds):
        with pytest.raises(NotAudioError, match=f"^{path}: not audio"):
            read(path)


def test_a_name_that_is_not_in_utf_8(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(16000), 16000)
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.wav"))
    (tmp_path / "a.wav").rename(path)
    for read in (decode_audio, probe_audio, header_seconds):
        with pytest.raises(AudioError, match="its name is not in UTF-8"):
            read(path)


def test_probing_mp3_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 40_000)
    noise[10_000:30_000] *= 0.01  # frames that leave bytes to those after them
    for number in range(20):
        soundfile.write(tmp_path / "a.mp3", np.roll(noise, 997 * number), 16000, format="MP3")
        assert probe_audio(tmp_path / "a.mp3").num_samples == 40_000
    assert capfd.readouterr() == ("", "")
