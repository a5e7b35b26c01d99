"""What tests of several folders share: the folder that a run leaves behind, without the run."""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_experiment import MODEL, logging_as_before
from torch import nn

from toolkit.models.chunks import Chunks
from toolkit.models.conformer import Conformer
from toolkit.models.features import LogMel
from toolkit.models.recogniser import CTCModel
from toolkit.models.recurrent import CRDNN
from toolkit.models.streaming_features import StreamingLogMel
from toolkit.tokenizer import Tokenizer, train_tokenizer

HPARAMS = f"""\
# A small recogniser, as train.py archives it
seed: 1
output_folder: somewhere/else
n_mels: 16
tokenizer_file: !ref <output_folder>/tokenizer.model
{MODEL}"""


STREAMING = """\
seed: 1
output_folder: somewhere/else
tokenizer_file: !ref <output_folder>/tokenizer.model
sample_rate: 16000
tokenizer: !new:toolkit.tokenizer.Tokenizer
  model_file: !ref <tokenizer_file>
chunks: !new:toolkit.models.chunks.Chunks
  frames: 8
  left: 2
model: !new:toolkit.models.recogniser.CTCModel
  features: !new:toolkit.models.streaming_features.StreamingLogMel
    n_mels: 16
  encoder: !new:toolkit.models.conformer.Conformer
    input_size: 16
    output_size: 16
    layers: 2
    heads: 2
    hidden: 24
    kernel_size: 5
    cnn_channels: [4, 4]
    chunks: !ref <chunks>
  vocab_size: !apply:len [!ref <tokenizer>]
test_search: !new:toolkit.decoders.ctc.CTCPrefixSearcher
"""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems() -> None:
    if "speechbrain" in sys.modules:
        answer_for_lazy_modules()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    if "speechbrain" in sys.modules:
        answer_for_lazy_modules()


@functools.cache  # SpeechBrain makes all of them when it is imported
def answer_for_lazy_modules() -> None:
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


@pytest.fixture(scope="session")
def streaming_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    """The same of a model in chunks of 0.32 s."""
    folder = tmp_path_factory.mktemp("streaming")
    (folder / "hyperparams.yaml").write_text(STREAMING)
    shutil.copy(tokenizer.model_file, folder / "tokenizer.model")
    torch.manual_seed(17)
    sizes = {"layers": 2, "heads": 2, "hidden": 24, "kernel_size": 5, "cnn_channels": [4, 4]}
    encoder = Conformer(16, 16, **sizes, chunks=Chunks(8, 2))
    model = CTCModel(StreamingLogMel(n_mels=16), encoder, len(tokenizer))
    for weights in model.parameters():
        if weights.dim() > 1:
            nn.init.normal_(weights, std=0.3)
    nn.init.zeros_(model.ctc_output.bias)
    torch.save(model.state_dict(), folder / "model.ckpt")
    return folder


@pytest.fixture
def logging_put_back() -> Iterator[None]:
    """What scripts that are run in process set up, is closed afterwards."""
    with logging_as_before():
        yield
