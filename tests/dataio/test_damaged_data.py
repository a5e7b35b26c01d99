"""Every damage of data is one error that names the file, the line and what is wrong, or a counted warning."""

from __future__ import annotations

import io
import json
import logging
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import numpy as np
import pytest
import soundfile
from lhotse import CutSet

from toolkit.dataio.cut_audio import load_cut
from toolkit.dataio.cutset import read_cutset_from_config
from toolkit.errors import AudioError, ConfigError, DataError, ManifestError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a second of audio, in which every sample differs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", np.arange(16000) / 16000, 16000, subtype="FLOAT")
    return tmp_path


def line(**fields: Any) -> dict[str, Any]:
    values = {"audio_filepath": "a.wav", "duration": 1.0, "text": "A"} | fields
    return {key: value for key, value in values.items() if value is not None}


def write(path: str, lines: Iterable[Any]) -> str:
    texts = (one if isinstance(one, str) else json.dumps(one) for one in lines)
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


def tar(path: str, names: Iterable[str]) -> str:
    content = Path("a.wav").read_bytes()
    with tarfile.open(path, "w") as file:
        for name in names:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            file.addfile(header, io.BytesIO(content))
    return path


def read(**config: Any) -> CutSet:
    return read_cutset_from_config(config)[0]


@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        ('{"audio_filepath": "a.wav", "dura', "line 2: Unterminated string"),
        ("[1]", "line 2: expected a JSON object, not a list"),
        (line(audio_filepath=None), "line 2: no field 'audio_filepath'"),
        (line(duration=None), "line 2: no field 'duration'"),
        (line(duration=-1), "line 2: 'duration' is -1; expected seconds above 0"),
        (line(duration="long"), "line 2: could not convert string to float: 'long'"),
        (line(audio_filepath="b.wav"), "line 2: .*b.wav: no such audio file"),
        (line(duration=1.5), "line 2: utterance 'a.wav': has 1.5 s, but its audio has 1.000 s"),
        (line(offset=0.9, duration=0.5), "line 2: .* has 0.5 s from 0.9 s on, but its audio has 1.000 s"),
    ],
    ids=range(9),
)
def test_a_damaged_line_of_a_nemo_manifest(damaged: Any, said: str) -> None:
    write("m.jsonl", [line(), damaged, line()])
    with pytest.raises(ManifestError, match=f"^m.jsonl: {said}"):
        list(read(input_cfg=[{"type": "nemo", "manifest_filepath": "m.jsonl"}]))


def test_audio_that_is_shorter_than_its_manifest_says_is_an_error_once_it_is_read() -> None:
    write("m.jsonl", [line(duration=1.5, sampling_rate=16000)])
    (cut,) = read(manifest_filepath="m.jsonl")
    with pytest.raises(AudioError, match=r"utterance 'a.wav': a.wav: not what the manifest says"):
        load_cut(cut)


@pytest.mark.parametrize("rate", [{}, {"sampling_rate": 16000}])
@pytest.mark.parametrize(("offset", "duration"), [(0.0, 0.25), (0.25, 0.5), (0.75, 0.25)])
def test_a_stretch_of_a_file(offset: float, duration: float, rate: dict[str, int]) -> None:
    """With both ``offset`` and ``sampling_rate`` NeMo took the stretch for the whole file and failed to cut it."""
    write("m.jsonl", [line(offset=offset, duration=duration, **rate)])
    (cut,) = read(manifest_filepath="m.jsonl")
    assert cut.id == f"a.wav-{round(offset * 100):06d}-{round(duration * 100):06d}"
    expected = np.arange(offset * 16000, (offset + duration) * 16000) / 16000
    np.testing.assert_allclose(load_cut(cut).numpy(), expected, atol=1e-7)
    assert (cut.duration, cut.supervisions[0].duration) == (duration, duration)


def test_fields_of_a_nemo_manifest() -> None:
    fields = {"sentence": "B", "language": "de", "speaker": "ann", "x": 3}
    write("sub/m.jsonl", [line(audio_filepath="../a.wav", duration=0.5, **fields)])
    (cut,) = read(manifest_filepath="sub/m.jsonl", text_field="sentence", lang_field="language")
    supervision = cut.supervisions[0]
    assert (supervision.text, supervision.language, supervision.speaker, cut.x) == ("B", "de", "ann", 3)
    # Half of the file: what the manifest says is what a batch is planned with.
    assert (cut.duration, len(load_cut(cut))) == (0.5, 8000)


@pytest.fixture
def tarred() -> dict[str, Any]:
    """Three entries, of which the tar lacks one; it has another that no entry names."""
    write("m.json", [line(audio_filepath="x.wav"), line(audio_filepath="y.wav"), line(audio_filepath="z.wav")])
    return {"manifest_filepath": "m.json", "tarred_audio_filepaths": tar("t.tar", ["w.wav", "x.wav", "z.wav"])}


def test_a_missing_member_of_a_tar(tarred: dict[str, Any]) -> None:
    with pytest.raises(ManifestError, match=r"m.json: line 2: t.tar: has no member 'y.wav'.*skip_missing"):
        list(read(**tarred, force_finite=True))


def test_missing_members_are_left_out_and_counted(tarred: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    cuts = read(**tarred, force_finite=True, skip_missing_manifest_entries=True)
    assert [cut.id for cut in cuts] == ["x.wav", "z.wav"]
    assert "m.json: 1 of 3 entries have no member in t.tar" in caplog.text


def test_several_utterances_of_one_member() -> None:
    """As NeMo's conversion writes them: the file once, and its second utterance as ``-sub1``."""
    names = ["x.wav", "x-sub1.wav", "x-sub2.wav"]
    write("m.json", [line(audio_filepath=name, offset=0.25 * n, duration=0.25) for n, name in enumerate(names)])
    cuts = list(read(manifest_filepath="m.json", tarred_audio_filepaths=tar("t.tar", ["x.wav"]), force_finite=True))
    assert [len(load_cut(cut)) for cut in cuts] == [4000] * 3
    np.testing.assert_allclose(load_cut(cuts[2]).numpy()[0], 0.5)


@pytest.mark.parametrize(
    ("manifests", "tars", "error", "said"),
    [
        ("m_{0..1}.json", "t_{0..2}.tar", ConfigError, "tarred_audio_filepaths: 3 tars for 2 manifests"),
        ("m_0.json", "t_{0..1}.tar", ManifestError, "m_0.json: no 'shard_id' is the number of one of 2 tars"),
        ("m_0.json", "none.tar", ManifestError, "none.tar: cannot be read"),
        ("m_0.json", "a.wav", ManifestError, "a.wav: not a whole tar file without compression"),
        ("m_0.json", "cut.tar", ManifestError, "cut.tar: not a whole tar file without compression"),
        ("none.json", "t_0.tar", ManifestError, "none.json: cannot be read"),
    ],
)
def test_impossible_tars(manifests: str, tars: str, error: type[Exception], said: str) -> None:
    for shard in range(3):
        write(f"m_{shard}.json", [line(audio_filepath="x.wav")])
        tar(f"t_{shard}.tar", ["x.wav"])
    Path("cut.tar").write_bytes(Path("t_0.tar").read_bytes()[:2000])
    with pytest.raises(error, match=said):
        list(read(manifest_filepath=manifests, tarred_audio_filepaths=tars, force_finite=True))


def test_entries_of_other_tars_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    write("m.json", [line(audio_filepath="x.wav", shard_id=shard) for shard in range(3)])
    for shard in range(3):
        tar(f"t_{shard}.tar", ["x.wav"])
    config = {"manifest_filepath": "m.json", "tarred_audio_filepaths": "t_{1..2}.tar", "force_finite": True}
    assert [cut.shard_id for cut in read(**config)] == [1, 2]
    assert "m.json: 1 of 3 entries are of other tars" in caplog.text


@pytest.mark.parametrize("half", [True, False])
def test_damaged_audio_in_a_tar(half: bool) -> None:
    soundfile.write("a.flac", np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
    whole = Path("a.flac").read_bytes()
    Path("a.wav").write_bytes(whole[: len(whole) // 2] if half else b"no audio" * 99)
    write("m.json", [line(audio_filepath="x.flac", sampling_rate=16000)])
    (cut,) = read(manifest_filepath="m.json", tarred_audio_filepaths=tar("t.tar", ["x.flac"]), force_finite=True)
    said = r"^utterance 'x.flac': t.tar: member x.flac: damaged or not audio .*; make the tar again$"
    with pytest.raises(AudioError, match=said):
        load_cut(cut)


def test_a_shuffling_buffer_of_tarred_cuts_holds_no_audio() -> None:
    write("m.json", [line(audio_filepath="x.wav")])
    (cut,) = read(manifest_filepath="m.json", tarred_audio_filepaths=tar("t.tar", ["x.wav"]), force_finite=True)
    assert not cut.has_features
    assert not cut.recording.is_in_memory
    assert len(str(cut)) < 2000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (["ID,wav,duration,wrd", "a,a.wav,1.0"], "line 2: 3 fields, expected 4"),
        (["ID,wav,duration,wrd", "a,a.wav,long,A"], "line 2: could not convert string to float: 'long'"),
        (["ID,wav,duration,wrd", "a,a.wav,1.0,"], "line 2: utterance 'a': field 'words' is missing"),
        (["ID,wav,duration,wrd", "a,b.wav,1.0,A"], "line 2: utterance 'a': no audio file b.wav"),
        (["ID,wav,duration,wrd", "a,a.wav,1.0,A", "a,a.wav,1.0,A"], "line 3: utterance 'a' appears twice"),
        (["ID,wav,duration,wrd", '"a",a.wav,1.0,"A', 'B"', "b,a.wav"], "line 4: 2 fields, expected 4"),
        (["wav,duration,wrd"], "has no column 'ID'; expected the columns ID, duration, wav, spk_id, wrd"),
        (["ID,wav,duration,wrd"], "the manifest holds no utterance"),
    ],
)
def test_damaged_csv(content: list[str], said: str) -> None:
    write("m.csv", content)
    with pytest.raises(ManifestError, match=f"^m.csv: {said}"):
        read(manifest_filepath="m.csv")


def test_csv_whose_fields_go_on_in_the_next_line() -> None:
    write("m.csv", ["ID,wav,duration,wrd,spk_id,mood", '"a",a.wav,1.0,"A', 'B",ann,good', "", "b,a.wav,1.0,C,ann,"])
    cuts = list(read(manifest_filepath="m.csv"))
    assert [(cut.id, cut.supervisions[0].text, cut.supervisions[0].speaker) for cut in cuts] == [
        ("a", "A\nB", "ann"),
        ("b", "C", "ann"),
    ]
    assert cuts[0].mood == "good"


def json_lines(*entries: str) -> list[str]:
    return ["{", *entries, "}"]


A = '"a": {"wav": "a.wav", "length": 1.0, "words": "A"}'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (json_lines(f"{A},", A), "line 3: utterance 'a' appears twice"),
        (json_lines(A, A.replace('"a"', '"b"', 1)), "damaged JSON at line 3"),
        (json_lines(f"{A},"), "damaged JSON at line 3"),
        (["{", f"{A},"], "damaged JSON at line 3"),
        (["{", A], "damaged JSON at line 3"),
        (json_lines(A.replace("1.0", "0")), "line 2: utterance 'a': 'length' is 0"),
        (json_lines(A.replace("a.wav", "b.wav")), "line 2: utterance 'a': no audio file b.wav"),
        (json_lines(), "the manifest holds no utterance"),
    ],
)
def test_damaged_json_of_one_utterance_a_line(content: list[str], said: str) -> None:
    write("m.json", content)
    with pytest.raises(ManifestError, match=f"^m.json: {said}"):
        read(manifest_filepath="m.json")


def test_audio_that_moved_after_its_manifest_was_indexed(here: Path) -> None:
    write("m.json", json_lines(A))
    os.utime("m.json", (0, 0))  # an index of a file that was written just now is not kept
    assert len(read(manifest_filepath="m.json")) == 1
    (here / "a.wav").rename("b.wav")
    with pytest.raises(ManifestError, match=r"^m.json: utterance 'a': no audio file a.wav; prepare the data again"):
        read(manifest_filepath="m.json")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"wav.scp": ["a sox a.wav -t wav - speed 0.9 |"]}, "wav.scp: line 1: .*comes from a command .*not run"),
        ({"wav.scp": ["a raw_wav.1.ark:17"]}, "wav.scp: line 1: .*'a' is in an archive of Kaldi's"),
        ({"wav.scp": ["a a.wav"], "text": ["b B"]}, "wav.scp: line 1: .*text: has no line for 'a'"),
        (
            {"wav.scp": ["a a.wav"], "segments": ["u a 0.5"]},
            "segments: line 1: 3 fields; expected utterance, recording",
        ),
        ({"wav.scp": ["a a.wav"], "segments": ["u b 0 1"]}, "segments: line 1: .*wav.scp: has no line for 'b'"),
        ({"wav.scp": ["a a.wav"], "segments": ["u a 0.5 0.5"]}, "segments: line 1: from 0.5 s on it has 0.0 s"),
        ({"wav.scp": ["a a.wav"], "segments": ["u a 0.5 3"]}, "segments: line 1: .*has 2.5 s from 0.5 s on, but"),
        ({"wav.scp": ["a b.wav"]}, "wav.scp: line 1: b.wav: no such audio file"),
        ({}, "wav.scp: cannot be read"),
    ],
)
def test_damaged_kaldi_folders(files: dict[str, list[str]], said: str) -> None:
    Path("kaldi").mkdir()
    for name, content in files.items():
        write(f"kaldi/{name}", content)
    with pytest.raises(ManifestError, match=said):
        list(read(input_cfg=[{"type": "kaldi", "data_dir": "kaldi"}]))


def test_segments_of_a_kaldi_folder() -> None:
    write("kaldi/wav.scp", ["rec a.wav"])
    write("kaldi/segments", ["u1 rec 0.25 0.75", "u2 rec 0.5 -1"])
    write("kaldi/text", ["u2 SECOND ONE", "u1 FIRST", ""])
    write("kaldi/utt2spk", ["u1 ann", "u2 bob"])
    write("kaldi/utt2lang", ["u1 en"])
    cuts = list(read(input_cfg=[{"type": "kaldi", "data_dir": "kaldi"}]))
    said = [(cut.id, cut.supervisions[0].text, cut.supervisions[0].speaker) for cut in cuts]
    assert said == [("u1", "FIRST", "ann"), ("u2", "SECOND ONE", "bob")]
    assert [cut.supervisions[0].language for cut in cuts] == ["en", None]
    np.testing.assert_allclose(load_cut(cuts[0]).numpy(), np.arange(4000, 12000) / 16000, atol=1e-7)
    np.testing.assert_allclose(load_cut(cuts[1]).numpy(), np.arange(8000, 16000) / 16000, atol=1e-7)


@pytest.mark.parametrize(
    ("item", "error", "said"),
    [
        ({"type": "audio_folder", "audio_dir": "none"}, ConfigError, r"input_cfg\[0\]: none: no such folder"),
        ({"type": "audio_folder", "audio_dir": "empty"}, DataError, "empty: holds no audio file"),
        ({"type": "audio_folder", "audio_dir": "latin"}, ManifestError, r"latin/b\.txt: not UTF-8 text"),
        ({"type": "hf_dataset", "path": "none"}, DataError, "none: datasets cannot load it"),
        ({"type": "hf_dataset", "path": "json", "data_files": "rows.json"}, AudioError, "row 1: None is no audio"),
        (
            {"type": "hf_dataset", "path": "json", "data_files": "rows.json", "audio_field": "x"},
            ConfigError,
            "no column",
        ),
        ({"type": "lhotse", "cuts_path": "none.jsonl"}, ManifestError, "none.jsonl: no such file of cuts"),
        ({"type": "lhotse", "cuts_path": "bad.jsonl.gz"}, ManifestError, "bad.jsonl.gz: cannot be unpacked"),
        ({"type": "lhotse", "cuts_path": "bad.yaml"}, ManifestError, "bad.yaml: cannot be read as cuts"),
        ({"type": "lhotse_shar", "shar_path": "empty"}, ConfigError, "shar_path: empty: no folder with cuts"),
        ({"type": "lhotse_shar", "shar_path": {"cuts": ["a", "b"], "recording": ["c"]}}, ConfigError, "not as many"),
    ],
)
def test_impossible_paths(
    item: dict[str, Any], error: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(Path("hf").resolve()))
    for module in (datasets.config, huggingface_hub.constants):
        monkeypatch.setattr(module, "HF_HUB_OFFLINE", True)
    write("rows.json", [{"audio": "a.wav"}, {"audio": None}])
    for folder in ("empty", "latin"):
        Path(folder).mkdir()
    Path("latin/b.wav").write_bytes(Path("a.wav").read_bytes())
    Path("latin/b.txt").write_bytes(b"\xc9T\xc9")
    Path("bad.jsonl.gz").write_bytes(b"\x1f\x8bnothing")
    Path("bad.yaml").write_text("a: b")
    with pytest.raises(error, match=said):
        list(read(input_cfg=[item]))


def test_shards_that_do_not_belong_together() -> None:
    write("m.jsonl", [line(audio_filepath="a.wav", offset=n / 4, duration=0.25) for n in range(4)])
    cuts = CutSet([cut.with_id(f"u{n}") for n, cut in enumerate(read(manifest_filepath="m.jsonl"))])
    for name in ("one", "two"):
        Path(name).mkdir()
    cuts.to_shar("one", fields={"recording": "flac"}, shard_size=2)
    cuts.to_shar("two", fields={"recording": "flac"}, shard_size=3)
    shards = {"cuts": "one/cuts.000001.jsonl.gz", "recording": "one/recording.000000.tar"}
    with pytest.raises(ManifestError, match=r"recording.000000.tar: has no member u2.json for cut 'u2'"):
        list(read(shar_path=shards, force_finite=True))
    shards = {"cuts": "one/cuts.000000.jsonl.gz", "recording": "two/recording.000000.tar"}
    assert [cut.id for cut in read(shar_path=shards, force_finite=True)] == ["u0", "u1"]


def test_nothing_is_logged_where_nothing_is_wrong(caplog: pytest.LogCaptureFixture) -> None:
    write("m.jsonl", [line()])
    with caplog.at_level(logging.WARNING):
        list(read(manifest_filepath="m.jsonl"))
    assert caplog.text == ""
