"""Manifests: what is written is read, and every kind of damage is one error that names file and utterance."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from toolkit.dataio.manifests import read_manifest, write_manifest
from toolkit.errors import ManifestError


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder with one second and half a second of audio."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    soundfile.write(folder / "a.flac", np.zeros(16000, dtype=np.int16), 16000)
    soundfile.write(folder / "b.wav", np.zeros((4000, 2), dtype=np.int16), 8000)
    return folder


def entry(**changes: object) -> dict[str, object]:
    fields = {"wav": "{data_root}/a.flac", "length": 1.0, "words": "YES", "speaker": "fash"} | changes
    return {key: value for key, value in fields.items() if value is not None}


def save(folder: Path, content: object) -> Path:
    path = folder / "train.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_written_manifest_reads_back_as_cuts(corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "manifests/train.json"
    second = entry(wav="{data_root}/b.wav", length=0.5, words="ÉTÉ", room=3, speaker=None)
    write_manifest(path, {"a": entry(sample_rate=16000, num_samples=16000), "b": second}, corpus)
    first_cut, second_cut = read_manifest(path)
    assert (first_cut.id, first_cut.duration, first_cut.sampling_rate, first_cut.num_samples) == (
        "a",
        1.0,
        16000,
        16000,
    )
    assert (first_cut.supervisions[0].text, first_cut.supervisions[0].speaker) == ("YES", "fash")
    assert (second_cut.id, second_cut.sampling_rate, second_cut.duration) == ("b", 8000, 0.5)
    assert (second_cut.supervisions[0].text, second_cut.custom) == ("ÉTÉ", {"room": 3})
    assert first_cut.load_audio().shape == (1, 16000)


def test_manifest_knows_lengths_without_opening_audio(corpus: Path, tmp_path: Path) -> None:
    (corpus / "a.flac").write_bytes(b"not audio")
    path = save(tmp_path, {"a": entry(sample_rate=16000, num_samples=16000)})
    assert read_manifest(path, corpus)[0].num_samples == 16000


def test_data_root_moves_a_corpus(corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "manifests/train.json"
    write_manifest(path, {"a": entry()}, corpus)
    moved = corpus.rename(tmp_path / "moved")
    assert read_manifest(path, moved)[0].recording.sources[0].source == str(moved / "a.flac")
    (path.parent / "data_root.txt").write_text(f"{moved}\n")
    assert read_manifest(path)[0].load_audio().shape == (1, 16000)
    assert "{data_root}" in path.read_text()


def test_a_relative_data_root_is_of_the_working_folder(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_manifest("manifests/train.json", {"a": entry()}, "corpus")
    assert read_manifest("manifests/train.json", "corpus")[0].recording.sources[0].source == str(corpus / "a.flac")


def test_wav_may_be_relative_to_the_manifest(corpus: Path) -> None:
    path = save(corpus, {"a": entry(wav="a.flac")})
    assert read_manifest(path)[0].recording.sources[0].source == str(corpus / "a.flac")


def test_nothing_is_written_when_an_entry_is_damaged(corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "manifests/train.json"
    with pytest.raises(ManifestError, match="utterance 'b'"):
        write_manifest(path, {"a": entry(), "b": entry(words=" ")}, corpus)
    assert not path.parent.exists()


def test_a_failed_write_keeps_the_old_manifest(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "train.json"
    write_manifest(path, {"a": entry()}, corpus)
    before = path.read_text()

    def full_disk(self: Path, *_: object, **__: object) -> None:
        with self.open("wb") as file:
            file.write(b"{half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_manifest(path, {"b": entry()})
    assert path.read_text() == before
    assert sorted(item.name for item in tmp_path.iterdir()) == ["corpus", "data_root.txt", "train.json"]


def test_missing_manifest_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "an4_prepare.py").touch()
    with pytest.raises(
        ManifestError, match=r"train.json: no such manifest.*python an4_prepare.py DATA_FOLDER manifests"
    ):
        read_manifest("manifests/train.json")
    with pytest.raises(ManifestError, match="make it with: make corpus"):
        read_manifest("manifests/train.json", prepare_hint="make corpus")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"a": {"wav": "a.flac",\n "length"', "damaged JSON at line 2"),
        ("", "damaged JSON at line 1"),
        ("[1]", "not a list"),
        ("{}", "holds no utterance"),
        ('{"a": 1, "b": 2, "a": 3}', "utterance 'a' appears twice"),
        (
            '{"a": {"wav": "a.flac", "words": "A", "words": "B", "length": 1}}',
            "utterance 'a': field 'words' appears twice",
        ),
        ('{"a": {"wav": "{data_root}/a.flac", "words": "A", "length": NaN}}', "utterance 'a': 'length' is nan"),
        ({"a": "a.flac"}, "utterance 'a': expected an object"),
        ({"a": entry(length=0)}, "utterance 'a': 'length' is 0"),
        ({"a": entry(length=-1.5)}, "utterance 'a': 'length' is -1.5"),
        ({"a": entry(length=float("inf"))}, "utterance 'a': 'length' is inf"),
        ({"a": entry(length="1.0")}, "utterance 'a': 'length' is '1.0'; expected a number"),
        ({"a": entry(length=True)}, "utterance 'a': 'length' is True; expected a number"),
        ({"a": entry(words=7)}, "utterance 'a': 'words' is 7; expected a text"),
        ({"a": entry(words="")}, "utterance 'a': 'words' is empty"),
        ({"a": entry(words=" \t")}, "utterance 'a': 'words' is empty"),
        ({"a": entry(words=None)}, "utterance 'a': field 'words' is missing"),
        ({"a": entry(wav=None)}, "utterance 'a': field 'wav' is missing"),
        ({"a": entry(length=None)}, "utterance 'a': field 'length' is missing"),
        ({"a": entry(sample_rate=16e3)}, "utterance 'a': 'sample_rate' is 16000.0; expected a whole number"),
        ({"a": entry(num_samples=0)}, "utterance 'a': 'num_samples' is 0"),
        ({"a": entry(), "b": entry(wav="{data_root}/c.wav")}, "utterance 'b': no audio file .*c.wav"),
        ({"a": entry(length=3.0)}, "utterance 'a': 'length' is 3.0 s, but its audio has 1.000 s"),
        ({"a": entry(sample_rate=8000, num_samples=16000)}, "utterance 'a': .* but its audio has 2.000 s"),
    ],
)
def test_damage_is_one_error_naming_file_and_utterance(corpus: Path, content: object, said: str) -> None:
    path = save(corpus, content)
    with pytest.raises(ManifestError, match=rf"^{path}: .*{said}"):
        read_manifest(path, corpus)


def test_placeholder_without_a_root(corpus: Path) -> None:
    with pytest.raises(ManifestError, match=r"utterance 'a': 'wav' needs \{data_root\}"):
        read_manifest(save(corpus, {"a": entry()}))


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "the file is empty"), (b"hello " * 99, "not audio"), ("zero samples", "zero samples")],
)
def test_unreadable_audio_is_an_error_of_its_utterance(corpus: Path, data: bytes | str, said: str) -> None:
    if isinstance(data, bytes):
        (corpus / "a.wav").write_bytes(data)
    else:
        soundfile.write(corpus / "a.wav", np.zeros(0, dtype=np.int16), 16000)
    path = save(corpus, {"a": entry(wav="{data_root}/a.wav")})
    with pytest.raises(ManifestError, match=f"^{path}: utterance 'a': .*a.wav: .*{said}"):
        read_manifest(path, corpus)


def test_not_text(corpus: Path) -> None:
    path = corpus / "train.json"
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ManifestError, match="not UTF-8"):
        read_manifest(path)
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(corpus)
