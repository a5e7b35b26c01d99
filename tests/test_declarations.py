"""What a YAML declares fits its Brain and its classes before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_experiment import YAML as TEMPLATE

from toolkit.declarations import check_declarations
from toolkit.errors import ConfigError
from toolkit.hparams import STANDARD_KEYS, HparamsDocument

YAML = TEMPLATE.format(folder="somewhere")


def check(folder: Path, text: str) -> None:
    (folder / "train.yaml").write_text(text, encoding="utf-8")
    check_declarations(HparamsDocument(folder / "train.yaml"))


def test_what_fits_passes(tmp_path: Path) -> None:
    check(tmp_path, YAML)
    check(tmp_path, YAML + "consistency_weight: 0.2\nlr_schedule: null\ntensorboard: True\n")
    check(tmp_path, "output_folder: x\ntrain_text: x\nmodel_type: char\nvocab_size: 9\n")
    check(tmp_path, "brain: !name:torch.nn.Linear\nlabel_smoothing: 0.1\n")  # not a Brain of ours: it may read anything


@pytest.mark.parametrize("key", ["opt_class", "epoch_counter", "valid_search", "test_search", "model", "valid_data"])
def test_a_missing_key_is_named_with_what_it_is(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"train\.yaml: CTCBrain needs {key} \({STANDARD_KEYS[key][:20]}"):
        check(tmp_path, YAML.replace(f"\n{key}:", "\n__hidden:"))


def test_a_model_needs_a_brain(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.yaml: has no brain, the class that trains the model"):
        check(tmp_path, YAML.replace("brain: !name:toolkit.brains.ctc.CTCBrain\n", ""))


@pytest.mark.parametrize("line", ["label_smoothing: 0.1", "ctc_weight: 0.3", "batch_tokens: 100", "vocab_size: 30"])
def test_a_key_that_only_others_read_is_dead(tmp_path: Path, line: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"train\.yaml, line 2: CTCBrain does not read the key '{line.split(':')[0]}'"
    ):
        check(tmp_path, YAML.replace("# Tones\n", f"# Tones\n{line}\n"))
    check(tmp_path, f"{YAML}{line}\n__noted: !ref <{line.split(':')[0]}>\n")


def test_a_tokenizer_has_no_epochs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="training a tokenizer does not read the key 'precision'"):
        check(tmp_path, "output_folder: x\ntrain_text: x\nprecision: bf16\n")


def test_one_thing_sets_the_learning_rate(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lr_annealing and lr_schedule both set the learning rate"):
        check(tmp_path, f"{YAML}lr_annealing: null\nlr_schedule: null\n")


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        (
            "dropout:",
            "dropuot:",
            r"model: toolkit\.models\..*\.CRDNN takes no 'dropuot' \(did you mean",
        ),
        ("limit:", "epochs:", r"epoch_counter: .*\.EpochCounter takes no 'epochs'; it takes limit"),
    ],
)
def test_an_argument_that_a_class_does_not_take(tmp_path: Path, right: str, wrong: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(tmp_path, YAML.replace(right, wrong))
