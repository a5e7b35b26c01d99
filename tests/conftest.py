"""What tests of several folders share: the folder that a run leaves behind, without the run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_experiment import MODEL, logging_as_before
from torch import nn

from toolkit.models.features import LogMel
from toolkit.models.recogniser import CTCModel
from toolkit.models.recurrent import CRDNN
from toolkit.tokenizer import Tokenizer, train_tokenizer

HPARAMS = f"""\
# A small recogniser, as train.py archives it
seed: 1
output_folder: somewhere/else
n_mels: 16
tokenizer_file: !ref <output_folder>/tokenizer.model
{MODEL}"""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems() -> None:
    """Let hypothesis ask every loaded module for its file: SpeechBrain's lazy ones would import k2 to answer."""
    for module in list(sys.modules.values()):
        if any(kind.__name__ == "LazyModule" for kind in type(module).__mro__):
            vars(module).setdefault("__file__", None)


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    model_file = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    train_tokenizer(["ABC CAB", "B A C"], model_file, model_type="char")
    return Tokenizer(model_file)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    """The folder of a finished run: YAML, tokenizer, random weights that say something of every frame."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "hyperparams.yaml").write_text(HPARAMS)
    shutil.copy(tokenizer.model_file, folder / "tokenizer.model")
    torch.manual_seed(11)
    encoder = CRDNN(16, cnn_channels=[4, 4], rnn_neurons=16, rnn_layers=1, dnn_blocks=0)
    model = CTCModel(LogMel(16000, 16), encoder, len(tokenizer))
    for name, weights in model.named_parameters():  # large ones, so that the words change with the sound
        nn.init.normal_(weights, std=0.0 if "ctc_output.bias" in name else 1.0)
    torch.save(model.state_dict(), folder / "model.ckpt")
    return folder


@pytest.fixture
def logging_put_back() -> Iterator[None]:
    """What scripts that are run in process set up, is closed afterwards."""
    with logging_as_before():
        yield
