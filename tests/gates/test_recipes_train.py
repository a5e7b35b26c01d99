"""Every YAML of every recipe trains one epoch with its own script, on tones.

A recipe is run as its user would, from inside its folder and with the paths that its YAML files name: what the
tokenizer leaves, the language model finds, and what they leave, the recogniser. The data differ: wherever a YAML names
a file of manifests/, there are tones.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from disk import ROOT, files, load_script, recipe_folders, yaml_files
from tiny_wav2vec2 import save_tiny_wav2vec2
from tone_corpus import make_tone_corpus

import toolkit.brains.base
from toolkit.brains.learning_curve import read_train_log
from toolkit.collection import SCRIPTS, script_of
from toolkit.dataio.manifests import read_manifest
from toolkit.hparams import HparamsDocument
from toolkit.inference.transcriber import Transcriber
from toolkit.metrics.error_rate import ErrorRateTracker
from toolkit.metrics.report import report_lines

# What is set so that an epoch is short, where a YAML has such a key. Tones are sung with eleven letters.
SHORT: dict[str, Any] = {
    "number_of_epochs": 1,
    "train_data": {"num_workers": 0},
    "vocab_size": 16,
    "epoch_sentences": 20,
}

# What is made small, where a YAML has such a key: the sizes of models that are meant for hundreds of hours.
SIZES: dict[str, int] = {
    "model_size": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "heads": 2,
    "hidden": 32,
    "cnn_channels": 4,  # in each of its blocks
    "rnn_neurons": 16,
    "rnn_layers": 1,
    "dnn_neurons": 16,
    "decoder_neurons": 16,
    "embedding_size": 16,
    "joint_size": 16,
    "predictor_size": 16,
}

# A manifest or a text of a recipe, or of one beside it.
MANIFEST = re.compile(r"(\.\./\w+/)?manifests/")

RECIPES = recipe_folders()


def train_all(recipe: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Train every YAML of a recipe in a copy of it; the names of those that left what they should."""
    copy = workplace / recipe.name
    shutil.copytree(recipe, copy, ignore=lambda *_: {"corpus", "manifests", "results"})
    monkeypatch.chdir(copy)
    # a tenth of the time; tests/test_experiment.py wants a picture of a run
    monkeypatch.setattr(toolkit.brains.base, "plot_learning_curve", lambda *_: None)
    documents = [document for document in map(HparamsDocument, yaml_files(copy)) if _can_be_trained(document)]
    for name in {text for document in documents for text in _texts(document.data) if MANIFEST.match(text)}:
        _sing(workplace / "tones", Path(name))
    for document in sorted(documents, key=_turn):
        if "wav2vec2" in document:
            save_tiny_wav2vec2(Path(document.data["wav2vec2"]))  # where a name of the hub would be looked for first
        load_script(copy / script_of(document)).main([str(document.path), *_options(document)])
        _check_run(document)
    return sorted(document.path.name for document in documents)


def _can_be_trained(document: HparamsDocument) -> bool:
    return "wav2vec2" not in document or find_spec("transformers") is not None


def _turn(document: HparamsDocument) -> tuple[int, bool]:
    """What sorts the experiments so that each finds what it begins with."""
    return SCRIPTS.index(script_of(document)), "encoder_folder" in document


def _texts(node: Any) -> Iterator[str]:
    """All texts in a YAML tree."""
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else [str(node)]
    for child in children:
        yield from [child] if isinstance(child, str) else _texts(child)


def _sing(tones: Path, file: Path) -> None:
    """Put tones where a YAML expects a manifest or a text, of train, valid or test as its name says.

    Utterances get the names of the folders, so that those of a blend differ.
    """
    if not tones.exists():
        make_tone_corpus(tones, utterances=6)
    split = next((split for split in ("train", "valid", "dev") if split in file.name), "test").replace("dev", "valid")
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".jsonl":  # noises or room impulse responses
        files = sorted((tones / "wav").glob("train*"))[:2]
        file.write_text("".join(f"{json.dumps({'audio': str(one)})}\n" for one in files))
        return
    text = (tones / "manifests" / (f"lm_{split}.txt" if file.suffix == ".txt" else f"{split}.json")).read_text()
    file.write_text(re.sub('^"', f'"{"-".join(file.parts[:-1])}-', text, flags=re.MULTILINE))
    shutil.copy(tones / "manifests/data_root.txt", file.parent)


def _options(document: HparamsDocument) -> list[str]:
    short = {key: value for key, value in SHORT.items() if key in document}
    for key in SIZES.keys() & document.data.keys():
        written = document.data[key]
        short[key] = [SIZES[key]] * len(written) if isinstance(written, list) else SIZES[key]
    if not isinstance(document.data.get("vocab_size"), int):
        short.pop("vocab_size", None)
    settings = [word for key, value in short.items() for word in (f"--{key}", json.dumps(value))]
    return [*settings, "--device", "cpu", "--noprogressbar"]


def _check_run(document: HparamsDocument) -> None:
    """A tokenizer; or a log of an epoch and of each test, a checkpoint, and of a recogniser errors and transcripts."""
    run = Path(document.data["output_folder"])
    assert (run / "hyperparams.yaml").is_file()
    if script_of(document) == "train_tokenizer.py":
        assert (run / "tokenizer.model").is_file()
        return
    assert all(math.isfinite(read_train_log(run / "train_log.txt")[f"{stage} loss"][1]) for stage in ("train", "valid"))
    tests = document.data["test_text" if script_of(document) == "train_lm.py" else "test_data"]
    assert re.findall(r"test: (\w+) - test", (run / "train_log.txt").read_text()) == list(tests)
    assert len(list(run.glob("save/CKPT+*"))) == 1
    if script_of(document) == "train.py":
        assert {path.name for path in run.glob("wer_*.txt")} == {f"wer_{name}.txt" for name in tests}
        _check_transcripts(run, next(iter(tests)))


def _check_transcripts(run: Path, test: str) -> None:
    """What inference makes of the run's folder is what its test counted."""
    document = HparamsDocument(run / "hyperparams.yaml")
    document.keep(document.needed_by(["test_data"]))
    data = document.build()["test_data"][test]
    cuts = list(read_manifest(next(text for text in _texts(data) if text.endswith(".json"))))
    files = [cut.recording.sources[0].source for cut in cuts]
    tracker = ErrorRateTracker()
    for cut, transcript in zip(cuts, Transcriber.from_hparams(run, device="cpu").transcribe_files(files), strict=True):
        tracker.add(cut.id, cut.supervisions[0].text, transcript.text)
    assert next(report_lines(tracker)) == (run / f"wer_{test}.txt").read_text(encoding="utf-8").splitlines()[0]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_recipe_trains(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trained = train_all(recipe, tmp_path, monkeypatch)
    assert trained == [path.name for path in files(recipe, "*.y*ml") if _can_be_trained(HparamsDocument(path))]


def test_every_recipe_is_trained():
    beside = [path for top in ("recipes", "templates") for path in (ROOT / top).iterdir() if path.is_dir()]
    assert sorted(beside) == RECIPES
