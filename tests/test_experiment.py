from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from tiny_experiment import Experiment, load_script, make_experiment

from toolkit.checkpoints import best_checkpoints
from toolkit.errors import ConfigError, ExperimentError, ManifestError, TokenizerError, ToolkitError
from toolkit.experiment import load_experiment, run
from toolkit.hparams import HparamsDocument
from toolkit.inference.transcriber import Transcriber
from toolkit.tokenizer import read_pieces, train_tokenizer

pytestmark = pytest.mark.usefixtures("logging_put_back")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """An experiment after its two epochs and its test."""
    experiment = make_experiment(tmp_path_factory.mktemp("finished"))
    (experiment.yaml).write_text(experiment.yaml.read_text().replace("/run\n", "/<run_name>\n", 1) + "run_name: run\n")
    experiment.yaml.write_text(experiment.yaml.read_text().replace("output_folder: ", "output_folder: !ref "))
    experiment.train("--lr", "2e-2", "--train_data", "{batch_size: 3}")
    return experiment


@pytest.fixture
def copied(finished: Experiment, tmp_path: Path) -> Experiment:
    """The finished experiment, for a test to damage."""
    run_folder = shutil.copytree(finished.run, tmp_path / "run")
    return Experiment(finished.folder, finished.yaml, finished.script, run_folder)


@pytest.fixture
def fresh(tmp_path: Path) -> Experiment:
    """An experiment of which nothing was run."""
    return make_experiment(tmp_path, utterances=2)


def settings(experiment: Experiment, *options: str) -> tuple[dict, dict]:
    """What the experiment's script gets of these options."""
    arguments = [str(experiment.yaml), "--device", "cpu", *options]
    return eval("load_experiment(arguments)", vars(load_script(experiment.script)), {"arguments": arguments})


# The command line


def test_torch_compile_without_a_compiler_is_refused(fresh: Experiment, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match=r"compile: torch needs a C\+\+ compiler, and there is no no-such-compiler"):
        settings(fresh, "--compile")


def test_values_are_yaml_and_a_bare_flag_is_true(fresh: Experiment):
    words = ["--lr", "1e-3", "--n_mels=8", "--test_only", "--max_grad_norm", "-1", "--train_data", "{batch_size: 5}"]
    hparams, run_opts = settings(fresh, *words)
    assert hparams["lr"] == 1e-3
    assert hparams["opt_class"].keywords["lr"] == 1e-3
    assert hparams["model"].encoder.front_end is not None
    assert hparams["train_data"]["batch_size"] == 5
    assert hparams["train_data"]["shuffle"] is True
    assert hparams["max_grad_norm"] == -1
    assert run_opts["test_only"] is True
    assert hparams["n_mels"] == 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lrr", "1"], r"--lrr: neither a key of .*tiny\.yaml nor an option of the run \(did you mean 'lr'\?\)"),
        (["--learning_rate", "1"], r"--learning_rate: neither .* of the run; its keys: seed, output_folder, .*, lr, "),
        (["--opt_class", "{lrr: 3}"], r"opt_class: torch\.optim\.AdamW takes no 'lrr' \(did you mean 'lr'\?\)"),
        (["--lr", "abc"], "lr: expected a number, not 'abc'"),
        (["--lr", "[1]"], r"lr: expected a number, not \[1\]"),
        (["--output_folder", __file__], rf"output_folder: {__file__} is not a folder"),
        (["--output_folder", f"{__file__}/run"], rf"output_folder: {__file__} is not a folder"),
        (["--tensorboard"], r"--tensorboard: .*tiny\.yaml has no such key; add the line `tensorboard: \.\.\.` to it"),
        (["--tets_only"], r"--tets_only: neither .* \(did you mean 'test_only'\?\)"),
        (["--param_file", "x"], "--param_file: neither"),
        (["0.1"], "'0.1' was not expected on the command line"),
        (["--lr", "[1"], r"--lr: the value '\[1' is not valid YAML"),
        (["--precision", "bf17"], "precision: expected fp32, bf16 or fp16, not 'bf17'"),
        (["--precision", "fp16"], "precision: fp16 needs a GPU"),
        (["--device", "gpu"], "device: expected a device of this machine, such as cpu or cuda:0, not 'gpu'"),
        (["--grad_accumulation_factor", "0"], "grad_accumulation_factor: expected a whole number above 0, not 0"),
        (["--ckpt_interval_steps", "often"], "ckpt_interval_steps: expected a number, not 'often'"),
        (["--seed", "0.5"], "seed: expected a whole number, 0 or more, not 0.5"),
        (["--average_checkpoints", "0"], "average_checkpoints: expected a whole number, 1 or more, not 0"),
        (["--output_folder", "2024"], "output_folder: expected a folder, not 2024"),
        (["--noprogressbar", "5"], "noprogressbar: expected true or false, not 5"),
    ],
)
def test_a_wrong_setting_is_named(fresh: Experiment, words: list[str], message: str):
    with pytest.raises(ConfigError, match=message):
        load_experiment([str(fresh.yaml), *words])


def test_what_the_optimizer_refuses(fresh: Experiment):
    with pytest.raises(ConfigError, match="opt_class: Invalid learning rate: -1"):
        fresh.train("--lr", "-1")


def test_an_unknown_key_of_the_yaml_is_named_with_the_nearest(fresh: Experiment):
    fresh.yaml.write_text(fresh.yaml.read_text() + "ctc_wieght: 0.3\n")
    with pytest.raises(
        ConfigError, match=r"line \d+: nothing reads the key 'ctc_wieght' \(did you mean 'ctc_weight'\?\)"
    ):
        settings(fresh)


def test_checkpoints_inside_an_epoch_are_made_by_minutes_unless_by_steps(fresh: Experiment):
    assert settings(fresh)[1]["ckpt_interval_minutes"] == 15
    assert settings(fresh, "--ckpt_interval_minutes", "0.5")[1]["ckpt_interval_minutes"] == 0.5
    assert settings(fresh, "--ckpt_interval_steps", "2")[1]["ckpt_interval_minutes"] == 0


def test_help_is_the_story_of_the_script_and_the_options(fresh: Experiment, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="0"):
        load_script(fresh.script).main(["--help"])
    shown = capsys.readouterr().out
    assert load_script(fresh.script).__doc__.splitlines()[0] in shown
    assert "--device: cpu, cuda:0" in shown


def test_run_turns_errors_into_a_sentence_and_a_status(capsys: pytest.CaptureFixture[str]):
    def fails() -> None:
        raise ConfigError("lr: expected a number")

    def is_stopped() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match=r"^2$"):
        run(fails)
    assert capsys.readouterr().err == "error: lr: expected a number\n"
    with pytest.raises(SystemExit, match=r"^130$"):
        run(is_stopped)
    assert "stopped; the same command goes on" in capsys.readouterr().err


# What is missing


def test_a_missing_manifest_is_answered_with_the_command_that_makes_it(fresh: Experiment, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("tones_prepare.py").touch()
    with pytest.raises(ManifestError, match=r"nothing\.json: no such manifest; make it with: python tones_prepare\.py"):
        fresh.train("--train_manifest", "nothing.json")


def test_a_missing_tokenizer_is_answered_with_the_command_that_trains_it(fresh: Experiment):
    with pytest.raises(TokenizerError, match=r"python train_tokenizer\.py hparams/tokenizer\.yaml"):
        fresh.train("--tokenizer_file", str(fresh.folder / "nothing.model"))


def with_lm(experiment: Experiment, folder: Path) -> Experiment:
    """The experiment with a language model in its search."""
    text = experiment.yaml.read_text()
    text = text.replace("sample_rate: 16000\n", f"sample_rate: 16000\nlm_folder: {folder}\n")
    text += "lm: !apply:toolkit.pretrained.load_language_model [!ref <lm_folder>]\n"
    experiment.yaml.write_text(text.replace("test_search: !new:toolkit.decoders.ctc.CTCGreedySearcher", FUSED))
    return experiment


FUSED = "test_search: !new:toolkit.decoders.ctc.CTCPrefixSearcher\n  lm: !ref <lm>\n  lm_weight: 0.5"


def test_a_missing_language_model_is_answered_with_the_command_that_trains_it(fresh: Experiment):
    with pytest.raises(ExperimentError, match=r"python train_lm\.py hparams/lm"):
        with_lm(fresh, fresh.folder / "lm").train()


def test_a_language_model_of_another_tokenizer_is_refused(fresh: Experiment):
    lm = fresh.folder / "lm"
    lm.mkdir()
    train_tokenizer(["ANOTHER ALPHABET"], lm / "tokenizer.model", model_type="char")
    with pytest.raises(ConfigError, match=r"lm_folder: .*lm was trained with another tokenizer than .*"):
        settings(with_lm(fresh, lm))


def trained_again(experiment: Experiment, model_file: Path) -> Path:
    """Another tokenizer file than the experiment's, with the same pieces."""
    before = experiment.folder / "tokenizer.model"
    sentences = (experiment.folder / "manifests/lm_train.txt").read_text().splitlines()
    letters = reversed(read_pieces(before)[2:])  # the rarest first: none becomes more frequent than another
    more = [letter * count for count, letter in enumerate(letters)]
    train_tokenizer([*sentences, *more], model_file, model_type="char")
    assert model_file.read_bytes() != before.read_bytes()
    assert read_pieces(model_file) == read_pieces(before)
    return model_file


def test_a_run_goes_on_with_a_tokenizer_of_the_same_pieces(copied: Experiment, tmp_path: Path):
    again = trained_again(copied, tmp_path / "again.model")
    settings(copied, "--output_folder", str(copied.run), "--tokenizer_file", str(again))


def test_a_language_model_of_the_same_pieces_is_taken(fresh: Experiment):
    (fresh.folder / "lm").mkdir()
    trained_again(fresh, fresh.folder / "lm/tokenizer.model")
    with pytest.raises(ExperimentError, match="no language model here"):  # its tokenizer is not what it lacks
        settings(with_lm(fresh, fresh.folder / "lm"))


# What a run leaves


def test_what_a_run_leaves(finished: Experiment):
    left = {path.name for path in finished.run.iterdir()}
    assert left == {
        *("train_log.txt", "log.txt", "env.log", "train.py", "hyperparams.yaml", "tokenizer.model"),
        *("save", "wer_tones.txt", "learning_curve.png", "run.json"),
    }
    assert finished.run.joinpath("train.py").read_text() == finished.script.read_text()
    lines = finished.run.joinpath("train_log.txt").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines[:2]] == ["epoch: 1", "epoch: 2"]
    assert lines[2].startswith("test: tones - test WER: ")
    assert len(lines) == 3
    assert len(list(finished.run.glob("save/CKPT+*"))) in (1, 2)  # best and last
    assert finished.run.joinpath("learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert re.match(r"%WER \S+ \[ \d+ / \d+,", finished.run.joinpath("wer_tones.txt").read_text())


def test_the_archived_yaml_has_the_overrides_and_its_references(finished: Experiment):
    text = finished.run.joinpath("hyperparams.yaml").read_text()
    assert text.startswith("# Tones\n")
    assert "lr: 0.02\n" in text
    assert "  lr: !ref <lr>\n" in text
    assert "batch_size: 3\n" in text
    assert "tokenizer_file: !ref <output_folder>/tokenizer.model\n" in text


def test_env_log_says_command_commits_and_versions(finished: Experiment):
    lines = finished.run.joinpath("env.log").read_text().splitlines()
    assert re.fullmatch(r"\S+ \S+ command: train\.py \S+tiny\.yaml --device cpu .* '\{batch_size: 3\}'", lines[0])
    assert lines[1] == "commit: unknown"  # the script lies outside of any checkout
    assert lines[2].startswith("commit of toolkit: ")
    assert f"torch=={torch.__version__.partition('+')[0]}" in "\n".join(lines)


def test_log_txt_has_times_and_the_console_has_what_matters(finished: Experiment, tmp_path, capsys):
    log = finished.run.joinpath("log.txt").read_text()
    assert re.search(r"^\d{4}-\d\d-\d\d .* INFO toolkit\.brains\.asr: tones: WER ", log, flags=re.MULTILINE)
    capsys.readouterr()
    finished.train("--number_of_epochs", "1", "--output_folder", str(tmp_path / "once"))
    shown = capsys.readouterr().out.splitlines()
    beginnings = ["train.py ", "CTCBrain: ", "epoch: 1, lr: ", "test: tones - test WER: ", "tones: WER "]
    assert [line[: len(begin)] for line, begin in zip(shown, beginnings, strict=True)] == beginnings


def test_a_run_moved_elsewhere_transcribes(copied: Experiment, finished: Experiment):
    file = sorted(finished.folder.glob("wav/test*.flac"))[0]
    here, there = (
        Transcriber.from_hparams(one.run, device="cpu").transcribe_files([file]) for one in (finished, copied)
    )
    assert [one.text for one in here] == [one.text for one in there]


def test_the_archived_script_and_yaml_run_where_they_lie(copied: Experiment, monkeypatch):
    monkeypatch.chdir(copied.run)
    Path("wer_tones.txt").unlink()
    load_script(Path("train.py")).main(["hyperparams.yaml", "--output_folder", ".", "--device", "cpu", "--lr", "0.5"])
    assert Path("wer_tones.txt").read_text() != ""
    assert Path("train_log.txt").read_text().count("epoch: ") == 2  # both were trained before


# Whose folder it is

NEWBOB = "lr_annealing: !new:speechbrain.nnet.schedulers.NewBobScheduler {initial_value: 0.1}\ntrain_data:"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--seed", "2"], "seed was 1, now 2"),
        (["--n_mels", "8"], "n_mels was 16, now 8"),
        (["--model", "{encoder: {rnn_neurons: 8}}"], r"model\.encoder\.rnn_neurons was 16, now 8"),
        (["--tokenizer_file", "other.model"], r"the tokenizer other\.model has changed since"),
    ],
)
def test_a_folder_of_another_experiment_is_refused(copied: Experiment, monkeypatch, tmp_path, options, reason):
    monkeypatch.chdir(tmp_path)
    train_tokenizer(["OTHER LETTERS"], "other.model", model_type="char")
    before = (copied.run / "hyperparams.yaml").read_text()
    with pytest.raises(ExperimentError, match=rf"run holds another experiment: {reason}\. Give this .*--output_folder"):
        settings(copied, "--output_folder", str(copied.run), *options)
    assert (copied.run / "hyperparams.yaml").read_text() == before


@pytest.mark.parametrize(
    ("right", "other", "reason"),
    [
        ("torch.optim.AdamW", "torch.optim.SGD", r"opt_class was torch\.optim\.AdamW, now torch\.optim\.SGD"),
        ("train_data:", NEWBOB, r"lr_annealing was nothing, now speechbrain\..*\.NewBobScheduler"),
        ("brains.ctc.CTCBrain", "brains.transducer.TransducerBrain", "brain was !name:.*CTCBrain, now !name:.*"),
    ],
)
def test_another_kind_of_optimizer_or_brain_is_refused(copied: Experiment, tmp_path, right, other, reason):
    yaml = tmp_path / "other.yaml"
    yaml.write_text(copied.yaml.read_text().replace(right, other))
    with pytest.raises(ExperimentError, match=rf"run holds another experiment: {reason}\. Give this"):
        settings(Experiment(copied.folder, yaml, copied.script, copied.run), "--output_folder", str(copied.run))


def test_another_learning_rate_and_other_data_are_told(copied: Experiment):
    options = ["--output_folder", str(copied.run), "--lr", "0.5", "--train_data", "{batch_size: 2}"]
    settings(copied, *options)[1]["archive"]()
    told = re.findall("run goes on otherwise: (.*)", (copied.run / "log.txt").read_text())
    assert told == [
        "lr was 0.02, now 0.5",
        "train_data.batch_size was 3, now 2",
    ]


def test_a_folder_of_another_script_is_refused(copied: Experiment, tmp_path):
    script = shutil.copy(copied.script, tmp_path / "train_otherwise.py")
    with pytest.raises(ExperimentError, match=r"it was not made by train_otherwise\.py"):
        load_script(script).main([str(copied.yaml), "--output_folder", str(copied.run)])


def test_what_does_not_make_another_experiment_may_change(copied: Experiment):
    options = ["--number_of_epochs", "3", "--lr", "0.5", "--average_checkpoints", "3", "--precision", "bf16"]
    copied.train("--output_folder", str(copied.run), *options)
    document = HparamsDocument(copied.run / "hyperparams.yaml")
    assert document.data["number_of_epochs"] == 3
    assert copied.run.joinpath("env.log").read_text().count(" command: ") == 2


def test_a_folder_without_checkpoints_may_become_another_experiment(fresh: Experiment):
    for seed in (1, 2):
        _, run_opts = settings(fresh, "--seed", str(seed))
        run_opts["archive"]()
        assert HparamsDocument(fresh.run / "hyperparams.yaml").data["seed"] == seed


def test_debug_keeps_nothing(fresh: Experiment):
    fresh.train("--debug", "--number_of_epochs", "5")
    assert not fresh.run.exists()


def test_test_only_tests_and_does_not_train(copied: Experiment):
    best, archive = best_checkpoints(copied.run / "save"), (copied.run / "hyperparams.yaml").read_bytes()
    (copied.run / "wer_tones.txt").unlink()
    copied.train("--output_folder", str(copied.run), "--test_only", "--number_of_epochs", "5")
    assert (copied.run / "wer_tones.txt").is_file()
    assert not (copied.run / "retested").exists()
    assert best_checkpoints(copied.run / "save") == best
    assert (copied.run / "hyperparams.yaml").read_bytes() == archive
    assert copied.run.joinpath("env.log").read_text().count(" command: ") == 2


@pytest.mark.parametrize(
    "options",
    [
        ["--test_only", "--test_data", "{tones: {manifest_filepath: FOLDER/manifests/valid.json}}"],
        ["--average_checkpoints", "2"],  # with no epoch left to train
    ],
)
def test_a_test_of_something_else_leaves_the_reports_of_the_run(copied: Experiment, options: list[str]):
    before = (copied.run / "wer_tones.txt").read_bytes()
    words = [word.replace("FOLDER", str(copied.folder)) for word in options]
    copied.train("--output_folder", str(copied.run), *words)
    assert (copied.run / "wer_tones.txt").read_bytes() == before
    assert (copied.run / "retested/wer_tones.txt").is_file()


@pytest.mark.parametrize(
    "options",
    [
        ["--epoch_counter", "{limits: 4}"],  # refused when it is built
        ["--train_manifest", "nothing.json"],  # by the loaders
    ],
)
def test_a_refused_command_leaves_the_archive_as_it_was(copied: Experiment, options: list[str]):
    before = {name: (copied.run / name).read_bytes() for name in ("hyperparams.yaml", "train.py", "tokenizer.model")}
    with pytest.raises(ToolkitError):
        copied.train("--output_folder", str(copied.run), *options)
    assert {name: (copied.run / name).read_bytes() for name in before} == before
    Transcriber.from_hparams(copied.run, device="cpu")


def test_test_only_without_a_checkpoint_says_so(fresh: Experiment):
    with pytest.raises(ExperimentError, match=r"no finished epoch in save/"):
        fresh.train("--test_only")
