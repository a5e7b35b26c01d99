"""The steps that data preparations share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from toolkit.dataio.prepare import (
    AHEAD,
    NAMED,
    Dropped,
    Utterance,
    collect,
    convert_raw,
    describe_audio,
    describe_splits,
    find_audio,
    in_threads,
    read_raw,
    require_files,
    write_splits,
)
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
    for number in range(NAMED):
        dropped.add("without audio", f"utt{number}")
    for _ in range(5000):
        dropped.add("with unreadable audio", "a.wav: empty")
    assert len(dropped) == NAMED + 5000
    lines = [f"dropped {NAMED + 5000}:", f"  {NAMED} without audio:", *(f"    utt{number}" for number in range(NAMED))]
    unreadable = ["  5000 with unreadable audio:", "    a.wav: empty"]
    assert dropped.summary().splitlines() == [*lines, *unreadable]
    dropped.add("without audio", "one more")
    assert dropped.summary().splitlines() == [
        f"dropped {NAMED + 5001}:",
        f"  {NAMED + 1} without audio:",
        *lines[2:],
        "    ...",
        *unreadable,
    ]


def test_what_is_dropped_takes_no_memory() -> None:
    dropped = Dropped()
    for number in range(5000):
        dropped.add("without audio", f"utt{number}")
    assert len(dropped) == 5000
    assert sum(map(len, dropped.reasons.values())) == NAMED + 1


def test_utterances_are_made_at_once_and_collected_in_order(tmp_path: Path) -> None:
    met = threading.Barrier(2, timeout=10)  # one alone would wait here for ever
    pairs = [(f"utt{number}", f"WORD {number}", tmp_path / str(number)) for number in range(200)]

    def make_utterance(words: str, path: Path) -> Utterance:
        if path.name in ("3", "4"):
            met.wait()
        if path.name == "7":
            raise AudioError(f"{path}: empty")
        return {"words": words}

    dropped = Dropped()
    utterances = collect(pairs, make_utterance, dropped)
    assert list(utterances) == [name for name, _, _ in pairs if name != "utt7"]
    assert utterances["utt199"] == {"words": "WORD 199"}
    assert dropped.reasons == {"with unreadable audio": [f"{tmp_path}/7: empty"]}


def test_audio_is_opened_only_a_little_ahead() -> None:
    begun, done = 0, 0

    def numbers() -> Iterator[int]:
        nonlocal begun
        for begun in range(1000):
            yield begun
            assert begun - done <= AHEAD + 1

    for done, (number, made) in enumerate(in_threads(lambda one: one * one, numbers())):
        assert (number, made.result()) == (done, done * done)
    assert done == 999


def test_an_empty_split_says_why(tmp_path: Path) -> None:
    dropped = Dropped()
    dropped.add("without audio", "utt1")
    with pytest.raises(DataError, match=r"no utterance is left for test: .*\ndropped 1:\n  1 without audio:\n    utt1"):
        write_splits(tmp_path / "m", {"train": {"a": {}}, "test": {}}, tmp_path, dropped=dropped)
    assert not (tmp_path / "m").exists()


def test_speakers_are_told_where_they_are_known() -> None:
    one = {"words": "GO ON", "length": 60.0}
    splits = {"train": {"a": one | {"speaker": "ann"}, "b": one | {"speaker": "ben"}}, "test": {"a": one}}
    assert describe_splits(splits).splitlines() == [
        "train: 2 utterances, 2.0 min, 4 words, 2 speakers",
        "test: 1 utterances, 1.0 min, 2 words",
    ]


def test_a_folder_that_is_not_the_corpus(tmp_path: Path) -> None:
    (tmp_path / "wav").mkdir()
    require_files(tmp_path, ["wav"], "AN4")
    with pytest.raises(DataError, match="is not AN4: looked for etc; it holds: wav"):
        require_files(tmp_path, ["wav", "etc"], "AN4")
    with pytest.raises(DataError, match="there is no such folder"):
        require_files(tmp_path / "none", ["wav"], "AN4")
