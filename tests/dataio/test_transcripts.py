"""Transcripts of any format, by id, and which belong together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from toolkit.dataio.transcripts import Spoken, match, read_transcripts
from toolkit.errors import DataError

TEXTS = {
    "a.txt": "u1\tGO ON\nu2\t\n\nu3\tSTOP  IT\n",
    "kaldi": "u1 GO ON\nu2\nu3 STOP  IT\n",
    "a.jsonl": (
        '{"file": "u1", "text": "GO ON"}\n'
        '{"id": "u2", "file": "x.wav", "text": ""}\n'
        '{"file": "u3", "text": "STOP  IT"}\n'
    ),
    "a.trn": ";; a comment\nGO ON (u1)\n(u2)\nSTOP  IT (u3)\n",
}


def texts(path: Path) -> dict[str, list[str]]:
    return {name: spoken.text.split() for name, spoken in read_transcripts(path).items()}


@pytest.mark.parametrize("name", TEXTS)
def test_lines_of_every_format(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(TEXTS[name])
    assert texts(tmp_path / name) == {"u1": ["GO", "ON"], "u2": [], "u3": ["STOP", "IT"]}


def test_ctm_is_sorted_by_time_and_stm_joins_the_turns_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.ctm").write_text("f1 1 2.0 0.3 ON 0.9\nf2 1 0 .5 YES\n;; x\nf1 1 10.0 0.3 NOW\nf1 1 1.5 0.3 GO\n")
    assert texts(tmp_path / "a.ctm") == {"f1": ["GO", "ON", "NOW"], "f2": ["YES"]}
    stm = "f1 1 ann 5.0 6.0 <o,f0,female> ON NOW\nf1 1 ann 0.0 5.0 <o,f0,female> GO\nf2 A bob 0 1 YES\nf2 A cid 1 2\n"
    (tmp_path / "a.stm").write_text(stm)
    assert texts(tmp_path / "a.stm") == {"f1": ["GO", "ON", "NOW"], "f2": ["YES"]}
    assert [one.fields for one in read_transcripts(tmp_path / "a.stm").values()] == [{"speaker": "ann"}, {}]


def test_manifest_gives_fields_and_where_the_audio_is(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(32000), 16000)
    entry = {"wav": "x.wav", "length": 2.0, "words": "GO ON", "speaker": "ann", "room": "hall"}
    (tmp_path / "m.json").write_text(json.dumps({"u1": entry}))
    nemo = {"audio_filepath": "x.wav", "duration": 0.5, "offset": 1.0, "text": "ON", "id": "u2", "sampling_rate": 16000}
    (tmp_path / "n.jsonl").write_text(json.dumps(nemo) + "\n")
    one = read_transcripts(tmp_path / "m.json")["u1"]
    assert (one.text, Path(one.audio), one.seconds) == ("GO ON", tmp_path / "x.wav", None)
    assert {"speaker": "ann", "room": "hall"}.items() <= one.fields.items()
    one = read_transcripts(tmp_path / "n.jsonl")["u2"]
    assert (one.text, Path(one.audio), one.start, one.seconds) == ("ON", tmp_path / "x.wav", 1.0, 0.5)


def test_speechbrain_manifests_are_read_where_their_audio_is_not(tmp_path: Path) -> None:
    entry = {"wav": "{data_root}/x.wav", "length": 2.0, "words": "GO ON", "speaker": "ann"}
    (tmp_path / "m.json").write_text(json.dumps({"u1": entry, "u2": entry | {"words": ""}}, indent=1))
    rows = ["ID,duration,wav,spk_id,wrd", "u1,2.0,x.wav,ann,GO ON", "u2,2.0,x.wav,ann,"]
    (tmp_path / "m.csv").write_text("\n".join(rows) + "\n")
    for name in ("m.json", "m.csv"):
        found = read_transcripts(tmp_path / name)
        assert {key: (one.text, one.audio, one.fields["speaker"]) for key, one in found.items()} == {
            "u1": ("GO ON", "", "ann"),
            "u2": ("", "", "ann"),
        }


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "u1 A\nu1 B\n", "'u1' is there twice"),
        ("a.txt", "\n", "holds no transcript"),
        ("a.txt", None, "cannot be read"),
        ("a.txt", b"u1 \xff\n", "not UTF-8"),
        ("a.jsonl", '{"file": "u1", "text": "A"}\n{"file": "u2"}\n', "line 2: expected"),
        ("a.jsonl", '{"file": "u1", "te', "line 1: expected"),
        ("a.json", '{"u1": {"words": "A"', "damaged JSON at line 1"),
        ("a.csv", "id,text\nu1,A\n", r"^[^:]*a.csv: has no column 'ID'"),
        ("a.json", '{"u1": 3}', "utterance 'u1': expected an object with 'words'"),
        ("a.trn", "GO ON u1\n", r"line 1: expected WORDS \(ID\)"),
        ("a.ctm", "f1 1 two 0.3 GO\n", "line 1: expected FILE CHANNEL START SECONDS WORD"),
        ("a.stm", "f1 1 ann 0 1 ignore_time_segment_in_scoring\n", "line 1: times that are not scored"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, name: str, content: str | bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError, match=message):
        read_transcripts(tmp_path / name)


def spoken(**texts: str) -> dict[str, Spoken]:
    return {name: Spoken(text) for name, text in texts.items()}


def test_ids_match_in_the_order_of_the_references() -> None:
    assert list(match(spoken(a="A", b="B"), spoken(b="X", a="Y"), where="h", missing=False).items()) == [
        ("a", "Y"),
        ("b", "X"),
    ]


def test_paths_match_the_ids_or_the_files_of_a_manifest() -> None:
    found = {"/data/one.flac": Spoken("X"), "two.v2.wav": Spoken("Y")}
    by_id = {"two.v2": Spoken("B"), "one": Spoken("A")}
    assert match(by_id, found, where="h", missing=False) == {"one": "X", "two.v2": "Y"}
    by_audio = {"u1": Spoken("A", audio="elsewhere/one.wav"), "u2": Spoken("B", audio="two.v2.flac")}
    assert match(by_audio, found, where="h", missing=False) == {"u1": "X", "u2": "Y"}
    twice = {"a/one.wav": Spoken("X"), "b/one.wav": Spoken("Y")}  # whose is which cannot be told
    with pytest.raises(DataError, match="2 transcripts have no reference"):
        match(spoken(one="A", two="B"), twice, where="h", missing=True)


def test_ids_that_differ_are_named_or_counted() -> None:
    references, found = spoken(a="A", b="B", c="C"), spoken(a="X")
    with pytest.raises(DataError, match=r"^h: 2 references have no transcript \(b, c\); --missing deletions counts"):
        match(references, found, where="h", missing=False)
    assert match(references, found, where="h", missing=True) == {"a": "X", "b": "", "c": ""}
    with pytest.raises(DataError, match=r"1 references have no .* \(c\), and 1 transcripts have no reference \(d\)$"):
        match(references, spoken(a="X", b="Y", d="Z"), where="h", missing=False)
