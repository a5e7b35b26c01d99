"""Training that begins with the weights of another run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_experiment import make_experiment
from torch import nn

from toolkit.checkpoints import model_weights
from toolkit.errors import ModelError
from toolkit.models.features import LogMel
from toolkit.models.recogniser import CTCModel
from toolkit.models.recurrent import CRDNN
from toolkit.pretrained import take_weights
from toolkit.tokenizer import Tokenizer


def make_model(vocab_size: int) -> CTCModel:
    """The model of ``run_folder``, but for its tokens."""
    return CTCModel(
        LogMel(16000, 16), CRDNN(16, cnn_channels=[4, 4], rnn_neurons=16, rnn_layers=1, dnn_blocks=0), vocab_size
    )


def test_what_fits_is_taken_and_the_rest_stays(run_folder: Path, tokenizer: Tokenizer):
    theirs, model = model_weights(run_folder), make_model(len(tokenizer) + 3)
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    taken, left = take_weights(model, run_folder)
    assert left == ["ctc_output.weight", "ctc_output.bias"]
    assert set(taken) | set(left) == set(before)
    for name, weights in model.state_dict().items():
        torch.testing.assert_close(weights, theirs[name] if name in taken else before[name], atol=0, rtol=0)


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
