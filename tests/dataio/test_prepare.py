"""The steps that data preparations share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from toolkit.dataio.prepare import Dropped, convert_raw, describe_audio, find_audio, read_raw, require_files
from toolkit.errors import AudioError, DataError


@pytest.mark.parametrize("order", ["<i2", ">i2"])
@pytest.mark.parametrize("level", [3, 300, 30000])
def test_byte_order_is_found_at_any_level(tmp_path: Path, order: str, level: int) -> None:
    rng = np.random.default_rng(level)
    smooth = np.convolve(rng.normal(size=4100), np.hanning(100), mode="valid")
    samples = np.round(level * smooth / np.abs(smooth).max()).astype(np.int16)
    (tmp_path / "a.raw").write_bytes(samples.astype(order).tobytes())
    np.testing.assert_array_equal(read_raw(tmp_path / "a.raw"), samples)


@pytest.mark.parametrize("data", [b"", b"abc"])
def test_raw_files_hold_whole_samples(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.raw").write_bytes(data)
    with pytest.raises(AudioError, match=r"a\.raw: \d bytes are no 16-bit samples"):
        read_raw(tmp_path / "a.raw")


def test_converted_raw_is_renewed_when_its_source_is(tmp_path: Path) -> None:
    source, target = tmp_path / "a.raw", tmp_path / "audio/a.flac"
    source.write_bytes(np.arange(100, dtype="<i2").tobytes())
    convert_raw(source, target, 16000)
    source.write_bytes(np.arange(200, dtype="<i2").tobytes())
    import os

    os.utime(source, (2**32, 2**32))
    convert_raw(source, target, 16000)
    np.testing.assert_array_equal(soundfile.read(target, dtype="int16")[0], np.arange(200))
    assert [one.name for one in target.parent.iterdir()] == ["a.flac"]


def test_of_several_containers_the_first_is_taken(tmp_path: Path) -> None:
    for name in ("x/a.raw", "x/a.wav", "y/b.SPH", "y/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    dropped = Dropped()
    assert find_audio(tmp_path, dropped) == {"a": tmp_path / "x/a.wav", "b": tmp_path / "y/b.SPH"}
    assert len(dropped) == 0


def test_of_one_name_in_several_folders_the_first_is_taken_and_the_others_are_counted(tmp_path: Path) -> None:
    for name in ("x/a.wav", "y/a.flac"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    dropped = Dropped()
    assert find_audio(tmp_path, dropped) == {"a": tmp_path / "x/a.wav"}
    assert dropped.reasons == {"with the name of another file": [f"{tmp_path}/y/a.flac ({tmp_path}/x/a.wav is taken)"]}


def test_where_audio_is_found_again(tmp_path: Path) -> None:
    root, manifests = tmp_path / "corpus", tmp_path / "corpus/manifests"
    for folder in (root, manifests, tmp_path / "elsewhere"):
        folder.mkdir(parents=True)
        soundfile.write(folder / "a.wav", np.zeros((80, 2)), 8000)
    fields = {"length": 0.01, "sample_rate": 8000, "num_samples": 80, "channels": 2}
    assert describe_audio(root / "a.wav", root) == {"wav": "{data_root}/a.wav"} | fields
    assert describe_audio(manifests / "a.wav", root, manifests)["wav"] == "a.wav"
    assert describe_audio(tmp_path / "elsewhere/a.wav", root)["wav"] == str(tmp_path / "elsewhere/a.wav")


def test_summary_names_the_first_of_each_reason() -> None:
    dropped = Dropped()
    assert dropped.summary() == "nothing was dropped"
    for number in range(5):
        dropped.add("without audio", f"utt{number}")
    dropped.add("with unreadable audio", "a.wav: empty")
    assert len(dropped) == 6
    assert dropped.summary(named=2).splitlines() == [
        "dropped 6:",
        "  5 without audio:",
        "    utt0",
        "    utt1",
        "    ... and 3 more",
        "  1 with unreadable audio:",
        "    a.wav: empty",
    ]


def test_a_folder_that_is_not_the_corpus(tmp_path: Path) -> None:
    (tmp_path / "wav").mkdir()
    require_files(tmp_path, ["wav"], "AN4")
    with pytest.raises(DataError, match="is not AN4: looked for etc; it holds: wav"):
        require_files(tmp_path, ["wav", "etc"], "AN4")
    with pytest.raises(DataError, match="there is no such folder"):
        require_files(tmp_path / "none", ["wav"], "AN4")
