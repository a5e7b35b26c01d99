"""Commands of a wav.scp: those that only decode a file are understood, all others are refused, and none is run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from toolkit.dataio.cut_audio import load_cut
from toolkit.dataio.kaldi import KaldiFolder
from toolkit.dataio.kaldi_commands import Decoded, decoded_file
from toolkit.errors import ManifestError


@pytest.mark.parametrize(
    ("command", "decoded"),
    [
        ("cat a.wav |", Decoded("a.wav", False)),
        ("flac -c -d -s /data/a.flac |", Decoded("/data/a.flac", False)),
        ("flac -cds 'my talk.flac'|", Decoded("my talk.flac", False)),
        ("/kaldi/tools/sph2pipe_v2.5/sph2pipe -f wav -p a.sph |", Decoded("a.sph", False)),
        ("sph2pipe -f wav -p -c 2 a.sph |", Decoded("a.sph", True)),
        ("sox a.mp3 -r 16000 -b 16 -t wav - |", Decoded("a.mp3", False)),
        ("sox a.mp3 -t wav -c 1 - |", Decoded("a.mp3", True)),
        ("ffmpeg -v 8 -i a.m4a -f wav -ar 16000 -ac 1 pipe:1 |", Decoded("a.m4a", True)),
    ],
)
def test_decoders_name_their_file(command: str, decoded: Decoded) -> None:
    assert decoded_file(command) == decoded


@pytest.mark.parametrize(
    "command",
    [
        "|",
        "rm -rf / |",
        "cat a.wav b.wav |",
        "cat |",
        "cat a.wav; touch b |",
        "cat $(touch b) |",
        "sph2pipe -f wav a.sph | sox - -t wav - |",
        "sox a.wav -t wav - speed 0.9 |",
        "sox -t raw -r 8000 a.raw -t wav - |",
        "sox -v 0.5 a.wav -t wav - |",
        "ffmpeg -ss 3 -i a.wav -f wav - |",
        "flac -cd --skip=1000 a.flac |",
        "cat 'a.wav |",
        "| cat a.wav",
    ],
)
def test_what_does_more_is_refused(command: str) -> None:
    assert decoded_file(command) is None


def test_the_file_of_a_command_is_heard_and_no_command_runs(tmp_path: Path) -> None:
    samples = np.round(8000 * np.sin(np.arange(16000) / 9)).astype(np.int16)
    soundfile.write(tmp_path / "a.flac", samples, 16000)
    (tmp_path / "text").write_text("u YES\n")
    (tmp_path / "segments").write_text("u rec 0.25 0.75\n")
    (tmp_path / "wav.scp").write_text("rec flac -c -d -s a.flac |\n")
    (cut,) = KaldiFolder(tmp_path)
    np.testing.assert_array_equal(np.round(load_cut(cut).numpy() * 32768), samples[4000:12000])
    (tmp_path / "wav.scp").write_text(f"rec cat a.flac; touch {tmp_path}/ran |\n")
    with pytest.raises(ManifestError, match=r"comes from a command .* that does more than decode a file"):
        KaldiFolder(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_one_of_several_channels_is_refused(tmp_path: Path) -> None:
    for channels, name in ((1, "mono"), (2, "stereo")):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros((800, channels)), 8000)
    (tmp_path / "wav.scp").write_text("a sph2pipe -f wav -p -c 1 mono.wav |\n")
    assert [cut.num_samples for cut in KaldiFolder(tmp_path)] == [800]
    (tmp_path / "wav.scp").write_text("a sph2pipe -f wav -p -c 2 stereo.wav |\n")
    with pytest.raises(ManifestError, match="the audio of 'a' is one of several channels"):
        KaldiFolder(tmp_path)
