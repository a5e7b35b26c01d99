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


def recorded_steps(run: Path) -> list[int]:
    """The numbers of the steps in the trace."""
    trace = json.loads(gzip.decompress((run / "profile.json.gz").read_bytes()))
    names = {event.get("name", "") for event in trace["traceEvents"]}
    return sorted(int(name.partition("#")[2]) for name in names if re.fullmatch(r"ProfilerStep#\d+", name))


@pytest.mark.slow
def test_some_steps_are_recorded_and_training_goes_on(experiment: Experiment):
    run = experiment.train("--profile_training", "--profile_steps", "3", "--profile_warmup", "5")
    assert recorded_steps(run) == [5, 6, 7]  # the last step of the first epoch, counted from 0, and two of the second
    log = (run / "log.txt").read_text()
    assert re.search(r"where the time of 3 steps went .*\n.*\n.*Self CPU %", log)
    assert "aten::" in log
    assert "epoch: 2" in (run / "train_log.txt").read_text()


def test_a_run_that_ends_before_leaves_what_there_is(experiment: Experiment):
    run = experiment.train("--profile_training", "--profile_steps", "99", "--number_of_epochs", "1")
    assert recorded_steps(run)[:1] == [5]


def test_no_steps_cannot_be_recorded(experiment: Experiment):
    with pytest.raises(ConfigError, match="profile_steps: expected a whole number above 0, not 0"):
        experiment.train("--profile_training", "--profile_steps", "0")
