"""The preparation of a folder of one's own, laid out in the ways that people have."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest
import soundfile

from toolkit.dataio.cut_audio import load_cut
from toolkit.dataio.manifests import read_manifest
from toolkit.errors import DataError

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    """The recipe's script."""
    spec = importlib.util.spec_from_file_location("folder_prepare", REPOSITORY / "recipes/Folder/folder_prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def record(path: Path, sample_rate: int = 16000, samples: int = 1600) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.sin(np.arange(samples) / 9) / 2, sample_rate)


def record_webm(path: Path) -> None:
    """Opus in WebM, as browsers record."""
    with av.open(str(path), "w", format="webm") as container:
        stream = container.add_stream("libopus", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), "fltp", "mono")
        frame.sample_rate = 48000
        container.mux([*stream.encode(frame), *stream.encode(None)])


def build(folder: Path, names: list[str]) -> Path:
    for name in names:
        record(folder / f"{name}.wav")
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def read(manifests: Path) -> dict[str, dict[str, object]]:
    """All utterances by name, with the split that each is in."""
    return {
        name: {**utterance, "split": split}
        for split in ("train", "valid", "test")
        for name, utterance in json.loads((manifests / f"{split}.json").read_text()).items()
    }


def words_of(manifests: Path) -> dict[str, object]:
    return {name: one["words"] for name, one in read(manifests).items()}


def reasons(dropped: object) -> Mapping[str, int]:
    return {reason: len(cases) for reason, cases in dropped.reasons.items()}


def test_a_text_beside_each_recording_of_any_kind(recipe: ModuleType, tmp_path: Path) -> None:
    corpus = build(tmp_path / "mine", ["a", "b"])
    record(corpus / "c.mp3", 48000, 9600)
    record(corpus / "d.FLAC", 8000)
    record_webm(corpus / "e.webm")
    for name in "abcde":
        write(corpus / f"{name}.txt", f"\ufeffWord  {name}\n")
    assert len(recipe.prepare_folder(corpus, tmp_path / "manifests")) == 0
    assert words_of(tmp_path / "manifests") == {name: f"Word {name}" for name in "abcde"}
    rates = {"a": 16000, "b": 16000, "c": 48000, "d": 8000, "e": 48000}
    cuts = {
        cut.id: cut for part in ("train", "valid", "test") for cut in read_manifest(tmp_path / f"manifests/{part}.json")
    }
    assert {name: cut.sampling_rate for name, cut in cuts.items()} == rates
    assert len(load_cut(cuts["e"])) == cuts["e"].num_samples


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("transcripts.tsv", 'x/a\tHELLO, "YOU"\nb.wav\tWORLD, HO\nc\tOH\n'),
        ("transcripts.csv", '\ufefffile_name;Text\nx/a.wav;"HELLO, ""YOU"""\nb;WORLD, HO\nc;OH\n'),
        ("metadata.csv", 'speaker,sentence,path\nanna,"HELLO, ""YOU""",a.wav\n,"WORLD, HO",b.wav\n,OH,c.wav\n'),
        ("metadata.csv", 'a|HELLO, "YOU"|hello you\nb|WORLD, HO|world\nc|OH|oh\n'),
    ],
)
def test_one_table_for_all(recipe: ModuleType, tmp_path: Path, table: str, text: str) -> None:
    corpus = build(tmp_path / "mine", ["x/a", "b", "c"])
    write(corpus / table, text)
    assert len(recipe.prepare_folder(corpus, tmp_path / "manifests")) == 0
    assert words_of(tmp_path / "manifests") == {"x/a": 'HELLO, "YOU"', "b": "WORLD, HO", "c": "OH"}
    assert read(tmp_path / "manifests")["x/a"].get("speaker") == ("anna" if "speaker" in text else "x")


def test_tables_name_files_from_where_they_stand(recipe: ModuleType, tmp_path: Path) -> None:
    corpus = build(tmp_path / "mine", ["x/1", "y/1", "z/1"])
    for folder in "xyz":
        write(corpus / folder / "transcripts.tsv", f"1\tOF {folder}\n")
    recipe.prepare_folder(corpus, tmp_path / "manifests")
    assert words_of(tmp_path / "manifests") == {f"{folder}/1": f"OF {folder}" for folder in "xyz"}


def test_no_speaker_is_in_two_splits(recipe: ModuleType, tmp_path: Path) -> None:
    names = [f"wavs/s{speaker}/day/{number}" for speaker in range(20) for number in range(3)]
    corpus = build(tmp_path / "mine", names)
    for name in names:
        write(corpus / f"{name}.txt", "YES")
    recipe.prepare_folder(corpus, tmp_path / "manifests")
    utterances = read(tmp_path / "manifests")
    homes = {(one["speaker"], one["split"]) for one in utterances.values()}
    assert sorted(speaker for speaker, _ in homes) == sorted(f"s{speaker}" for speaker in range(20))
    assert [sum(split == wanted for _, split in homes) for wanted in ("train", "valid", "test")] == [16, 2, 2]
    shutil.move(corpus, tmp_path / "elsewhere")
    recipe.prepare_folder(tmp_path / "elsewhere", tmp_path / "again")
    assert read(tmp_path / "again") == utterances
    recipe.prepare_folder(tmp_path / "elsewhere", tmp_path / "by_file", by="file")
    assert len({(one["speaker"], one["split"]) for one in read(tmp_path / "by_file").values()}) > 20


def test_what_is_left_out_is_counted(recipe: ModuleType, tmp_path: Path) -> None:
    corpus = build(tmp_path / "mine", ["a", "b", "c", "silent", "unsaid"])
    write(corpus / "transcripts.tsv", "a\tA\nb\tB\nc\tC\na\tOTHER\ngone\tG\nlonely\n")
    write(corpus / "silent.txt", " \n")
    write(corpus / "broken.txt", "X")
    (corpus / "broken.wav").write_bytes(b"no audio")
    record(corpus / "a.mp3")
    dropped = recipe.prepare_folder(corpus, tmp_path / "manifests")
    assert sorted(words_of(tmp_path / "manifests").items()) == [("a", "A"), ("b", "B"), ("c", "C")]
    assert reasons(dropped) == {
        "lines with too few columns": 1,
        "lines of a recording that had one": 1,
        "without a transcript": 1,
        "without audio": 1,
        "with an empty transcript": 1,
        "with unreadable audio": 1,
    }


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"mine: no recording \(\.flac, \.wav.*\); it holds: nothing"),
        ({"notes.txt": "HELLO"}, r"no recording .*; it holds: notes\.txt"),
        ({"x/a.wav": None}, r"no words for any of 1 recordings; looked for .* x/a\.txt for a\.wav.* there is neither"),
        ({"a.wav": None, "b.txt": "B"}, r"no words for any of 1 recordings.* words for others, such as b"),
        ({"a.wav": None, "metadata.csv": "who,text\nann,A\n"}, r"csv: no column of files \(file, .*\) among who"),
        ({"a.wav": None, "a.txt": b"\xe4"}, r"a\.txt: not UTF-8 .* save it as UTF-8"),
        ({"a.wav": None, "a.txt": "A"}, r"train, test, valid cannot be made of 1"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(
    recipe: ModuleType, tmp_path: Path, files: Mapping[str, object], message: str
) -> None:
    (tmp_path / "mine").mkdir()
    for name, content in files.items():
        if content is None:
            record(tmp_path / "mine" / name)
        else:
            (tmp_path / "mine" / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        recipe.main([str(tmp_path / "mine"), str(tmp_path / "manifests")])
    assert not (tmp_path / "manifests").exists()


def test_a_folder_that_is_not_there(recipe: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"mine: no recording .*; there is no such folder"):
        recipe.prepare_folder(tmp_path / "mine", tmp_path / "manifests")


def test_speakers_that_are_not_known(recipe: ModuleType, tmp_path: Path) -> None:
    corpus = build(tmp_path / "mine", ["a", "b", "c"])
    for name in "abc":
        write(corpus / f"{name}.txt", "YES")
    with pytest.raises(DataError, match=r"--split-by speaker: a has none, neither in a column nor by a folder"):
        recipe.prepare_folder(corpus, tmp_path / "manifests", by="speaker")


def test_words_as_a_language_spells_them(recipe: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    corpus = build(tmp_path / "mine", list("abcde"))
    for name, text in zip("abcde", ("Grüße, Anna!", "Ja?", "Es kostet 5 €.", "«Nein»", "Gut."), strict=True):
        write(corpus / f"{name}.txt", text)
    recipe.main([str(corpus), str(tmp_path / "manifests"), "--language", "de"])
    assert words_of(tmp_path / "manifests") == {"a": "grüße anna", "b": "ja", "d": "nein", "e": "gut"}
    assert "c: Es kostet 5 €." in capsys.readouterr().out
    with pytest.raises(SystemExit):
        recipe.main([str(corpus), str(tmp_path / "manifests"), "--digits", "words"])
    assert "--digits words: in which language?" in capsys.readouterr().err
