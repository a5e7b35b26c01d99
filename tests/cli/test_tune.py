"""The search of values for YAML keys: what may be searched, trials, going on, and what it prints."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from tiny_experiment import make_experiment

from toolkit.brains.learning_curve import read_train_log
from toolkit.cli.main import main
from toolkit.cli.search_space import Dimension
from toolkit.errors import ConfigError
from toolkit.hparams import HparamsDocument

pytest.importorskip("optuna")

YAML = "output_folder: run\nlr: 0.1\nbeam_size: 4\nseed: 1\nmodel: x\nbrain: y\n"

# A training in the place of one: an epoch's figure is the distance of lr from 0.01 in decades, plus 1 / epoch.
SCRIPT = """
import math, os, sys, pathlib
values = dict(zip(sys.argv[2::2], sys.argv[3::2]))
folder = pathlib.Path(values["--output_folder"])
(folder / "save").mkdir(parents=True, exist_ok=True)
with (folder / "commands.txt").open("a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
if "FAIL" in os.environ:
    sys.exit("error: lr is too high")
(folder / "hyperparams.yaml").touch()
if "DIVERGE" in os.environ:
    sys.exit(2)
for epoch in (1, 2):
    figure = abs(math.log10(float(values["--lr"])) + 2) + 1 / epoch
    with (folder / "train_log.txt").open("a") as log:
        log.write(f"epoch: {epoch}, lr: 1.00e-03 - train loss: 9.99 - valid WER: {figure:.2f}, valid loss: 7.00\\n")
"""


@pytest.fixture(autouse=True)
def _recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script and a YAML in the folder that one is in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("toolkit.cli.tune.POLL_S", 0.01)
    Path("train.py").write_text(SCRIPT)
    Path("ctc.yaml").write_text(YAML)


def tune(*more: str, trials: int = 5) -> int:
    return main(["tune", "train.py", "ctc.yaml", "--trials", str(trials), *more])


LR = ("--space", "lr=log:1e-4..1")


def test_the_best_command_is_printed_and_its_run_is_there(capsys: pytest.CaptureFixture):
    assert tune(*LR, "--space", "beam_size=2..16", trials=8) == 0
    *trials, best, command = capsys.readouterr().out.splitlines()
    assert len(trials) == 8
    figures = {line.partition(" (")[0].split()[4].rstrip(","): line for line in trials if "ended" not in line}
    lowest = min(figures, key=float)
    assert best.startswith(f"best of 8 trials: valid WER {lowest}, results/tune_ctc/trial_00")
    words = shlex.split(command)
    assert words[:3] == ["python", "train.py", "ctc.yaml"]
    values = dict(zip(words[3::2], words[4::2], strict=True))
    assert values.pop("--output_folder") == "results/ctc_tuned"  # or results/ctc might be trained already
    assert f"(lr={values['--lr']}, beam_size={values['--beam_size']})" in figures[lowest]
    run = Path(best.rpartition(" ")[2])
    assert f"--lr {values['--lr']} --beam_size {values['--beam_size']}" in (run / "commands.txt").read_text()
    assert [folder.parent for folder in run.parent.glob("*/save")] == [run]


def test_a_trial_that_is_worse_than_half_of_the_others_is_ended(capsys: pytest.CaptureFixture):
    assert tune("--space", "lr=0.01,0.010,0.5", trials=12) == 0
    lines = capsys.readouterr().out.splitlines()[:-2]
    ended = [line for line in lines if "ended after 1 epochs" in line]
    assert ended
    assert all("(lr=0.5)" in line for line in ended)
    assert not set(ended) & set(lines[:4])  # with which the others are compared


def test_no_trial_is_ended_in_the_warmup(capsys: pytest.CaptureFixture):
    assert tune("--space", "lr=0.01,0.010,0.5", "--warmup", "2", trials=12) == 0
    assert "ended after" not in capsys.readouterr().out


def test_trials_are_not_tested():
    assert tune(*LR, trials=1) == 0
    assert Path("results/tune_ctc/trial_000/commands.txt").read_text().rstrip().endswith(" --train_only")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trials", "0"], "--trials 0: expected 1 or more"),
        (["--warmup", "-1"], "--warmup -1: expected 0 or more"),
        (["--", "--output_folder", "x"], "-- --output_folder: each trial trains in a folder of its own; leave it out"),
        (["--", "--test_only"], "-- --test_only: each trial trains"),
    ],
)
def test_what_would_be_no_search_is_refused(words: list[str], message: str, capsys: pytest.CaptureFixture):
    assert tune(*LR, *words) == 2
    assert message in capsys.readouterr().err
    assert not Path("results").exists()


def test_a_trial_that_diverges_is_the_worst_and_the_search_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    with monkeypatch.context() as patch:
        patch.setenv("DIVERGE", "1")
        assert tune(*LR, trials=1) == 2
        assert "no trial came to its end" in capsys.readouterr().err
    assert tune(*LR, trials=2) == 0
    best = capsys.readouterr().out.splitlines()[-2]
    assert best.startswith("best of 2 trials: valid WER ")
    assert best.endswith("trial_001")


def test_a_trial_that_was_killed_before_it_had_a_folder_is_passed_over(monkeypatch: pytest.MonkeyPatch):
    def killed(*_) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Dimension, "suggest", killed)
        assert tune(*LR, trials=1) == 130
    assert tune(*LR, trials=1) == 0
    assert [path.name for path in Path("results/tune_ctc").glob("trial_*/")] == ["trial_001"]


def test_it_goes_on_where_it_was_and_draws_what_it_has_not_drawn(capsys: pytest.CaptureFixture):
    assert tune(*LR, trials=2) == 0
    first = capsys.readouterr().out.splitlines()
    assert tune(*LR, trials=4) == 0
    second = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in (*first[:2], *second[:2])] == [f"trial {one}" for one in range(4)]
    assert len({line.partition("(")[2] for line in (*first[:2], *second[:2])}) == 4
    assert tune(*LR, trials=4) == 0  # nothing is left to do
    assert capsys.readouterr().out.splitlines() == second[2:]
    assert "best of 4 trials" in second[2]


def test_a_trial_that_was_stopped_goes_on_in_its_folder(monkeypatch, capsys: pytest.CaptureFixture):
    def stop(*_) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("toolkit.cli.tune.read_epochs", stop)
        assert tune(*LR, trials=1) == 130
    assert tune(*LR, trials=1) == 0
    assert "results/tune_ctc/trial_000" in capsys.readouterr().out.splitlines()[-2]
    first, *more = Path("results/tune_ctc/trial_000/commands.txt").read_text().splitlines()
    assert more in ([], [first])  # it was stopped before it wrote, or both began with the same values
    assert [path.name for path in Path("results/tune_ctc").glob("trial_*/")] == ["trial_000"]


def test_options_of_all_trials_follow_two_dashes(capsys: pytest.CaptureFixture):
    assert tune("--space", "lr=0.1,0.2", "--", "--seed", "7") == 0
    assert "train.py ctc.yaml --seed 7 --lr 0." in capsys.readouterr().out.splitlines()[-1]


def test_the_same_seed_searches_the_same(capsys: pytest.CaptureFixture):
    outputs = []
    for number, seed in enumerate((3, 3, 4)):
        assert tune(*LR, "--folder", f"tuned{number}", "--seed", str(seed), trials=2) == 0
        outputs.append(capsys.readouterr().out.splitlines()[:2])
    assert outputs[0] == outputs[1] != outputs[2]


def test_a_failure_of_the_first_trial_ends_it_all_and_one_later_does_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    with monkeypatch.context() as patch:
        patch.setenv("FAIL", "1")
        assert tune(*LR) == 2
        errors = capsys.readouterr().err
        assert "the first trial failed (lr=" in errors
        assert errors.endswith(": error: lr is too high\n")
        patch.delenv("FAIL")
        assert tune(*LR, trials=1) == 0
        patch.setenv("FAIL", "1")
        assert tune(*LR, trials=2) == 0
    trial, best, _ = capsys.readouterr().out.splitlines()[-3:]
    assert trial.endswith("results/tune_ctc/trial_002.err says why")
    assert best.startswith("best of 1 trials")


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("lrr=1..2", r"--lrr: neither a key of .*ctc\.yaml nor an option of the run \(did you mean 'lr'\?\)"),
        ("lr", r"--space 'lr': expected KEY=LOW\.\.HIGH"),
        ("lr=fast,slow", r"lr: expected a number, not 'fast'"),
        ("lr=2..1", r"--space 'lr=2\.\.1': expected two numbers, the lower first"),
        ("lr=log:0..1", r"expected two numbers above 0, the lower first"),
        ("lr=log:0.1,0.2", r"expected two numbers above 0, the lower first"),
        ("output_folder=a,b", r"--space output_folder: each trial has its own"),
        ("device=cpu,cuda", r"--space device: an option of the run, not a key"),
    ],
)
def test_a_space_that_cannot_be_searched(space: str, message: str):
    with pytest.raises(ConfigError, match=message):
        Dimension.of(space, HparamsDocument("ctc.yaml"))


def test_a_folder_of_another_search_is_left_alone(capsys: pytest.CaptureFixture):
    assert tune(*LR, trials=1) == 0
    assert tune("--space", "beam_size=2..4", trials=1) == 2
    assert "results/tune_ctc holds another search" in capsys.readouterr().err


@pytest.mark.slow
def test_a_search_of_real_runs(tmp_path: Path, capsys: pytest.CaptureFixture):
    experiment = make_experiment(tmp_path / "real", utterances=4)
    words = [str(experiment.script), str(experiment.yaml), "--space", "lr=log:0.001..0.1", "--trials", "2"]
    assert main(["tune", *words, "--", "--number_of_epochs", "1", "--device", "cpu"]) == 0
    best, command = capsys.readouterr().out.splitlines()[-2:]
    run = Path(best.rpartition(" ")[2])
    figures = read_train_log(run / "train_log.txt")
    assert f"valid WER {figures['valid WER'][1]:g}, " in best
    lr, _, folder = command.split()[-3:]
    assert folder == "results/tiny_tuned"
    assert f"--lr {lr} --output_folder {run}" in json.loads((run / "run.json").read_text())["commands"][0]
    assert not (run / "wer_tones.txt").exists()
    assert [folder.parent for folder in run.parent.glob("*/save")] == [run]
