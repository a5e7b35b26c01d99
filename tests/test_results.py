"""What trainings reached, from the folders of runs to the table: made-up runs of two kinds, and our own table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_experiment import make_experiment

from toolkit.cli.main import main
from toolkit.collection import published_of
from toolkit.errors import DataError, ExperimentError
from toolkit.results_table import BEGIN, END, README, RECORD, read_record, table, with_table
from toolkit.run_results import read_run

RECIPES = Path(__file__).parents[1] / "recipes"

REPORT = "%WER {wer} [ 62 / 773, 3 ins, 4 del, 55 sub ]\n%SER 32.31 [ 42 / 130 ]\n%CER {cer} [ 98 / 2565 ]\n"
YAML = """\
seed: {seed}
output_folder: results/{name}
train_data:
  manifest_filepath: manifests/train.json
"""
FACTS = {
    "commands": ["train.py hparams/ctc.yaml --seed 2 --device cpu"],
    "commit": "3d6fdf3aaaaaaaaaaaaa",
    "seed": 2,
    "parameters": 1126352,
    "hardware": "AMD EPYC 7B13",
    "processes": 1,
    "threads": 2,
    "epochs": 20,
    "train_hours": 1.764,
    "wall_seconds": 7200.0,
}
ENVIRONMENT = """\
2026-11-25 17:00:00 command: train.py hparams/ctc.yaml --seed 3 --output_folder results/ctc_seed3
commit: e1f0709a053720f779a9 with uncommitted changes
python: 3.11.7 on Linux, 2 cores
cuda: 13.0 (0 devices)
torch==2.11.0

2026-11-25 19:00:00 command: train.py hparams/ctc.yaml --test_only
commit: 0000000
python: 3.11.7 on Linux, 2 cores
cuda: 13.0 (0 devices)

"""
LOG = """\
2026-11-25 17:00:01,123 INFO toolkit.brains.base: CTCBrain: 1,126,352 parameters, on cpu
2026-11-25 18:00:00,000 INFO toolkit.brains.asr: test: WER 8.02 %
2026-11-25 19:30:00,000 INFO toolkit.brains.asr: test: WER 8.02 %
"""


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    """A folder of one recipe, whose README has room for a table."""
    (tmp_path / "Toy/hparams").mkdir(parents=True)
    (tmp_path / "Toy/hparams/ctc.yaml").write_text("# python train.py hparams/ctc.yaml\n")
    (tmp_path / README).write_text(f"# Mine\n\n{BEGIN}\n{END}\n\nThe end.\n")
    (tmp_path / "collection.yaml").write_text(
        "Toy:\n  languages: English\n  published:\n"
        "    - {system: Theirs, test: test, WER: 7.5, source: 'https://example.org', parameters: 10.3 M}\n"
        "Other:\n  published: [{system: Gone, test: test, WER: 1.0, source: 'https://example.org'}]\n"
    )
    return tmp_path


def make_run(recipes: Path, name: str, *, seed: int, wer: float, **facts: object) -> Path:
    """A run's folder, with ``run.json`` where there are facts."""
    run = recipes / "Toy/results" / name
    run.mkdir(parents=True)
    (run / "hyperparams.yaml").write_text(YAML.format(seed=seed, name=name))
    (run / "wer_test.txt").write_text(REPORT.format(wer=wer, cer=wer / 2))
    (run / "train_log.txt").write_text(
        "epoch: 1, lr: 1 - train loss: 1\nepoch: 12, lr: 1 - train loss: 1\ntest: test\n"
    )
    if facts:
        (run / "run.json").write_text(json.dumps({**FACTS, **facts}))
    return run


def make_older_run(recipes: Path, *, wer: float) -> Path:
    """One of before there was ``run.json``."""
    run = make_run(recipes, "ctc_seed3", seed=3, wer=wer)
    (run / "env.log").write_text(ENVIRONMENT)
    (run / "log.txt").write_text(LOG)
    (recipes / "Toy/manifests").mkdir()
    soundfile.write(recipes / "Toy/manifests/a.wav", np.zeros(36000), 1000)
    (recipes / "Toy/manifests/train.json").write_text(json.dumps({"a": {"wav": "a.wav", "length": 36.0, "words": "A"}}))
    return run


def test_a_run_tells_what_it_is(recipes: Path) -> None:
    found = read_run(make_run(recipes, "ctc", seed=2, wer=6.0, commit="3d6fdf3"))
    assert (found.recipe, found.yaml, found.options, found.seed) == ("Toy", "hparams/ctc.yaml", "", 2)
    assert found.tests == {"test": {"WER": 6.0, "CER": 3.0}}
    assert (found.parameters, found.train_hours, found.epochs, found.wall_seconds) == (1126352, 1.764, 20, 7200.0)
    assert (found.hardware, found.commit) == ("AMD EPYC 7B13, 2 threads", "3d6fdf3")


def test_what_a_training_leaves_is_read(tmp_path: Path) -> None:
    found = read_run(make_experiment(tmp_path / "results").train("--number_of_epochs", "1"))
    assert (found.recipe, found.options, found.seed, found.epochs) == (tmp_path.name, "--number_of_epochs 1", 1, 1)
    assert found.tests.keys() == {"tones"}
    assert found.parameters > 1000
    assert 0 < found.train_hours < 0.1
    assert found.wall_seconds > 0
    assert found.hardware.endswith((" thread", " threads"))
    assert found.commit


def test_an_older_run_tells_the_same_by_its_logs(recipes: Path) -> None:
    found = read_run(make_older_run(recipes, wer=8.0))
    assert (found.seed, found.options, found.parameters, found.epochs) == (3, "", 1126352, 12)
    assert found.train_hours == 0.01
    assert found.wall_seconds == 3600.0  # without the test of later
    assert (found.hardware, found.commit) == ("CPU, 2 cores", "e1f0709a053720f779a9 with uncommitted changes")


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({"hardware": "NVIDIA H100", "processes": 4, "threads": 8}, "4 x NVIDIA H100"),
        ({"hardware": "NVIDIA H100", "processes": 1, "threads": 8}, "NVIDIA H100"),
        ({"hardware": "AMD EPYC", "processes": 2, "threads": 1}, "AMD EPYC, 2 threads"),
        ({"hardware": "AMD EPYC", "processes": 1, "threads": 1}, "AMD EPYC, 1 thread"),
    ],
)
def test_hardware(told: dict[str, object], shown: str, recipes: Path) -> None:
    assert read_run(make_run(recipes, "ctc", seed=1, wer=6.0, **told)).hardware == shown


def test_options_that_make_another_experiment_are_kept(recipes: Path) -> None:
    command = (
        "train.py hparams/ctc.yaml --seed 2 --lr 0.001 --noprogressbar --train_data '{num_workers: 2}' --debug=false"
    )
    run = make_run(recipes, "ctc", seed=2, wer=6.0, commands=[command])
    assert read_run(run).options == "--lr 0.001 --train_data '{num_workers: 2}' --debug=false"


@pytest.mark.parametrize(
    ("commands", "options"),
    [
        (
            ["train.py hparams/ctc.yaml --lr 0.02 --number_of_epochs 1", "train.py hparams/ctc.yaml"],
            "--lr 0.02 --number_of_epochs 1; then none",
        ),
        (["train.py hparams/ctc.yaml --seed 2", "train.py hparams/ctc.yaml --seed 2 --device cpu"], ""),
        (["train.py --seed=2 hparams/ctc.yaml --lr 0.02"], "--lr 0.02"),
        (["train.py Toy/hparams/ctc.yaml"], ""),
        (["train.py /home/me/recipes/Toy/hparams/ctc.yaml"], ""),
    ],
)
def test_however_a_run_was_called_its_yaml_is_the_recipes(commands: list[str], options: str, recipes: Path) -> None:
    found = read_run(make_run(recipes, "ctc", seed=2, wer=6.0, commands=commands))
    assert (found.yaml, found.options) == ("hparams/ctc.yaml", options)


def test_a_run_whose_facts_have_one_command_is_read(recipes: Path) -> None:
    run = make_run(recipes, "ctc", seed=2, wer=6.0, commands=None, command="train.py hparams/ctc.yaml --lr 0.1")
    assert read_run(run).options == "--lr 0.1"


def test_a_run_that_went_on_otherwise_is_not_taken_for_its_yaml(tmp_path: Path) -> None:
    experiment = make_experiment(tmp_path / "results")
    experiment.train("--lr", "0.02", "--number_of_epochs", "1")
    assert read_run(experiment.train()).options == "--lr 0.02 --number_of_epochs 1; then none"


def test_what_is_no_result_says_why(recipes: Path) -> None:
    run = make_run(recipes, "aside", seed=1, wer=6.0, commands=["train.py hparams/ctc.yaml"])
    run.rename(run.with_name("before"))
    with pytest.raises(ExperimentError, match="put aside; the run wrote to results/aside"):
        read_run(run.with_name("before"))
    with pytest.raises(ExperimentError, match=r"made by `finetune\.py it\.yaml`"):
        read_run(make_run(recipes, "tuned", seed=1, wer=6.0, commands=["finetune.py it.yaml"]))
    with pytest.raises(ExperimentError, match="no wer_"):
        read_run(recipes)


def test_the_table_has_the_mean_over_seeds_and_published_figures(
    recipes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(recipes, "ctc", seed=2, wer=6.0, wall_seconds=7200.0)
    make_older_run(recipes, wer=9.0)
    make_run(recipes, "fast", seed=1, wer=5.0, commands=["train.py hparams/ctc.yaml --lr 0.01"])
    assert main(["results", "--recipes", str(recipes)]) == 0
    assert "with --lr 0.01; name the run to take it" in capsys.readouterr().out
    rows = rows_of(recipes)
    toy, cost = "[Toy](Toy/README.md)", "1.13 M | 1.76 | 90 min | AMD EPYC 7B13, 2 threads, CPU, 2 cores"
    assert rows == [
        f"| {toy} | test | published: [Theirs](https://example.org) | 7.5 |  |  | 10.3 M |  |  |  |  |",
        f"| {toy} | test | `ctc.yaml` | 7.5 | 3.8 | 2 | {cost} | 3d6fdf3, e1f0709+ |",
    ]
    assert (recipes / README).read_text().startswith(f"# Mine\n\n{BEGIN}\n\n| data set | test | YAML | WER (%) |")
    assert (recipes / README).read_text().endswith(f"\n{END}\n\nThe end.\n")


def test_a_named_run_is_taken_and_the_record_stays_when_runs_are_gone(
    recipes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(recipes, "fast", seed=1, wer=5.0, commands=["train.py hparams/ctc.yaml --lr 0.01"])
    assert main(["results", str(run), "--recipes", str(recipes)]) == 0
    before = (recipes / README).read_text()
    assert "| `ctc.yaml` `--lr 0.01` | 5.0 | 2.5 | 1 |" in before
    run.rename(recipes / "away")
    assert main(["results", "--recipes", str(recipes)]) == 0
    assert (recipes / README).read_text() == before
    assert main(["results", str(recipes / "away"), "--recipes", str(recipes)]) == 1
    assert "left out:" in capsys.readouterr().out
    (recipes / "Toy/hparams/ctc.yaml").unlink()
    assert main(["results", "--recipes", str(recipes)]) == 0
    assert f"left out: {recipes}/Toy has no hparams/ctc.yaml, with which seed 1" in capsys.readouterr().out
    assert read_record(recipes / RECORD) == []


def test_a_result_of_the_same_seed_replaces_the_one_before(recipes: Path) -> None:
    run = make_run(recipes, "ctc", seed=2, wer=6.0, seed_of="x")
    assert main(["results", "--recipes", str(recipes)]) == 0
    (run / "wer_test.txt").write_text(REPORT.format(wer=4.0, cer=2.0))
    assert main(["results", "--recipes", str(recipes)]) == 0
    assert [one.tests for one in read_record(recipes / RECORD)] == [{"test": {"WER": 4.0, "CER": 2.0}}]


def test_a_yaml_that_is_not_of_the_recipe_is_left_out(recipes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = recipes / "other.yaml"
    other.touch()
    make_run(recipes, "ctc", seed=2, wer=6.0, commands=[f"train.py {other}"])
    assert main(["results", "--recipes", str(recipes)]) == 0
    assert f"left out: {recipes}/Toy has no {other}, with which seed 2" in capsys.readouterr().out
    assert read_record(recipes / RECORD) == []


def test_of_two_runs_with_the_same_seed_it_is_said_which_is_taken(
    recipes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(recipes, "again", seed=2, wer=6.0, threads=2)
    make_run(recipes, "ctc", seed=2, wer=4.0, threads=2)
    assert main(["results", "--recipes", str(recipes)]) == 0
    results = recipes / "Toy/results"
    said = capsys.readouterr().out
    assert f"left out: {results}/again: {results}/ctc is of the same YAML and seed" in said
    assert said.endswith("1 runs, of which 1 were read now\n")
    assert [one.tests["test"]["WER"] for one in read_record(recipes / RECORD)] == [4.0]


def test_the_recipes_of_an_installed_package_are_not_written_to(
    recipes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("toolkit.cli.results.shipped", lambda _: recipes)
    before = (recipes / README).read_text()
    assert main(["results"]) == 2
    assert f"--recipes: name a folder of recipes; {recipes} was installed" in capsys.readouterr().err
    assert (recipes / README).read_text() == before


def test_nothing_is_written_where_the_readme_has_no_marks(recipes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(recipes, "ctc", seed=2, wer=6.0, threads=2)
    (recipes / README).write_text("# Mine\n")
    assert main(["results", "--recipes", str(recipes)]) == 2
    assert BEGIN in capsys.readouterr().err
    assert not (recipes / RECORD).exists()


def test_a_damaged_record_is_named(recipes: Path) -> None:
    (recipes / RECORD).write_text('[{"recipe": "Toy"}]')
    with pytest.raises(DataError, match=r"results\.json: damaged .*expected what `asr results` wrote"):
        read_record(recipes / RECORD)


def rows_of(recipes: Path) -> list[str]:
    return [line for line in (recipes / README).read_text().splitlines() if line.startswith("| [")]


def test_the_table_of_the_project_is_made_of_its_record() -> None:
    made = table(read_record(RECIPES / RECORD), published_of(RECIPES))
    assert with_table(RECIPES / README, made) == (RECIPES / README).read_text(encoding="utf-8"), "run `asr results`"
    assert sum(line.startswith("| [AN4]") for line in made.splitlines()) >= 6
