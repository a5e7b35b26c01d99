"""The guides for those who come from elsewhere: what they name is there, and the recipe that they bring over trains."""

from __future__ import annotations

import ast
import inspect
import pydoc
import re
import textwrap
from dataclasses import fields
from pathlib import Path

import pytest
from tone_corpus import make_tone_corpus

from toolkit.cli.main import main
from toolkit.dataio.config import NEMO_ONLY, DataConfig
from toolkit.hparams import STANDARD_KEYS, HparamsDocument
from toolkit.rehearsal.rehearse import rehearse
from toolkit.tokenizer import train_tokenizer

RECIPES = Path(__file__).parents[2] / "recipes"
GUIDES = {name: (RECIPES / f"FROM_{name}.md").read_text(encoding="utf-8") for name in ("SPEECHBRAIN", "NEMO")}

# `toolkit.models.features.LogMel(sample_rate, n_mels)`, `speechbrain.core.Brain`
NAMED = re.compile(r"`((?:toolkit|speechbrain|lhotse)\.[\w.]+)(?:\(([\w, ]*)\))?`")
DATA_KEYS = {field.name for field in fields(DataConfig)}


def rows_of(guide: str, *heads: str) -> list[list[str]]:
    """The cells of the rows of the table with these first heads."""
    start = guide.index(f"| {' | '.join(heads)} |")
    lines = guide[start:].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def codes(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


@pytest.mark.parametrize("name", GUIDES)
def test_every_class_is_there_and_takes_these_arguments(name: str) -> None:
    found = NAMED.findall(GUIDES[name])
    assert len(found) > 30
    wrong = []
    for path, given in found:
        located = pydoc.locate(path)
        if located is None:
            wrong.append(path)
        elif given:
            wrong += [f"{path}({one})" for one in given.split(", ") if one not in inspect.signature(located).parameters]
    assert wrong == []


def test_no_row_of_speechbrain_is_without_its_counterpart() -> None:
    rows = rows_of(GUIDES["SPEECHBRAIN"], "SpeechBrain", "here", "what changes")
    assert len(rows) >= 30
    assert all(codes(old)[0].startswith("speechbrain.") and NAMED.match(new) for old, new, _ in rows)


def test_keys_of_speechbrain_have_become_keys_that_are_read() -> None:
    rows = rows_of(GUIDES["SPEECHBRAIN"], "SpeechBrain's recipes", "here")
    named = {key for old, new in rows for key in codes(old if new.startswith("the same") else new)}
    known = STANDARD_KEYS.keys() | DATA_KEYS | {"number_of_epochs", "lr", "<dataset>_prepare.py", "{data_root}"}
    assert named - known == set()


def test_keys_of_nemo_are_keys_here() -> None:
    for old, new, _ in rows_of(GUIDES["NEMO"], "NeMo's `model.train_ds`", "`train_data` here", "what changes"):
        assert set(codes(new)) <= DATA_KEYS, new
        if new == "nothing" and "trim" not in old:
            assert set(codes(old)) <= set(NEMO_ONLY), old
    for _, new, _ in rows_of(GUIDES["NEMO"], "NeMo's configuration", "key of the YAML", "what changes"):
        assert set(codes(new)) <= set(STANDARD_KEYS), new


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(train_data:.*?)```", GUIDES["NEMO"], re.DOTALL))
def test_data_sets_of_nemo_are_configurations(block: str, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(block)
    values = HparamsDocument(tmp_path / "data.yaml").build()["train_data"]
    assert DataConfig.from_hparams("train_data", values).batch_duration == 300


def test_the_recipe_before_is_speechbrains() -> None:
    script, old, _ = re.findall(r"```(?:python|yaml)\n(.*?)```", GUIDES["SPEECHBRAIN"], re.DOTALL)
    classes = [node.name for node in ast.parse(textwrap.dedent(script)).body if isinstance(node, ast.ClassDef)]
    assert classes == ["ASR"]
    names = re.findall(r"!(?:new|name):(speechbrain\.[\w.]+)", old)
    assert len(names) > 6
    assert [name for name in names if pydoc.locate(name) is None] == []


def test_the_recipe_that_was_brought_over_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "mine"]) == 0
    monkeypatch.chdir(tmp_path / "mine")
    (new,) = re.findall(r"```yaml\n(# Brought over.*?)```", GUIDES["SPEECHBRAIN"], re.DOTALL)
    Path("hparams/ctc.yaml").write_text(new)
    sentences = make_tone_corpus(Path())["lm_train"].read_text().splitlines()
    train_tokenizer(sentences, "results/tokenizer/tokenizer.model", model_type="char")
    findings = rehearse(Path("hparams/ctc.yaml"), ["--device", "cpu"])
    assert findings.problems == []
    assert any(fact.startswith("a training step: loss ") for fact in findings.facts)
