"""AN4's preparation on a miniature corpus in each of its containers, and on the real one where it lies beside us."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch

from toolkit.dataio.cut_audio import load_cut
from toolkit.dataio.download import Archive
from toolkit.dataio.manifests import read_manifest
from toolkit.errors import ConfigError, DataError

REPOSITORY = Path(__file__).parents[2]
REAL = Path(os.environ.get("ASR_DATA", REPOSITORY.parent / "shared/data"))
CONTAINERS = ["flac", "wav", "sph", "big.raw", "little.raw"]

TRAIN = {"an251-fash-b": "YES", "cen1-fjam-b": "H I N I C H", "an371-mblb-b": "ENTER SIXTY ONE"}
TEST = {"an406-fcaw-b": "RUBOUT G M E F THREE NINE", "cen6-mdms2-b": "ONE FIVE TWO"}


@pytest.fixture(scope="module")
def an4() -> ModuleType:
    """The recipe's script."""
    spec = importlib.util.spec_from_file_location("an4_prepare", REPOSITORY / "recipes/AN4/an4_prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def speech(name: str) -> np.ndarray:
    """A smooth loud curve, of a length of its own."""
    length = 4000 + 100 * len(name) + sum(map(ord, name)) % 97
    return (8000 * np.sin(np.arange(length) / 9) + 3000 * np.sin(np.arange(length) / 2.3)).astype(np.int16)


def store(path: Path, samples: np.ndarray, container: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    order, _, suffix = container.rpartition(".")
    path = path.with_name(f"{path.name}.{suffix}")
    if suffix == "raw":
        path.write_bytes(samples.astype(">i2" if order == "big" else "<i2").tobytes())
    else:
        soundfile.write(path, samples, 16000, format={"sph": "NIST"}.get(suffix, suffix.upper()), subtype="PCM_16")


def build(folder: Path, container: str) -> Path:
    for part, marked, texts in (("an4_clstk", "<s> {} </s> ({})", TRAIN), ("an4test_clstk", "{} ({})", TEST)):
        for name in texts:
            store(folder / "wav" / part / name.split("-")[1] / name, speech(name), container)
        lines = [marked.format(words, name) for name, words in texts.items()]
        transcription = folder / f"etc/an4_{'train' if part == 'an4_clstk' else 'test'}.transcription"
        transcription.parent.mkdir(exist_ok=True)
        transcription.write_text("\n".join(lines) + "\n")
    (folder / "etc/an4_test.transcription253239").write_text("RUBOUT (fcaw-AN406-FCAW-B)\n")
    return folder


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_the_same_samples(an4: ModuleType, tmp_path: Path, container: str) -> None:
    dropped = an4.prepare_an4(build(tmp_path / "an4", container), tmp_path / "manifests", ["fjam"])
    assert len(dropped) == 0
    splits = {name: read_manifest(tmp_path / f"manifests/{name}.json") for name in ("train", "valid", "test")}
    words = {cut.id: cut.supervisions[0].text for cuts in splits.values() for cut in cuts}
    assert words == TRAIN | TEST
    assert [cut.id for cut in splits["valid"]] == ["cen1-fjam-b"]
    assert [cut.supervisions[0].speaker for cut in splits["test"]] == ["fcaw", "mdms2"]
    for cuts in splits.values():
        for cut in cuts:
            np.testing.assert_array_equal(torch.round(load_cut(cut) * 32768).numpy(), speech(cut.id))
    assert (tmp_path / "manifests/lm_test.txt").read_text().splitlines() == list(TEST.values())


def test_converted_audio_moves_with_the_manifests_and_is_made_once(an4: ModuleType, tmp_path: Path) -> None:
    corpus = build(tmp_path / "an4", "big.raw")
    an4.prepare_an4(corpus, tmp_path / "manifests", ["fjam"])
    flac = tmp_path / "manifests/audio/fash/an251-fash-b.flac"
    made = flac.stat().st_mtime_ns
    an4.prepare_an4(corpus, tmp_path / "manifests", ["fjam"])
    assert flac.stat().st_mtime_ns == made
    (tmp_path / "manifests").rename(tmp_path / "moved")
    assert read_manifest(tmp_path / "moved/train.json")[0].load_audio().shape[1] == len(speech("an251-fash-b"))


def test_what_is_dropped_is_counted_with_its_reason(
    an4: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = build(tmp_path / "an4", "wav")
    store(corpus / "wav/an4_clstk/fash/an255-fash-b", speech("an255-fash-b"), "wav")
    (corpus / "wav/an4_clstk/fash/an251-fash-b.wav").write_bytes(b"RIFF, but no more")
    with (corpus / "etc/an4_train.transcription").open("a") as lines:
        lines.write("<s> GO </s> (an253-fash-b)\n<s> </s> (cen1-mblb-b)\n")
    store(corpus / "wav/an4_clstk/mblb/cen1-mblb-b", speech("cen1-mblb-b"), "wav")
    dropped = an4.prepare_an4(corpus, tmp_path / "manifests", ["fjam"])
    counts = {reason: len(cases) for reason, cases in dropped.reasons.items()}
    assert counts == {
        "without a transcript": 1,
        "without audio": 1,
        "with an empty transcript": 1,
        "with unreadable audio": 1,
    }
    said = capsys.readouterr().out
    assert "train: 1 utterances" in said
    assert "dropped 4" in said
    assert "an251-fash-b.wav: not audio" in said
    assert json.loads((tmp_path / "manifests/train.json").read_text()).keys() == {"an371-mblb-b"}


def test_nothing_is_written_when_a_split_is_empty(an4: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no utterance is left for valid"):
        an4.prepare_an4(build(tmp_path / "an4", "wav"), tmp_path / "manifests", [])
    assert not (tmp_path / "manifests").exists()


def test_a_misspelt_validation_speaker_is_named(an4: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--valid-speakers: fjma: no folder of that name in wav/an4_clstk"):
        an4.prepare_an4(build(tmp_path / "an4", "wav"), tmp_path / "manifests", ["fjam", "fjma"])
    assert not (tmp_path / "manifests").exists()


def test_a_wrong_folder_says_what_was_looked_for(an4: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "LibriSpeech").mkdir()
    with pytest.raises(DataError, match=r"is not AN4: looked for etc/an4_train.transcription.*it holds: LibriSpeech"):
        an4.main([str(tmp_path), str(tmp_path / "manifests")])


def test_a_damaged_transcription_names_its_line(an4: ModuleType, tmp_path: Path) -> None:
    corpus = build(tmp_path / "an4", "wav")
    (corpus / "etc/an4_test.transcription").write_text("ONE (an1-a-b)\nTWO\n")
    with pytest.raises(DataError, match=r"an4_test\.transcription: line 2 is not"):
        an4.prepare_an4(corpus, tmp_path / "manifests", ["fjam"])


def test_a_second_transcript_is_counted_and_blank_lines_are_none(an4: ModuleType, tmp_path: Path) -> None:
    corpus = build(tmp_path / "an4", "wav")
    with (corpus / "etc/an4_train.transcription").open("a") as lines:
        lines.write("\n<s> NO </s> (an251-fash-b)\n  \n\n")
    dropped = an4.prepare_an4(corpus, tmp_path / "manifests", ["fjam"])
    assert [(reason, len(cases)) for reason, cases in dropped.reasons.items()] == [("with another transcript", 1)]
    assert json.loads((tmp_path / "manifests/train.json").read_text())["an251-fash-b"]["words"] == "YES"


def test_a_transcription_in_another_encoding_names_its_line(an4: ModuleType, tmp_path: Path) -> None:
    corpus = build(tmp_path / "an4", "wav")
    (corpus / "etc/an4_test.transcription").write_bytes("ONE (an1-a-b)\nZÜRICH (an2-a-b)\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"an4_test\.transcription: line 2 is not in UTF-8"):
        an4.prepare_an4(corpus, tmp_path / "manifests", ["fjam"])


def test_manifests_in_the_place_of_a_file(an4: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "manifests").touch()
    with pytest.raises(ConfigError, match=r"MANIFESTS: .*manifests is not a folder"):
        an4.main([str(build(tmp_path / "an4", "wav")), str(tmp_path / "manifests"), "--valid-speakers", "fjam"])


def test_offline_download_says_so_and_leaves_nothing(
    an4: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Port 9 of this machine: nobody listens, and no packet leaves.
    monkeypatch.setattr(an4, "ARCHIVE", Archive("http://127.0.0.1:9/an4_sphere.tar.gz", member="an4"))
    with pytest.raises(DataError, match=r"cannot download http://127.0.0.1:9/an4_sphere.tar.gz .*place it at"):
        an4.main([str(tmp_path / "data/an4"), str(tmp_path / "manifests"), "--download"])
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.skipif(not (REAL / "an4").is_dir(), reason="AN4 is not beside the project")
def test_the_real_corpus(an4: ModuleType, tmp_path: Path) -> None:
    dropped = an4.prepare_an4(REAL / "an4", tmp_path)
    assert len(dropped) == 0
    splits = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("train", "valid", "test")}
    speakers = {name: {one["speaker"] for one in utterances.values()} for name, utterances in splits.items()}
    assert len(splits["train"]) + len(splits["valid"]) == 948
    assert (len(splits["valid"]), len(splits["test"])) == (104, 130)
    assert sum(len(one["words"].split()) for one in splits["test"].values()) == 773
    assert speakers["valid"] == set(an4.VALID_SPEAKERS)
    assert not speakers["train"] & speakers["valid"]
    assert not (speakers["train"] | speakers["valid"]) & speakers["test"]
    vocabulary = {
        name: {word for one in part.values() for word in one["words"].split()} for name, part in splits.items()
    }
    assert vocabulary["valid"] <= vocabulary["train"]
    assert not any(mark in vocabulary["train"] for mark in ("<s>", "</s>"))


@pytest.mark.skipif(not (REAL / "an4_sph_raw_sample").is_dir(), reason="the sample is not beside the project")
@pytest.mark.parametrize("container", ["sphere", "raw_bigendian"])
def test_the_real_containers(an4: ModuleType, tmp_path: Path, container: str) -> None:
    dropped = an4.prepare_an4(REAL / "an4_sph_raw_sample" / container, tmp_path, ["mblb"])
    assert dropped.counts == {"without audio": 1078 - 35}
    cuts = read_manifest(tmp_path / "test.json")
    assert len(cuts) == 13
    flac = REAL / "an4/wav/an4test_clstk/fcaw" / f"{cuts[0].id}.flac"
    np.testing.assert_array_equal(load_cut(cuts[0]).numpy(), soundfile.read(flac, dtype="float32")[0])


def test_help_shows_sample_lines(an4: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        an4.main(["--help"])
    assert "<s> U M N Y H SIX </s> (an255-fash-b)" in capsys.readouterr().out


def test_preparation_needs_no_torch() -> None:
    """Three seconds of imports are most of what a preparation would take."""
    import subprocess

    code = "import sys, runpy; runpy.run_path('recipes/AN4/an4_prepare.py'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
