"""The script that trains on several nodes, with commands of SLURM that start both nodes on this machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_experiment import make_experiment

from toolkit.brains.learning_curve import read_train_log

SCRIPT = Path(__file__).parents[2] / "recipes/slurm.sh"

# Two nodes with the job's cores, which begin at once and are waited for, as srun does.
COMMANDS = {
    "scontrol": 'test "$*" = "show hostnames node[1-2]" && printf "localhost\\nlocalhost\\n"',
    "srun": 'test "$2" = --cpus-per-task=7 || exit 3; shift 2; '
    '"$@" & first=$!; "$@" & second=$!; wait $first && wait $second',
}


def test_the_script_is_a_program_that_bash_can_read():
    assert os.access(SCRIPT, os.X_OK)
    assert subprocess.run(["bash", "-n", str(SCRIPT)], capture_output=True, check=True).stderr == b""


@pytest.mark.slow
def test_two_nodes_train_one_model(tmp_path: Path, free_port: int):
    experiment = make_experiment(tmp_path)
    for name, text in COMMANDS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    path = os.pathsep.join((str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]))
    job = {
        "SLURM_CPUS_PER_TASK": "7",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_ID": str(free_port - 20000),
        "PATH": path,
    }
    words = [str(experiment.script), str(experiment.yaml), "--device", "cpu", "--number_of_epochs", "1"]
    with subprocess.Popen([str(SCRIPT), *words], env=os.environ | {"OMP_NUM_THREADS": "1"} | job) as process:
        try:
            process.wait(timeout=180)
        except subprocess.TimeoutExpired:
            process.terminate()
            raise
    assert process.returncode == 0
    assert json.loads((experiment.run / "run.json").read_text())["processes"] == 2
    assert read_train_log(experiment.run / "train_log.txt")["train loss"].keys() == {1}
    assert (experiment.run / "wer_tones.txt").is_file()


@pytest.fixture
def free_port() -> int:
    """One of those that the script chooses from."""
    for port in range(20000, 30000):
        with socket.socket() as one:
            try:
                one.bind(("localhost", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
