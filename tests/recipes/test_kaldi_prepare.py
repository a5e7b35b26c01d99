"""Kaldi's preparation on miniature data folders, with segments and without."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from miniature import RECIPES, load_prepare, read_cuts, sing, spoken
from tiny_experiment import load_script, make_experiment

from toolkit.cli.main import main
from toolkit.dataio.cut_audio import load_cut
from toolkit.dataio.transcripts import read_transcripts
from toolkit.errors import DataError
from toolkit.metrics.error_rate import ErrorRateTracker
from toolkit.metrics.report import report_lines


@pytest.fixture(scope="module")
def kaldi() -> ModuleType:
    """The recipe's script."""
    return load_prepare("Kaldi")


def write(folder: Path, **files: Iterable[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        (folder / name.replace("wav_scp", "wav.scp")).write_text("".join(f"{line}\n" for line in lines))
    return folder


SPLITS = {"train": "train", "valid": "dev", "test": "test"}


def build(folder: Path) -> Path:
    """Folders of all kinds."""
    for name in ("call.sph", "talk.flac", "one.wav"):
        sing(folder / "audio" / name, 2.0)
    write(
        folder / "data/train",
        wav_scp=[f"call sph2pipe -f wav -p {folder}/audio/call.sph |", f"talk {folder}/audio/talk.flac"],
        segments=["ann-1 call 0.25 0.75", "ann-2 call 1.00 2.00", "bob-1 talk 0.50 1.25"],
        text=["ann-1 ONE", "ann-2 TWO", "bob-1 THREE"],
        utt2spk=["ann-1 ann", "ann-2 ann", "bob-1 bob"],
    )
    write(folder / "data/dev", wav_scp=[f"cat-1 {folder}/audio/one.wav"], text=["cat-1 FOUR"], utt2lang=["cat-1 en"])
    write(folder / "data/test", wav_scp=[f"dan-1 {folder}/audio/one.wav"], text=["dan-1 FIVE"])
    return folder / "data"


def test_folders(kaldi: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kaldi.main([str(build(tmp_path)), str(tmp_path / "m")])
    assert spoken(tmp_path / "m/train.json") == {"ann-1": "ONE", "ann-2": "TWO", "bob-1": "THREE"}
    assert spoken(tmp_path / "m/test.json") == {"dan-1": "FIVE"}
    assert "train: 3 utterances, 0.0 min, 3 words, 2 speakers" in capsys.readouterr().out
    tone = sing(tmp_path / "tone.wav", 2.0)
    first, *_ = read_cuts(tmp_path / "m/train.json")
    np.testing.assert_allclose(load_cut(first).numpy(), tone[4000:12000], atol=1e-4)
    (whole,) = read_cuts(tmp_path / "m/valid.json")
    assert (whole.duration, whole.supervisions[0].language) == (2.0, "en")


def test_several_test_folders_have_their_names(kaldi: ModuleType, tmp_path: Path) -> None:
    data = build(tmp_path)
    kaldi.main([str(data), str(tmp_path / "m"), "--test", "test", str(data / "dev")])
    assert {path.name for path in (tmp_path / "m").glob("test*")} == {"test_test.json", "test_dev.json"}
    with pytest.raises(DataError, match="--test: two folders have one name"):
        kaldi.main([str(data), str(tmp_path / "m"), "--test", "test", "test"])


def test_commands_are_not_run_and_what_they_would_make_is_dropped(kaldi: ModuleType, tmp_path: Path) -> None:
    data = build(tmp_path)
    with (data / "train/wav.scp").open("a") as lines:
        lines.write(f"loud touch {tmp_path}/ran; cat {tmp_path}/audio/one.wav |\nark feats.ark:17\n")
    with (data / "train/segments").open("a") as lines:
        lines.write("eve-1 loud 0.0 1.0\neve-2 ark 0.0 1.0\neve-3 talk 0.0 1.0\nfay-1 talk 1.5 2.5\n")
    with (data / "train/text").open("a") as lines:
        lines.write("eve-1 SIX\neve-2 SEVEN\nfay-1 EIGHT\n")
    dropped = kaldi.prepare_kaldi(data, tmp_path / "m", SPLITS)
    assert list(spoken(tmp_path / "m/train.json")) == ["ann-1", "ann-2", "bob-1"]
    assert not (tmp_path / "ran").exists()
    assert {reason: len(cases) for reason, cases in dropped.reasons.items()} == {
        "that cannot be read": 3,
        "with an empty transcript": 1,  # eve-3
    }
    for reason in ("commands in data are not run", "is in an archive of Kaldi's", "has 1.0 s from 1.5 s on"):
        assert reason in dropped.summary()
    write(data / "train", wav_scp=["call curl http://localhost/a.wav |", "talk b.wav"])
    with pytest.raises(DataError, match=r"no utterance is left for train(.|\n)*curl http://localhost/a.wav"):
        kaldi.main([str(data), str(tmp_path / "m")])


def test_a_wrong_folder_says_what_was_looked_for(kaldi: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "train/steps").mkdir(parents=True)
    with pytest.raises(DataError, match=r"is not a folder of Kaldi's data folders: looked for dev, test; .*: train"):
        kaldi.prepare_kaldi(tmp_path, tmp_path / "m", SPLITS)
    with pytest.raises(DataError, match=r"train is not a data folder of Kaldi's: looked for wav.scp, text; .*: steps"):
        kaldi.prepare_kaldi(tmp_path, tmp_path / "m", {"train": "train"})


@pytest.mark.slow
def test_segments_are_trained_tested_and_transcribed(kaldi: ModuleType, tmp_path: Path) -> None:
    experiment = make_experiment(tmp_path)
    words = spoken(tmp_path / "manifests/test.json")
    load_script(RECIPES / "Kaldi/an4_as_kaldi.py").main([str(tmp_path / "manifests"), str(tmp_path / "data")])
    kaldi.prepare_kaldi(tmp_path / "data", tmp_path / "manifests", SPLITS)
    manifest = tmp_path / "manifests/test.json"
    assert {name.partition("-")[2]: said for name, said in spoken(manifest).items()} == words
    run = experiment.train("--number_of_epochs", "1")
    main(["transcribe", str(run), str(manifest), "--output", str(tmp_path / "test.txt"), "--device", "cpu"])
    tracker = ErrorRateTracker()
    heard = read_transcripts(tmp_path / "test.txt")
    for name, said in read_transcripts(manifest).items():
        tracker.add(name, said.text, heard[name].text)
    assert next(report_lines(tracker)) == (run / "wer_tones.txt").read_text(encoding="utf-8").splitlines()[0]
