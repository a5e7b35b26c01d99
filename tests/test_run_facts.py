"""What ``run.json`` says of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_experiment import Experiment, make_experiment

from toolkit.pretrained import load_model_folder
from toolkit.run_facts import hardware, read_facts

pytestmark = pytest.mark.usefixtures("logging_put_back")


def seconds_of(manifest: Path) -> float:
    return sum(one["length"] for one in json.loads(manifest.read_text()).values())


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    return make_experiment(tmp_path)


def train(experiment: Experiment, epochs: int, *options: str) -> dict[str, Any]:
    return read_facts(experiment.train("--number_of_epochs", str(epochs), *options))


def test_facts_of_a_run(experiment: Experiment):
    facts = train(experiment, 1)
    model = load_model_folder(experiment.run, ["model"])["model"]
    assert facts["parameters"] == sum(one.numel() for one in model.parameters())
    hours = seconds_of(experiment.folder / "manifests/train.json") / 3600
    assert facts["train_hours"] == pytest.approx(hours, abs=0.0005)
    assert (facts["epochs"], facts["seed"], facts["processes"]) == (1, 1, 1)
    assert facts["threads"] == torch.get_num_threads()
    assert facts["hardware"] == hardware("cpu") != ""
    (command,) = facts["commands"]
    assert command.startswith(f"train.py {experiment.yaml}")
    assert command.endswith("--number_of_epochs 1")
    assert facts["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert facts["commit"] == "unknown"  # of a folder in no checkout
    assert 0 < facts["wall_seconds"] < 60


def test_a_run_that_goes_on_adds_up_and_another_one_in_its_place_does_not(experiment: Experiment):
    file = experiment.run / "run.json"
    facts = train(experiment, 1)
    file.write_text(json.dumps(facts | {"wall_seconds": 1000.0}))
    more = train(experiment, 2)
    assert more["epochs"] == 2
    assert 1000 < more["wall_seconds"] < 1060
    done = file.read_bytes()
    assert train(experiment, 2)["wall_seconds"] == more["wall_seconds"]
    assert json.loads(file.read_bytes()) == json.loads(done)
    assert [command.split()[-1] for command in more["commands"]] == ["1", "2"]
    for checkpoint in (experiment.run / "save").glob("CKPT+*/CKPT.yaml"):
        checkpoint.unlink()
    anew = train(experiment, 1)
    assert anew["wall_seconds"] < 60
    assert len(anew["commands"]) == 1


def test_a_command_that_trains_nothing_leaves_what_the_run_says_of_itself(experiment: Experiment):
    train(experiment, 1)
    before = {name: (experiment.run / name).read_bytes() for name in ("run.json", "hyperparams.yaml")}
    train(experiment, 1, "--lr", "0.5")
    assert {name: (experiment.run / name).read_bytes() for name in before} == before


def test_copies_at_another_speed_are_no_hours_of_their_own(experiment: Experiment):
    experiment.yaml.write_text(
        experiment.yaml.read_text().replace("shuffle: True", "shuffle: True\n  perturb_speed: True")
    )
    hours = seconds_of(experiment.folder / "manifests/train.json") / 3600
    assert train(experiment, 1)["train_hours"] == pytest.approx(hours, abs=0.0005)


def test_a_damaged_file_is_no_reason_to_stop(tmp_path: Path):
    (tmp_path / "run.json").write_text('{"epochs": 1')
    assert read_facts(tmp_path) == {}
