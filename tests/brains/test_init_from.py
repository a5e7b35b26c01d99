"""Training that begins with the weights of another run."""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path

import pytest
import torch
from tiny_experiment import make_experiment
from torch import nn

from toolkit.checkpoints import model_weights
from toolkit.cli.main import main
from toolkit.errors import ModelError
from toolkit.init_from import take_weights
from toolkit.models.features import LogMel
from toolkit.models.language import RNNLM
from toolkit.models.recogniser import CTCModel
from toolkit.models.recurrent import CRDNN
from toolkit.models.transformer import TransformerDecoder
from toolkit.tokenizer import Tokenizer, train_tokenizer


def make_model(vocab_size: int, *, neurons: int = 16) -> CTCModel:
    """The model of ``run_folder``, but for its tokens and neurons."""
    encoder = CRDNN(16, cnn_channels=[4, 4], rnn_neurons=neurons, rnn_layers=1, dnn_blocks=0)
    return CTCModel(LogMel(16000, 16), encoder, vocab_size)


def check_taken(model: CTCModel, run: Path, tokenizer_file: Path, *, but: tuple[str, ...] = ()) -> None:
    """Once it has taken a run's weights, the model has all of them but those named, which are as they were."""
    theirs, before = model_weights(run), {name: weights.clone() for name, weights in model.state_dict().items()}
    take_weights(model, run, tokenizer_file)
    for name, weights in model.state_dict().items():
        torch.testing.assert_close(weights, (before if name in but else theirs)[name], atol=0, rtol=0)


def make_tokenizer(model_file: Path, *texts: str) -> Path:
    train_tokenizer(texts, model_file, model_type="char")
    return model_file


CTC_OUTPUT = ("ctc_output.weight", "ctc_output.bias")


def test_what_fits_is_taken_and_the_rest_stays(run_folder: Path, tokenizer: Tokenizer):
    check_taken(make_model(len(tokenizer) + 3), run_folder, tokenizer.model_file, but=CTC_OUTPUT)


def test_what_belongs_to_tokens_is_taken_of_the_same_tokens_alone(
    run_folder: Path, tokenizer: Tokenizer, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    same = make_tokenizer(tmp_path / "same.model", "ABC CAB B", "B A C A", "ABC CAB")
    assert same.read_bytes() != tokenizer.model_file.read_bytes()
    assert Tokenizer(same).pieces() == tokenizer.pieces()
    check_taken(make_model(len(tokenizer)), run_folder, same)
    assert "24 of 24 tensors are taken" in caplog.text
    other = make_tokenizer(tmp_path / "other.model", "DEF FDE", "E D F")
    assert len(Tokenizer(other)) == len(tokenizer)
    check_taken(make_model(len(tokenizer)), run_folder, other, but=CTC_OUTPUT)
    assert f"weights of {run_folder}: 22 of 24 tensors are taken" in caplog.text
    assert re.search(r"^  ctc_output +2  begins anew: another tokenizer$", caplog.text, flags=re.MULTILINE)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def as_run(folder: Path, model: nn.Module, tokenizer_file: Path) -> Path:
    """The folder of a run that trained a model."""
    folder.mkdir()
    (folder / "hyperparams.yaml").write_text("seed: 1\n")
    shutil.copy(tokenizer_file, folder / "tokenizer.model")
    torch.save(model.state_dict(), folder / "model.ckpt")
    return folder


WIDE = {
    "language model": lambda tokens, size: RNNLM(tokens, neurons=size // 3, rnn_type="gru"),
    "decoder": lambda tokens, size: TransformerDecoder(tokens, size, layers=1, heads=1, hidden=size, memory_size=size),
}


@pytest.mark.parametrize("part", WIDE)
def test_what_is_as_wide_as_there_are_tokens_and_is_not_of_them_is_taken(tmp_path: Path, part: str):
    first, other = (make_tokenizer(tmp_path / text, text) for text in ("AB CD", "EF GH"))
    size = len(Tokenizer(first))
    assert size == len(Tokenizer(other))
    theirs, ours = (WIDE[part](size, size) for _ in range(2))
    of_tokens = tuple(name for name in ours.state_dict() if name.startswith(("embedding.", "output.")))
    assert size in {len(weights) for name, weights in ours.state_dict().items() if name not in of_tokens}
    check_taken(ours, as_run(tmp_path / "run", theirs, first), other, but=of_tokens)


def test_of_a_model_that_names_nothing_what_has_a_row_for_each_token_begins_anew(tmp_path, tokenizer: Tokenizer):
    other = make_tokenizer(tmp_path / "other.model", "DEF FDE", "E D F")
    theirs, ours = (nn.Sequential(nn.Embedding(len(tokenizer), 3), nn.Linear(3, 3)) for _ in range(2))
    check_taken(ours, as_run(tmp_path / "run", theirs, tokenizer.model_file), other, but=("0.weight",))


def test_a_run_of_which_little_fits_is_warned_of(
    run_folder: Path, tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
):
    take_weights(make_model(len(tokenizer), neurons=12), run_folder, tokenizer.model_file)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.message.startswith(f"weights of {run_folder}: 9 of 24 tensors are taken\n")


def test_the_log_says_of_each_part_what_became_of_it_and_why(
    run_folder: Path, tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    model = make_model(len(tokenizer) + 3)
    model.decoder, model.encoder.rnn = nn.Linear(2, 2), None
    take_weights(model, run_folder, tokenizer.model_file)
    (record,) = caplog.records
    rows = {tuple(re.split(r"  +", line.strip())) for line in record.message.splitlines()[1:]}
    assert rows >= {
        ("encoder.front_end", "10", "taken"),
        ("encoder.rnn", "12", "not used: the model has no such tensors"),
        ("decoder", "2", "begins anew: not there"),
        ("ctc_output", "2", "begins anew: of another shape there"),
    }
    assert sum(int(row[1]) for row in rows) == len(model_weights(run_folder)) + 2


def test_a_tensor_of_another_shape_that_stands_alone_is_shown_with_both_shapes(
    run_folder: Path, tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    model = make_model(len(tokenizer))
    model.ctc_output.weight = nn.Parameter(torch.zeros(len(tokenizer), 5))
    take_weights(model, run_folder, tokenizer.model_file)
    there = tuple(model_weights(run_folder)["ctc_output.weight"].shape)
    assert f"1  begins anew: {there} there, ({len(tokenizer)}, 5) here" in caplog.text


def test_an_exported_folder_serves_as_well(run_folder: Path, tokenizer: Tokenizer, tmp_path: Path):
    assert main(["export", str(run_folder), str(tmp_path / "exported")]) == 0
    check_taken(make_model(len(tokenizer)), tmp_path / "exported", tokenizer.model_file)


def test_a_run_of_which_nothing_fits_is_refused(run_folder: Path):
    with pytest.raises(ModelError, match=r"run.*: none of its weights has the name and the shape of one of Linear"):
        take_weights(nn.Linear(2, 3), run_folder)


def test_a_run_begins_with_the_weights_and_continues_with_its_own(tmp_path: Path):
    experiment = make_experiment(tmp_path)
    experiment.yaml.write_text(experiment.yaml.read_text() + "init_from: null\n")
    first = experiment.train("--number_of_epochs", "1")
    second = ["--output_folder", str(tmp_path / "second"), "--init_from", str(first)]
    experiment.train(*second, "--number_of_epochs", "1", "--lr", "0")
    theirs = model_weights(first)
    for name, weights in model_weights(tmp_path / "second").items():
        torch.testing.assert_close(weights, theirs[name], atol=0, rtol=0)
    first.rename(tmp_path / "gone")  # a run that has a checkpoint needs the other no more
    experiment.train(*second)
