"""One run by two processes: torchrun with gloo on the CPU, as a user starts it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_experiment import Experiment, make_experiment

from toolkit.brains.learning_curve import read_train_log
from toolkit.run_facts import read_facts

pytestmark = pytest.mark.slow

EPOCHS, UTTERANCES = 2, 11  # an odd number, which does not divide among two

# A Brain that writes down what each process saw and reached; with STOP_AT, until both are killed there.
RECORDING = """
import json, os
from toolkit.brains.attention import AttentionBrain

class RecordingBrain(AttentionBrain):
    seen = []

    def compute_forward(self, batch, stage):
        if stage.name == "TRAIN" and os.environ.get("STOP_AT") == f"{self.epoch}/{self.step}":
            self.train_figures = None
            self.write()
            os._exit(1)
        self.seen.append((stage.name, self.epoch, batch.id))
        return super().compute_forward(batch, stage)

    def on_stage_end(self, stage, stage_loss, epoch=None):
        super().on_stage_end(stage, stage_loss, epoch)
        if stage.name == "VALID":
            self.write()

    def test_on(self, test, name):
        super().test_on(test, name)
        self.write()

    def write(self):
        weights = [one.detach().double().sum().item() for one in self.model.parameters()]
        record = {"seen": self.seen, "weights": weights, "train": self.train_figures, "steps": self.optimizer_step}
        file = self.output_folder / f"rank{os.environ['RANK']}.json"
        file.write_text(json.dumps(record))
"""

# With a CTC output that is not used after the first epoch, and yet must have gradients.
ATTENTION = """\
toolkit.models.recogniser.AttentionModel
  decoder: !new:toolkit.models.location_attention.AttentionalGRUDecoder
    vocab_size: !apply:len [!ref <tokenizer>]
    memory_size: 32
    neurons: 8
    attention_size: 8
"""
LOSS = "ctc_weight: 0.5\nlabel_smoothing: 0.1\nnumber_of_ctc_epochs: 1\n"


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """After a run by two processes."""
    experiment = make_experiment(tmp_path_factory.mktemp("distributed"), UTTERANCES)
    (experiment.folder / "recording.py").write_text(RECORDING)
    text = experiment.yaml.read_text().replace("toolkit.brains.ctc.CTCBrain", "recording.RecordingBrain")
    text = text.replace("toolkit.models.recogniser.CTCModel\n", ATTENTION)
    experiment.yaml.write_text(text.replace("opt_class:", LOSS + "opt_class:"))
    text = experiment.yaml.read_text().replace("num_buckets: 1", "num_buckets: 1\n  num_workers: !ref <workers>")
    experiment.yaml.write_text(f"workers: 0\n{text}")
    torchrun(experiment)
    return experiment


def torchrun(experiment: Experiment, *options: str, stop_at: str = "") -> None:
    """Train, by two processes; with ``stop_at``, until epoch/batch, where both of them are killed."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words = [str(experiment.script), str(experiment.yaml), "--device", "cpu", *options]
    words += ["--number_of_epochs", str(EPOCHS), "--ckpt_interval_steps", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "STOP_AT": stop_at}
    with subprocess.Popen(command + words, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            _, errors = process.communicate(timeout=180)
        except subprocess.TimeoutExpired:
            process.terminate()  # a kill would leave its two processes behind
            raise
    assert bool(process.returncode) == bool(stop_at), errors[-3000:]


@pytest.fixture
def records(experiment: Experiment) -> list[dict[str, Any]]:
    return read_records(experiment.run)


def read_records(run: Path) -> list[dict[str, Any]]:
    return [json.loads((run / f"rank{rank}.json").read_text()) for rank in (0, 1)]


def batches(record: dict[str, Any], stage: str, epoch: int) -> list[list[str]]:
    return [ids for its_stage, its_epoch, ids in record["seen"] if (its_stage, its_epoch) == (stage, epoch)]


def test_each_utterance_is_trained_on_once_an_epoch(records):
    for epoch in range(1, EPOCHS + 1):
        shares = [batches(record, "TRAIN", epoch) for record in records]
        assert len(shares[0]) == len(shares[1]) > 0
        names = [name for share in shares for batch in share for name in batch]
        assert len(set(names)) == len(names) == UTTERANCES


def test_both_end_with_the_same_weights_losses_and_steps(records):
    for key in ("weights", "steps"):
        assert records[0][key] == records[1][key]
    losses = [record["train"]["loss"] for record in records]
    assert losses[0] == losses[1]


def test_a_killed_run_loses_and_repeats_no_utterance_also_with_other_workers(experiment, records, tmp_path: Path):
    torchrun(experiment, "--output_folder", str(tmp_path), stop_at="2/2")
    before = read_records(tmp_path)
    torchrun(experiment, "--output_folder", str(tmp_path), "--workers", "1")
    after = read_records(tmp_path)
    for rank in (0, 1):
        parts = [batches(part[rank], "TRAIN", 2) for part in (before, after)]
        assert len(parts[0]) == 1
        assert parts[0] + parts[1] == batches(records[rank], "TRAIN", 2)
        assert after[rank]["weights"] == pytest.approx(records[rank]["weights"], rel=1e-5, abs=1e-6)


def test_one_process_writes_files(experiment: Experiment):
    log = experiment.run.joinpath("train_log.txt").read_text()
    assert re.findall(r"^(?:epoch|test): (\w+)", log, flags=re.MULTILINE) == ["1", "2", "tones"]
    assert read_train_log(experiment.run / "train_log.txt")["train loss"].keys() == {1, 2}
    lines = experiment.run.joinpath("log.txt").read_text().splitlines()
    started = [line for line in lines if " INFO toolkit.experiment: train.py " in line]
    assert len(started) == 1
    assert experiment.run.joinpath("env.log").read_text().count(" command: ") == 1


def test_facts_are_those_of_both(experiment: Experiment):
    facts = read_facts(experiment.run)
    manifest = json.loads((experiment.folder / "manifests/train.json").read_text())
    assert facts["processes"] == 2
    assert facts["train_hours"] == pytest.approx(sum(one["length"] for one in manifest.values()) / 3600, abs=0.0005)


def test_the_test_set_is_scored_once(experiment: Experiment, records):
    assert [record["seen"][-1][0] for record in records] == ["TEST", "VALID"]
    report = experiment.run.joinpath("wer_tones.txt").read_text()
    assert re.search(r"^Scored 3 utterances", report, flags=re.MULTILINE)
