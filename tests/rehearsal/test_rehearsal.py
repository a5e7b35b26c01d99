"""`asr check`: finds each thing that would stop a training, all at once, and nothing where all is well."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_experiment import Experiment, make_experiment
from tone_corpus import make_tone_corpus

from toolkit.cli.main import main
from toolkit.multilingual_tokenizer import MultilingualTokenizer
from toolkit.rehearsal.coverage import Texts
from toolkit.rehearsal.findings import Findings
from toolkit.rehearsal.rehearse import rehearse
from toolkit.tokenizer import train_tokenizer

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _logging(logging_put_back: None) -> None:
    """Every test uses ``logging_put_back``."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return make_experiment(tmp_path_factory.mktemp("rehearsal"))


@pytest.fixture
def experiment(made: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """An experiment of a test's own, in its working folder."""
    folder = Path(shutil.copytree(made.folder, tmp_path / "tiny"))
    for file in (folder / "tiny.yaml", folder / "manifests/data_root.txt"):
        if file.is_file():
            file.write_text(file.read_text().replace(str(made.folder), str(folder)))
    monkeypatch.chdir(folder)
    return Experiment(folder, folder / "tiny.yaml", folder / "train.py", folder / "run")


def check(experiment: Experiment, *words: str) -> Findings:
    return rehearse(experiment.yaml, ["--device", "cpu", *words])


def contents(folder: Path) -> dict[Path, bytes]:
    """All files but the indexes of manifests."""
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and ".index" not in file.name}


def edit(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


def change_manifest(experiment: Experiment, split: str, change: Callable[[dict], None]) -> None:
    """Change the first entry of a manifest."""
    file = experiment.folder / f"manifests/{split}.json"
    entries = json.loads(file.read_text())
    change(next(iter(entries.values())))
    file.write_text(json.dumps(entries))


def test_a_good_experiment_passes_and_nothing_is_written(
    experiment: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(experiment.folder)
    assert main(["check", "tiny.yaml", "--device", "cpu"]) == 0
    first, *found, last = capsys.readouterr().out.splitlines()
    assert (first, last) == ("tiny.yaml", "no problems")
    assert found[0].startswith("  train_data: 12 utterances, 0.00 h, ")
    assert found[0].endswith(" s, 6 batches")
    assert found[3].startswith("  a training step: loss ")
    assert found[4:] == ["  a batch of validation", "  a batch of a test"]
    assert contents(experiment.folder) == before


def test_all_wrong_keys_and_arguments_are_told_at_once(experiment: Experiment) -> None:
    edit(experiment.yaml, "n_mels: 16\n", "n_mels: 16\nn_mel: 3\n")
    edit(experiment.yaml, "rnn_neurons: 16", "rnn_neurone: 16")
    edit(experiment.yaml, "seed: !ref <seed>", "seed: !ref <sead>")
    edit(experiment.yaml, "lr: 0.01\n", "lr: 0.01\nlabel_smoothing: 0.1\n")
    problems = "\n".join(check(experiment).problems)
    assert "`!ref <sead>` refers to no key (did you mean 'seed'?)" in problems
    assert "nothing reads the key 'n_mel'" in problems
    assert "CRDNN takes no 'rnn_neurone' (did you mean 'rnn_neurons'?)" in problems
    assert "CTCBrain does not read the key 'label_smoothing'" in problems


def test_a_wrong_setting_is_refused_as_by_training(experiment: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "tiny.yaml", "--learning_rate", "1"]) == 2
    assert "--learning_rate: neither a key of tiny.yaml nor an option" in capsys.readouterr().err
    assert any("precision: expected fp32" in one for one in check(experiment, "--precision", "fp8").problems)


def test_several_problems_of_data_are_told_at_once(experiment: Experiment) -> None:
    change_manifest(experiment, "train", lambda entry: entry.update(words="ÉTÉ DO"))
    change_manifest(experiment, "test", lambda entry: entry.update(words="DO Ü"))
    (experiment.folder / "manifests/valid.json").write_text("{")
    findings = check(experiment)
    train = next(one for one in findings.problems if one.startswith("train_data"))
    assert "1 texts have characters that the tokenizer does not know: 'É', first in 'ÉTÉ DO'" in train
    assert any("valid.json" in one for one in findings.problems)
    assert any("'Ü', first in 'DO Ü'; they will count as errors" in one for one in findings.notes)
    assert len(findings.problems) == 2


@pytest.mark.parametrize(("count", "is_problem"), [(1, True), (0, False)])
def test_utterances_too_short_for_ctc(count: int, *, is_problem: bool, experiment: Experiment) -> None:
    if count:
        change_manifest(experiment, "train", lambda entry: entry.update(words=" ".join(["SOL"] * 200)))
    findings = check(experiment)
    assert any("1 of 12 utterances have more tokens than frames of 4" in one for one in findings.problems) == is_problem
    assert bool(findings.problems) == is_problem


def test_audio_that_cannot_be_read(experiment: Experiment) -> None:
    file = min((experiment.folder / "wav").glob("train-*.flac"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert any(file.name in one for one in check(experiment).problems)


def test_a_model_that_cannot_train(experiment: Experiment) -> None:
    edit(experiment.yaml, "input_size: !ref <n_mels>", "input_size: 24")
    (problem, *_) = check(experiment).problems
    assert problem.startswith("a training step fails: RuntimeError:")


def test_a_loss_that_is_not_finite(experiment: Experiment) -> None:
    edit(experiment.yaml, "dropout: 0.1", "dropout: 1.0")
    edit(experiment.yaml, "brain: !name:toolkit.brains.ctc.CTCBrain", "brain: !name:diverging.Diverging")
    (experiment.folder / "diverging.py").write_text(
        "from toolkit.brains.ctc import CTCBrain\n\n\nclass Diverging(CTCBrain):\n"
        "    def compute_objectives(self, *arguments):\n"
        "        return super().compute_objectives(*arguments) * float('nan')\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(experiment.folder)
        assert "a training step: the loss is nan; expected a finite number" in check(experiment).problems


@pytest.mark.parametrize(("epochs", "is_told"), [(2, True), (3, False)])
def test_a_warm_up_longer_than_training(epochs: int, *, is_told: bool, experiment: Experiment) -> None:
    schedule = "!new:toolkit.brains.schedules.WarmupCosine {lr: 0.01, warmup_steps: 18, number_of_epochs: 3}"
    edit(experiment.yaml, "epoch_counter:", f"lr_schedule: {schedule}\nepoch_counter:")
    findings = check(experiment, "--number_of_epochs", str(epochs))
    assert findings.problems == []
    assert any("warmup_steps is 18, but training has only 12 steps" in note for note in findings.notes) == is_told


def test_an_output_folder_of_another_experiment(experiment: Experiment) -> None:
    experiment.train("--number_of_epochs", "1")
    edit(experiment.yaml, "rnn_neurons: 16", "rnn_neurons: 24")
    (problem,) = check(experiment).problems
    assert "holds another experiment: model.encoder.rnn_neurons was 16, now 24" in problem


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the template, its working folder."""
    monkeypatch.chdir(tmp_path)
    assert main(["new", "digits"]) == 0
    monkeypatch.chdir(tmp_path / "digits")
    return tmp_path / "digits"


def test_of_a_new_recipe_all_is_missing_and_the_commands_are_told(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(recipe)]) == 1
    shown = capsys.readouterr().out
    order = [shown.index(f"\nhparams/{name}.yaml\n") for name in ("lm", "ctc")]
    assert shown.startswith("hparams/tokenizer.yaml\n")
    assert order == sorted(order)
    assert (
        "results/tokenizer/tokenizer.model (tokenizer_file); made by `python train_tokenizer.py hparams/tokenizer"
        in shown
    )
    assert "results/lm (lm_folder); made by `python train_lm.py hparams/lm.yaml`" in shown
    assert "manifests/train.json (train_data.manifest_filepath)" in shown
    assert "made by `python synthetic_prepare.py corpus manifests`" in shown
    assert main(["check", ".", "--lr", "1"]) == 2


def test_what_is_there_is_looked_at_where_other_files_are_missing(recipe: Path) -> None:
    make_tone_corpus(recipe)
    (recipe / "manifests/lm_test.txt").touch(exist_ok=True)
    sentences = (recipe / "manifests/lm_train.txt").read_text().splitlines()
    train_tokenizer(sentences, recipe / "results/tokenizer/tokenizer.model", model_type="char")
    language = rehearse(Path("hparams/lm.yaml"), ["--device", "cpu"])
    assert language.problems == []
    assert any(fact.startswith("a training step: loss ") for fact in language.facts)
    recogniser = rehearse(Path("hparams/ctc.yaml"), ["--device", "cpu"])
    (problem,) = recogniser.problems
    assert problem == "not there: results/lm (lm_folder); made by `python train_lm.py hparams/lm.yaml`"
    assert any(fact.startswith("train_data: ") for fact in recogniser.facts)
    assert recogniser.notes == ["no training step was tried, as files are missing"]


def test_what_another_recipe_makes_is_told_with_its_folder(recipe: Path) -> None:
    shutil.copytree(recipe, recipe.with_name("other"))
    (problem, *_) = rehearse(Path("hparams/lm.yaml"), ["--tokenizer_file", "../other/results/tokenizer/x"]).problems
    assert problem.endswith("made by `cd ../other && python train_tokenizer.py hparams/tokenizer.yaml`")
    (problem, *_) = rehearse(Path("hparams/lm.yaml"), ["--train_text", "../other/manifests/more.txt"]).problems[1:]
    assert problem.endswith("made by `cd ../other && python synthetic_prepare.py corpus manifests`")


def test_no_recipe_and_no_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "nowhere"]) == 2
    assert "there is no recipe or template 'nowhere'" in capsys.readouterr().err
    assert main(["check", "nowhere.yaml"]) == 1
    assert "nowhere.yaml: cannot be read" in capsys.readouterr().out


def test_texts_of_several_languages_are_those_of_their_own(tmp_path: Path) -> None:
    train_tokenizer({"de": ["guten tag"], "fr": ["c'est ça"]}, tmp_path / "tokenizer.model", model_type="char")
    texts, findings = Texts(MultilingualTokenizer(tmp_path / "tokenizer.model")), Findings()
    texts.add("1", "guten tag", "de")
    texts.add("2", "c'est ça", "fr")
    texts.report("train_data", findings)
    assert findings.problems == []
    texts.add("3", "ça", "de")
    texts.report("train_data", findings)
    assert len(findings.problems) == 1
    assert "1 texts have characters that the tokenizer does not know: 'ç', first in 'ça'" in findings.problems[0]


def test_a_tokenizers_texts_by_language_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "recipes/CommonVoice", tmp_path / "recipe")
    monkeypatch.chdir(tmp_path / "recipe")
    for language in ("de", "fr"):
        Path(f"manifests/{language}").mkdir(parents=True)
        Path(f"manifests/{language}/lm_train.txt").write_text("eins\nzwei\n")
    assert main(["check", "hparams/tokenizer_multilingual.yaml"]) == 0
    assert "train_text.fr: 2 sentences" in capsys.readouterr().out
