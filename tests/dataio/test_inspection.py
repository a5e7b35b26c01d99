"""Everything that can be wrong with a data set is found, each once, the worst first."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from toolkit.cli.main import main
from toolkit.dataio.conversion import Target, convert
from toolkit.dataio.corpus import Corpus


@pytest.fixture(autouse=True)
def _caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def record(path: Path, seconds: float = 0.5, rate: int = 16000, loudness: float = 0.1, channels: int = 1) -> None:
    samples = np.random.default_rng(0).normal(0, loudness, (round(seconds * rate), channels))
    soundfile.write(path, samples, rate)


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A NeMo manifest of ten utterances, two of which are as they should be."""
    lines: list[dict[str, Any]] = []
    for number in range(9):
        path = tmp_path / f"{number}.wav"
        record(path)
        lines.append({"audio_filepath": str(path), "duration": 0.5, "text": "YES", "sampling_rate": 16000})
    os.truncate(tmp_path / "1.wav", 5000)
    (tmp_path / "2.wav").unlink()
    record(tmp_path / "3.wav", 0.3)
    record(tmp_path / "4.wav", 5.0)
    record(tmp_path / "5.wav", rate=8000)
    record(tmp_path / "6.wav", loudness=0.0)
    lines[7]["text"] = " "
    record(tmp_path / "8.wav", channels=2)
    lines.append(lines[0])
    path = tmp_path / "m.json"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("workers", ["1", "2"])
def test_every_problem_is_found(damaged: Path, workers: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(damaged), "-j", workers]) == 1
    lines = capsys.readouterr().out.splitlines()
    folder = damaged.parent
    wanted = {
        "2 audio that cannot be read:": ["1.wav: cut off", "2.wav: no such audio file"],
        "2 audio that is not as long as the manifest says:": [
            "4.wav: 5.000 s, the manifest says 0.500 s",
            "3.wav: 0.300 s, the manifest says 0.500 s",
        ],
        "2 audio of another sample rate or number of channels than the manifest says:": [
            "5.wav: 8000 Hz, the manifest says 16000 Hz",
            "8.wav: 2 channels, the manifest says 1",
        ],
        "1 audio that is all zeros:": ["6.wav': 0.50 s"],
        "1 utterances without a transcript:": ["7.wav'"],
        "1 ids that appear again:": ["0.wav'"],
    }
    assert lines[0] == "10 utterances, 0.00 h, 16000 Hz: 10"
    rest = iter(lines[1:])
    for kind, problems in wanted.items():
        assert next(rest) == kind
        for problem in problems:
            line = next(rest)
            assert line.startswith(f"  utterance '{folder}/")
            assert problem in line
    assert list(rest) == []


def test_the_worst_are_named(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(damaged), "--show", "1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    place = lines.index("2 audio that is not as long as the manifest says:")
    assert "4.wav: 5.000 s" in lines[place + 1]
    assert lines[place + 2] == "  ... and 1 more"


GOOD = {"wav": "a.wav", "length": 0.5, "words": "YES"}
ENTRIES = [
    ("missing", GOOD | {"wav": "b.wav"}),
    ("long", GOOD | {"length": 3}),
    ("a", GOOD),
    ("silent", GOOD | {"words": ""}),
    ("negative", GOOD | {"length": -1}),
]
PROBLEMS = (
    "'missing': no audio file",
    "'long': 'length' is 3 s",
    "'silent': 'words' is empty",
    "'negative': 'length' is -1",
)


def write_lines(path: Path, entries: list[tuple[str, Any]]) -> Path:
    text = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in entries)
    path.write_text("{\n" + text + "\n}\n")
    return path


@pytest.mark.parametrize("layout", ["lines", "indented", "input_cfg"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_manifest_of_speechbrain_is_read_to_its_end(
    layout: str, workers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "a.wav")
    path = write_lines(tmp_path / "m.json", ENTRIES)
    if layout == "indented":
        path.write_text(json.dumps(dict(ENTRIES), indent=4))
    if layout == "input_cfg":
        manifest, path = path, tmp_path / "data.yaml"
        path.write_text(f"input_cfg: [{{type: speechbrain_json, manifest_filepath: {manifest}}}]")
    assert main(["data", "check", str(path), "-j", workers]) == 1
    shown = capsys.readouterr().out
    assert "4 entries that are damaged or contradict themselves" in shown
    for problem in PROBLEMS:
        assert f"utterance {problem}" in shown


def test_ids_of_speechbrain_that_appear_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "a.wav")
    assert main(["data", "check", str(write_lines(tmp_path / "m.json", [("a", GOOD), ("a", GOOD)]))]) == 1
    assert "1 ids that appear again:\n  utterance 'a'" in capsys.readouterr().out


def test_a_csv_manifest_is_read_to_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "a.wav")
    path = tmp_path / "m.csv"
    path.write_text("ID,duration,wav,wrd\nx,0.5,a.wav\ny,half,a.wav,YES\nz,0.5,a.wav,YES\nu,0.5,b.wav,YES\n")
    assert main(["data", "check", str(path)]) == 1
    shown = capsys.readouterr().out
    assert "3 entries that are damaged" in shown
    for problem in ("line 2: 3 fields, expected 4", "line 3: could not convert string", "'u': no audio file"):
        assert problem in shown


def test_a_nemo_manifest_is_read_to_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "a.wav")
    good = {"audio_filepath": "a.wav", "duration": 0.5, "text": "YES"}
    lines: list[Any] = [
        "{",
        good | {"audio_filepath": "b.wav"},
        good,
        {"audio_filepath": "a.wav"},
        good | {"duration": -1, "sampling_rate": 16000},
        [1],
    ]
    path = tmp_path / "m.jsonl"
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines))
    assert main(["data", "check", str(path)]) == 1
    shown = capsys.readouterr().out
    assert "5 entries that are damaged or contradict themselves" in shown
    for problem in (
        "m.jsonl: line 1: ",
        "line 2: b.wav: no such audio file",
        "line 4: no field 'duration'",
        "line 5: 'duration' is -1; expected seconds above 0",
        "line 6: expected a JSON object, not a list",
    ):
        assert problem in shown


def test_cuts_are_read_to_their_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "a.wav")
    corpus = Corpus.of("m", {"manifest_filepath": str(write_lines(tmp_path / "m.json", [("a", GOOD)]))})
    path = tmp_path / "cuts.jsonl"
    convert(corpus.examples, Target("lhotse", path))
    good = json.loads(path.read_text())
    lines = [
        "{",
        json.dumps(good),
        json.dumps(good | {"duration": "x"}),
        json.dumps({"duration": 1, "type": "MonoCut"}),
    ]
    path.write_text("\n".join(lines))
    assert main(["data", "check", str(path)]) == 1
    shown = capsys.readouterr().out
    assert "3 entries that are damaged or contradict themselves" in shown
    for problem in ("cuts.jsonl: line 1: ", "line 3: could not convert string", "line 4: cannot be read as a cut"):
        assert problem in shown


@pytest.mark.parametrize("limits", ["", ", max_duration: 20"])
def test_a_conversion_leaves_out_what_is_damaged(
    limits: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "a.wav")
    manifest = write_lines(tmp_path / "m.json", ENTRIES)
    (tmp_path / "data.yaml").write_text(f"{{manifest_filepath: {manifest}{limits}}}")
    command = ["data", "convert", str(tmp_path / "data.yaml"), str(tmp_path / "shards"), "--to", "nemo_tarred"]
    assert main(command) == 2  # and nothing is written
    assert not (tmp_path / "shards").exists()
    assert main([*command, "--skip-broken"]) == 1
    shown = capsys.readouterr().out
    assert "# 1 utterances" in shown
    assert "# left out: 4" in shown
    for problem in PROBLEMS:
        assert f"utterance {problem}" in shown


def write_tars(folder: Path) -> None:
    """Four utterances in two tars."""
    (folder / "wav").mkdir()
    for number in range(4):
        record(folder / f"wav/{number}.wav")
        (folder / f"wav/{number}.txt").write_text("YES")
    corpus = Corpus.of("wav", {"input_cfg": [{"type": "audio_folder", "audio_dir": str(folder / "wav")}]})
    convert(corpus.examples, Target("nemo_tarred", folder / "tars", shards=2))


def test_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tars(tmp_path)
    assert main(["data", "check", str(tmp_path / "tars")]) == 0
    assert capsys.readouterr().out == "4 utterances, 0.00 h, 16000 Hz: 4\nnothing is wrong\n"
    with (tmp_path / "tars/audio_1.tar").open("r+b") as tar:
        tar.seek(512)
        tar.write(b"RUBBISH")
    assert main(["data", "check", str(tmp_path / "tars")]) == 1
    assert "audio_1.tar: member 1.wav: not audio" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["check", "stats", "bins", "convert"])
def test_conversations_are_refused_in_one_sentence(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "a.wav")
    manifest = write_lines(tmp_path / "m.json", [("a", GOOD)])
    path = tmp_path / "data.yaml"
    path.write_text(
        f"input_cfg: [{{type: lhotse_as_conversation, manifest_filepath: {manifest}, audio_locator_tag: '[audio]'}}]\n"
        "token_equivalent_duration: 0.04\n"
    )
    more = [str(tmp_path / "shards"), "--to", "nemo_tarred"] if command == "convert" else []
    assert main(["data", command, str(path), *more]) == 2
    problem = f"error: {path}: expected a data set of utterances, but it holds NeMoMultimodalConversation: stats, check"
    assert capsys.readouterr().err.startswith(problem)


@pytest.mark.parametrize("skip", ["false", "true"])
def test_one_manifest_of_several_tars_is_read_to_its_end(
    skip: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tars(tmp_path)
    lines = [
        json.dumps(json.loads(line) | {"shard_id": shard})
        for shard in range(2)
        for line in (tmp_path / f"tars/manifest_{shard}.json").read_text().splitlines()
    ]
    (tmp_path / "all.json").write_text("\n".join([*lines[:2], "{", *lines[2:], '{"shard_id": 1}', ""]))
    (tmp_path / "data.yaml").write_text(
        f"manifest_filepath: {tmp_path}/all.json\ntarred_audio_filepaths: {tmp_path}/tars/audio__OP_0..1_CL_.tar\n"
        f"skip_missing_manifest_entries: {skip}\n"
    )
    assert main(["data", "check", str(tmp_path / "data.yaml")]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("6 utterances, 0.00 h, 16000 Hz: 4\n2 entries that are damaged")
    assert "line 3: " in shown
    assert "line 6: no field 'audio_filepath'" in shown


def test_a_kaldi_folder_is_read_to_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "a.wav")
    (tmp_path / "wav.scp").write_text(f"r {tmp_path}/a.wav\n")
    (tmp_path / "segments").write_text("a r 0 0.4\nb r 0.4\nc x 0 0.4\nd r 0.4 0.1\ne r 0 0.2\n")
    (tmp_path / "text").write_text("".join(f"{name} YES\n" for name in "abcd"))
    assert main(["data", "check", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("5 utterances, 0.00 h, 16000 Hz: 2\n3 entries that are damaged")
    for problem in ("line 2: 3 fields", "has no line for 'x'", "line 4: utterance 'd': has ", "utterance 'e'"):
        assert problem in shown
