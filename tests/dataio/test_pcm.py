"""Raw samples from a pipe."""

from __future__ import annotations

import io

import numpy as np
import pytest

from toolkit.dataio.pcm import container_of, read_pcm
from toolkit.errors import AudioError


class Dribble(io.BytesIO):
    """A pipe through which three bytes come at a time."""

    def read1(self, size: int = -1) -> bytes:
        return self.read(min(3, size))


def test_samples_are_scaled_and_whole_wherever_the_pipe_cuts() -> None:
    samples = np.arange(-32768, 32768, 655, dtype="<i2")
    found = np.concatenate(list(read_pcm(Dribble(samples.tobytes()), 16000, 16000)))
    np.testing.assert_array_equal(found, samples / np.float32(32768))


def test_nothing_comes_out_of_an_empty_pipe() -> None:
    assert list(read_pcm(io.BytesIO(), 16000, 16000)) == []


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000])
def test_another_rate_is_resampled_as_it_comes(rate: int) -> None:
    seconds = np.arange(rate) / rate
    tone = (0.5 * np.sin(2 * np.pi * 440 * seconds) * 32767).astype("<i2")
    found = np.concatenate(list(read_pcm(Dribble(tone.tobytes()), rate, 16000)))
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert abs(len(found) - 16000) <= 1
    np.testing.assert_allclose(found[200:15800], expected[200:15800], atol=0.01)


@pytest.mark.parametrize(
    ("begin", "kind"),
    [
        (b"RIFF\x24\x08", "WAV"),
        (b"fLaC\x00\x00", "FLAC"),
        (b"OggS\x00\x02", "Ogg"),
        (b"ID3\x02\x00", "MP3"),
        (b"\xff\xfb\x90\x64", "MP3"),
        (b"\xff\xf3\x40\xc0", "MP3"),
        (b"\x1aE\xdf\xa3\x01", "WebM or Matroska"),
        (b"\x00\x00\x00\x20ftypM4A ", "MP4 or M4A"),
        (b"FORM\x00\x01", "AIFF"),
        (b"NIST_1A\n", "SPHERE"),
    ],
)
@pytest.mark.parametrize("pipe", [io.BytesIO, Dribble])
def test_a_file_of_a_container_is_named(begin: bytes, kind: str, pipe: type[io.BytesIO]) -> None:
    with pytest.raises(AudioError, match=f"the input is a {kind} file: expected raw samples"):
        list(read_pcm(pipe(begin + bytes(100)), 16000, 16000))


@pytest.mark.parametrize("samples", [[-1, -1, -1], [-1, 0, 5], [255, -256, 7], [-1025, -1, 0]])
def test_samples_are_not_taken_for_a_file(samples: list[int]) -> None:
    assert container_of(np.array(samples, "<i2").tobytes()) == ""


def test_half_a_sample_at_the_end_is_reported_after_all_others() -> None:
    pieces = read_pcm(io.BytesIO(bytes(41)), 16000, 16000)
    assert len(next(pieces)) == 20
    with pytest.raises(AudioError, match="the input ends in the middle of a sample"):
        next(pieces)
