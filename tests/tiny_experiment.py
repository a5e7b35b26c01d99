"""An experiment that trains in a second: tones, a tokenizer of letters, a small CTC model, and a script to run them.

experiment = make_experiment(tmp_path)        # tmp_path/tiny.yaml beside tmp_path/train.py
load_script(experiment.script).main([str(experiment.yaml), "--device", "cpu"])
"""

from __future__ import annotations

import importlib.util
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tone_corpus import make_tone_corpus

from toolkit.tokenizer import train_tokenizer

SCRIPT = Path(__file__).parents[1] / "templates/asr/train.py"

MODEL = """\
sample_rate: 16000
tokenizer: !new:toolkit.tokenizer.Tokenizer
  model_file: !ref <tokenizer_file>
model: !new:toolkit.models.recogniser.CTCModel
  features: !new:toolkit.models.features.LogMel
    sample_rate: !ref <sample_rate>
    n_mels: !ref <n_mels>
  encoder: !new:toolkit.models.recurrent.CRDNN
    input_size: !ref <n_mels>
    cnn_channels: [4, 4]
    rnn_neurons: 16
    rnn_layers: 1
    dnn_blocks: 0
    dropout: 0.1
  vocab_size: !apply:len [!ref <tokenizer>]
brain: !name:toolkit.brains.ctc.CTCBrain
test_search: !new:toolkit.decoders.ctc.CTCGreedySearcher
"""

YAML = f"""\
# Tones
seed: 1
output_folder: {{folder}}/run
train_manifest: {{folder}}/manifests/train.json
tokenizer_file: {{folder}}/tokenizer.model
number_of_epochs: 2
lr: 0.01
average_checkpoints: 1
grad_accumulation_factor: 1
max_grad_norm: 5.0
precision: fp32
n_mels: 16

{MODEL}
opt_class: !name:torch.optim.AdamW
  lr: !ref <lr>
epoch_counter: !new:speechbrain.utils.epoch_loop.EpochCounter
  limit: !ref <number_of_epochs>
valid_search: !new:toolkit.decoders.ctc.CTCGreedySearcher

train_data:
  manifest_filepath: !ref <train_manifest>
  batch_size: 2
  num_buckets: 1
  shuffle: True
  seed: !ref <seed>
valid_data:
  manifest_filepath: {{folder}}/manifests/valid.json
  batch_size: 4
test_data:
  tones:
    manifest_filepath: {{folder}}/manifests/test.json
    batch_size: 4
"""


@dataclass
class Experiment:
    """Where its parts lie."""

    folder: Path
    yaml: Path
    script: Path
    run: Path

    def train(self, *options: str) -> Path:
        """The run's folder, once the script has done with these options, in this process."""
        with logging_as_before():
            load_script(self.script).main([str(self.yaml), "--device", "cpu", "--noprogressbar", *options])
        return self.run


@contextmanager
def logging_as_before() -> Iterator[None]:
    """For scripts that are run in process: the handlers that they set up are closed, and those before come back."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.setLevel(level)
    root.handlers[:] = handlers


def make_experiment(folder: Path, utterances: int = 12) -> Experiment:
    """The experiment in a folder: 6 batches an epoch with 12 utterances."""
    manifests = make_tone_corpus(folder, utterances)
    sentences = manifests["lm_train"].read_text().splitlines()
    train_tokenizer(sentences, folder / "tokenizer.model", model_type="char")
    shutil.copy(SCRIPT, folder / "train.py")
    (folder / "tiny.yaml").write_text(YAML.format(folder=folder))
    return Experiment(folder, folder / "tiny.yaml", folder / "train.py", folder / "run")


def load_script(path: Path) -> ModuleType:
    """A script as a module, without running its ``main``."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
