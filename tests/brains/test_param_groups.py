"""Parameters that stay as they are, and those that have a learning rate of their own."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from speechbrain import Stage
from speechbrain.utils.epoch_loop import EpochCounter
from tiny_experiment import Experiment, make_experiment
from torch import nn
from torch.utils.data import DataLoader

from toolkit.brains.base import RecipeBrain
from toolkit.brains.param_groups import GroupOptions, freeze, make_optimizer
from toolkit.checkpoints import best_checkpoints, read_weights
from toolkit.errors import ConfigError, ExperimentError

pytestmark = pytest.mark.usefixtures("logging_put_back")


@pytest.fixture
def model() -> nn.Module:
    """Parameters encoder.1.*, encoder.10.* and output.*."""
    encoder = nn.ModuleDict({"1": nn.BatchNorm1d(2), "10": nn.Linear(2, 2)})
    return nn.ModuleDict({"encoder": encoder, "output": nn.Linear(2, 3)})


def frozen(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


def optimizer_of(model: nn.Module, groups: Any) -> torch.optim.Optimizer:
    return make_optimizer(partial(torch.optim.SGD, lr=0.1), model, groups, model.parameters())


def rates(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {names[one]: group["lr"] for group in optimizer.param_groups for one in group["params"]}


def test_a_beginning_is_of_whole_names(model: nn.Module):
    names = freeze(model, ["encoder.1", "output.bias"])
    assert frozen(model) == {"encoder.1.weight", "encoder.1.bias", "output.bias"}
    assert names == ["encoder.1"]  # the one that is a module


def test_the_longer_of_two_names_decides(model: nn.Module):
    optimizer = optimizer_of(model, {"encoder.10": {"lr": 0.01}, "encoder": {"lr": 0.02}})
    found = rates(model, optimizer)
    assert found == {
        **{"encoder.1.weight": 0.02, "encoder.1.bias": 0.02, "encoder.10.weight": 0.01, "encoder.10.bias": 0.01},
        **{"output.weight": 0.1, "output.bias": 0.1},
    }


def test_a_new_rate_is_divided_as_the_first_one_was(model: nn.Module):
    optimizer = optimizer_of(model, {"encoder": {"lr": 0.01}})
    options = GroupOptions(optimizer)
    options.set_rate(0.5)
    assert options.rate == rates(model, optimizer)["output.bias"] == 0.5
    assert rates(model, optimizer)["encoder.1.bias"] == pytest.approx(0.05)


def test_where_every_parameter_is_in_a_group_the_rate_is_the_one_that_they_share(model: nn.Module):
    optimizer = optimizer_of(model, {"encoder": {"lr": 0.01}, "output": {"lr": 0.02}})
    assert GroupOptions(optimizer).rate == 0.1
    assert sorted(set(rates(model, optimizer).values())) == pytest.approx([0.01, 0.02])


@pytest.mark.parametrize("lr", [0.1, 0.3])
def test_an_annealed_rate_goes_on_and_its_shares_are_those_of_the_yaml(model: nn.Module, caplog, lr: float):
    before = optimizer_of(model, {"encoder": {"lr": 0.01}})
    GroupOptions(before).set_rate(0.05)  # annealed
    sgd = partial(torch.optim.SGD, lr=lr, momentum=0.9)
    optimizer = make_optimizer(sgd, model, {"encoder": {"lr": lr / 2}}, model.parameters())
    options = GroupOptions(optimizer)
    optimizer.load_state_dict(before.state_dict())
    options.renew(is_annealed=True)
    assert rates(model, optimizer)["output.bias"] == 0.05
    assert rates(model, optimizer)["encoder.1.bias"] == pytest.approx(0.025)
    assert {group["momentum"] for group in optimizer.param_groups} == {0.9}
    assert ("an lr of 0.3, which was 0.1, has no effect: lr_annealing goes on with 0.05" in caplog.text) == (lr == 0.3)


def test_a_rate_that_nothing_anneals_is_the_one_of_the_yaml(model: nn.Module):
    before, optimizer = optimizer_of(model, {}), make_optimizer(torch.optim.SGD, model, {}, model.parameters())
    GroupOptions(before)
    options = GroupOptions(optimizer)
    optimizer.load_state_dict(before.state_dict())
    options.renew(is_annealed=False)
    assert options.rate == rates(model, optimizer)["output.bias"] == optimizer.defaults["lr"] != 0.1


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["encoder.2"],
            r"freeze: no parameter's name begins with 'encoder\.2'; near it: encoder\.1, ",
        ),
        (["enc"], r"freeze: no parameter's name begins with 'enc'; near it: encoder"),
        (["zzz"], r"begins with 'zzz'; near it: encoder, output"),
        ("encoder", r"freeze: expected a list, such as \[encoder\], not 'encoder'"),
        (["encoder", "output"], r"freeze: \['encoder', 'output'\] leaves no parameter to train"),
    ],
)
def test_what_cannot_be_frozen(model: nn.Module, names: Any, message: str):
    with pytest.raises(ConfigError, match=message):
        freeze(model, names)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"outputs": {"lr": 1.0}}, r"param_groups: no parameter's name begins with 'outputs'; near it: output"),
        ({"output": {"weight_decy": 1.0}}, r"no option 'weight_decy' \(did you mean 'weight_decay'"),
        ({"output": {"lr": "fast"}}, r"param_groups\.output\.lr: expected a number, not 'fast'"),
        ({"output": 0.1}, r"param_groups: expected options by name, such as .*, not \{'output': 0\.1\}"),
    ],
)
def test_groups_that_cannot_be(model: nn.Module, groups: Any, message: str):
    with pytest.raises(ConfigError, match=message):
        optimizer_of(model, groups)


def last_weights(run: Path) -> dict[str, torch.Tensor]:
    return read_weights(best_checkpoints(run / "save")[0] / "model.ckpt")


class Normed(nn.Module):
    """One whose encoder is another in training than in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5))
        self.output = nn.Linear(2, 1)


class NormedBrain(RecipeBrain):
    """Trains it, and notes what it is trained with."""

    def compute_forward(self, batch: torch.Tensor, stage: Stage) -> torch.Tensor:
        if stage == Stage.TRAIN:
            self.trained = {name: module.training for name, module in self.model.named_modules()}
        return self.model.output(self.model.encoder(batch))

    def compute_objectives(self, predictions: torch.Tensor, batch: Any, stage: Stage) -> torch.Tensor:  # noqa: ARG002
        return predictions.square().mean()


@pytest.mark.parametrize("names", [["encoder"], ["encoder.0"], []])
@pytest.mark.parametrize("is_replaced", [False, True], ids=["", "replaced"])
def test_modules_that_are_frozen_are_in_evaluation_mode(tmp_path: Path, monkeypatch, names, is_replaced):
    def replace(brain: NormedBrain) -> None:  # as for a distributed run
        if is_replaced:
            nn.SyncBatchNorm.convert_sync_batchnorm(brain.model)

    monkeypatch.setattr(NormedBrain, "_wrap_distributed", replace)
    hparams = {"model": Normed(), "epoch_counter": EpochCounter(2), "opt_class": partial(torch.optim.SGD, lr=0.1)}
    brain = NormedBrain(hparams | {"freeze": names, "output_folder": str(tmp_path)}, {"device": "cpu"})
    brain.train_on(DataLoader(torch.randn(8, 2) + 5, batch_size=4), DataLoader(torch.randn(4, 2), batch_size=4))
    assert brain.trained["output"]
    assert brain.trained["encoder.1"] == ("encoder" not in names)
    assert brain.trained["encoder.0"] == bool(brain.model.encoder[0].running_mean.any()) == (not names)
    assert isinstance(brain.model.encoder[0], nn.SyncBatchNorm) == is_replaced


KEYS = """\
freeze: [encoder]
param_groups:
  ctc_output.bias: {lr: 0.0}
lr_schedule: !new:toolkit.brains.schedules.WarmupCosine
  lr: !ref <lr>
  warmup_steps: 2
  number_of_epochs: !ref <number_of_epochs>
init_from: null
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    experiment = make_experiment(tmp_path)
    experiment.yaml.write_text(experiment.yaml.read_text() + KEYS)
    return experiment


def test_only_what_is_trained_changes_also_when_the_run_continues_with_more(experiment: Experiment, tmp_path: Path):
    first = experiment.train("--number_of_epochs", "1")
    begun = last_weights(first)
    second = ["--output_folder", str(tmp_path / "second"), "--init_from", str(first), "--average_checkpoints", "1"]
    experiment.train(*second, "--number_of_epochs", "1")
    weights = last_weights(tmp_path / "second")
    changed = {name for name, tensor in weights.items() if not torch.equal(tensor, begun[name])}
    assert changed == {"ctc_output.weight"}
    experiment.train(*second, "--number_of_epochs", "2", "--freeze", "[]")
    log = (tmp_path / "second/train_log.txt").read_text()
    assert "epoch: 2" in log
    optimizer = torch.load(max((tmp_path / "second/save").glob("CKPT+*/optimizer.ckpt")))
    assert len(optimizer["state"]) > 2  # the encoder's parameters were stepped, too


def test_a_run_does_not_continue_with_other_groups(experiment: Experiment):
    experiment.train("--number_of_epochs", "1")
    with pytest.raises(ExperimentError, match=r"param_groups was ctc_output\.bias, now ctc_output\.bias, encoder"):
        experiment.train("--number_of_epochs", "2", "--param_groups", "{encoder: {lr: 0.1}}")
