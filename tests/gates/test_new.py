"""`asr new` makes a recipe that passes the gates as it is; and the gates see what breaks a recipe."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from disk import ROOT, parse, recipe_folders
from test_readmes import find_bad_readmes
from test_recipes_train import train_all
from test_scripts import find_bad_scripts
from test_yaml_keys import find_bad_yamls

from toolkit.cli import new
from toolkit.cli.main import main

GATES = [find_bad_scripts, find_bad_yamls, find_bad_readmes]
LONG = "def talk():\n" + 150 * "    print()\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `asr new digits` makes."""
    folder = tmp_path_factory.mktemp("new") / "digits"
    assert main(["new", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("find", GATES)
def test_new_recipe_passes(find: Callable[[Path], list[str]], made: Path):
    assert find(made) == []


@pytest.mark.parametrize("recipe", recipe_folders(), ids=lambda path: path.name)
def test_a_copy_of_any_recipe_passes(recipe: Path, tmp_path: Path):
    copy = tmp_path / "somewhere/mine"
    assert main(["new", str(copy), "--from", recipe.name]) == 0
    assert [problem for find in GATES for problem in find(copy)] == []


def test_what_is_installed_is_what_is_copied():
    assigned = [node for node in parse(ROOT / "setup.py").body if isinstance(node, ast.Assign)]
    (made,) = [node.value for node in assigned if node.targets[0].id == "MADE"]
    assert ast.literal_eval(made) == new.MADE


@pytest.mark.slow
def test_new_recipe_trains(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert train_all(made, tmp_path, monkeypatch) == sorted(path.name for path in (made / "hparams").iterdir())


@pytest.mark.parametrize(
    ("file", "text", "replacement", "find", "problem"),
    [
        ("train.py", "brain.train_on(train, valid)", "brain.train_on(valid, train)", find_bad_scripts, "differs from"),
        ("train.py", '"""Train a', '"""Differs from the template: no. Train a', find_bad_scripts, "or says so"),
        ("train_lm.py", "    python train_lm.py", "    python3 it.py", find_bad_scripts, "does not show its command"),
        ("train.py", "--lr 0.0005", "--learning_rate 0.0005", find_bad_scripts, "no option --learning_rate"),
        ("demo.py", "def main", LONG + "\n\ndef main", find_bad_scripts, "fewer than 150"),
        ("hparams/ctc.yaml", "\nn_mels:", "\nn_mels: 40\nn_mel:", find_bad_yamls, "nothing reads the key 'n_mel'"),
        ("hparams/ctc.yaml", "!ref <encoder>", "!ref <encoding>", find_bad_yamls, "<encoding>` refers to no key"),
        ("hparams/ctc.yaml", "hparams/lm.yaml", "hparams/lm_gpt.yaml", find_bad_yamls, "no hparams/lm_gpt.yaml"),
        ("hparams/lm.yaml", "train_lm.py", "train.py", find_bad_yamls, "is for train_lm.py"),
        ("README.md", "\n", "\n`python demos.py`\n", find_bad_readmes, "there is no demos.py"),
        ("README.md", "\n", "\n[here](nowhere.md)\n", find_bad_readmes, "nowhere.md"),
    ],
)
def test_gates_see(
    file: str, text: str, replacement: str, find: Callable[[Path], list[str]], problem: str, made: Path, tmp_path: Path
):
    broken = Path(shutil.copytree(made, tmp_path / "broken"))
    before = (broken / file).read_text(encoding="utf-8")
    assert text in before
    (broken / file).write_text(before.replace(text, replacement, 1), encoding="utf-8")
    assert any(problem in sentence for sentence in find(broken)), find(broken)
