"""Where the time of a few steps goes."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
from tiny_experiment import Experiment, make_experiment

from toolkit.errors import ConfigError

pytestmark = pytest.mark.usefixtures("logging_put_back")


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    """One of six steps an epoch."""
    return make_experiment(tmp_path)


def recorded(run: Path) -> list[str]:
    """The names of the events in the trace."""
    trace = json.loads(gzip.decompress((run / "profile.json.gz").read_bytes()))
    return [event.get("name", "") for event in trace["traceEvents"]]


def recorded_steps(run: Path) -> list[int]:
    """The numbers of the steps in the trace."""
    steps = {name for name in recorded(run) if re.fullmatch(r"ProfilerStep#\d+", name)}
    return sorted(int(name.partition("#")[2]) for name in steps)


def test_some_steps_are_recorded_and_training_goes_on(experiment: Experiment):
    run = experiment.train("--profile_training", "--profile_steps", "2", "--profile_warmup", "1")
    assert recorded_steps(run) == [1, 2]  # after step 0
    log = (run / "log.txt").read_text()
    assert re.search(r"where the time of 2 steps went .*\n.*\n.*Self CPU %", log)
    assert "aten::" in log
    assert log.count("where the time") == 1
    assert "epoch: 2" in (run / "train_log.txt").read_text()


def test_where_an_epoch_ends_its_steps_are_all(experiment: Experiment):
    run = experiment.train("--profile_training", "--profile_steps", "99", "--profile_warmup", "4")
    assert "where the time of 2 steps went" in (run / "log.txt").read_text()  # of six
    names = recorded(run)
    assert names.count("Optimizer.step#AdamW.step") == names.count("aten::_ctc_loss") == 2  # no loss of validation


def test_steps_that_would_come_after_the_last_of_an_epoch_are_those_of_the_next(experiment: Experiment):
    run = experiment.train("--profile_training", "--profile_steps", "2", "--profile_warmup", "6")
    assert recorded_steps(run) == [1, 2]


def test_training_that_ends_before_says_so(experiment: Experiment):
    run = experiment.train("--profile_training", "--profile_warmup", "50", "--number_of_epochs", "1")
    assert not (run / "profile.json.gz").exists()
    assert re.search(
        r"WARNING .*nothing was profiled: .*the first 50 .*lower --profile_warmup", (run / "log.txt").read_text()
    )


def test_no_steps_cannot_be_recorded(experiment: Experiment):
    with pytest.raises(ConfigError, match="profile_steps: expected a whole number above 0, not 0"):
        experiment.train("--profile_training", "--profile_steps", "0")
