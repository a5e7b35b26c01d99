"""A speech language model learns what the assistant says, and to write down tones that it hears."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lhotse import CutSet
from speechbrain import Stage
from speechbrain.utils.epoch_loop import EpochCounter
from tiny_experiment import Experiment, load_script, make_experiment

from toolkit.brains.speech_language import SpeechLMBrain
from toolkit.checkpoints import model_weights
from toolkit.dataio.conversations import ConversationDataset
from toolkit.dataio.cutset import cut_to_conversation
from toolkit.dataio.manifests import read_manifest
from toolkit.dataio.prompts.prefix import PrefixPromptFormatter
from toolkit.dataio.text_adapters import (
    AudioTurn,
    Formattable,
    NeMoMultimodalConversation,
    SourceTargetTextExample,
    TextExample,
    TextTurn,
)
from toolkit.errors import ConfigError, DataError, ModelError
from toolkit.hparams import HparamsDocument
from toolkit.inference.transcriber import Transcriber
from toolkit.tokenizer import PromptTokenizer

MODEL = """\
seed: 1
output_folder: FOLDER/speechlm
tokenizer_file: FOLDER/tokenizer.model
encoder_folder: FOLDER/run
number_of_epochs: 2
label_smoothing: 0.1
sample_rate: 16000
tokenizer: !new:toolkit.tokenizer.PromptTokenizer
  model_file: !ref <tokenizer_file>
model: !new:toolkit.models.speech_language.SpeechLM
  features: !new:toolkit.models.features.LogMel
    n_mels: 16
  encoder: !new:toolkit.models.recurrent.CRDNN
    input_size: 16
    cnn_channels: [4, 4]
    rnn_neurons: RNN_NEURONS
    rnn_layers: 1
    dnn_blocks: 0
    dropout: 0.1
  decoder: !new:toolkit.models.speech_language.PromptedDecoder
    vocab_size: !apply:len [!ref <tokenizer>]
    size: 48
    layers: 2
    heads: 2
    hidden: 96
  tokenizer: !ref <tokenizer>
  prompt: SOL [audio]
brain: !name:toolkit.brains.speech_language.SpeechLMBrain
opt_class: !name:torch.optim.AdamW
  lr: 0.005
epoch_counter: !new:speechbrain.utils.epoch_loop.EpochCounter
  limit: !ref <number_of_epochs>
valid_search: !ref <test_search>
test_search: !new:toolkit.decoders.attention.AttentionSearcher
  beam_size: 2
"""
TOKENS = "prompt_format: prefix, use_multimodal_sampling: true, token_equivalent_duration: 0.04, batch_tokens: 600"
AUDIO = '{type: lhotse_as_conversation, tags: {context: SOL}, weight: 1, manifest_filepath: FOLDER/manifests/SPLIT.json}'
TEXTS = "{type: txt_pair, weight: 1, source_paths: FOLDER/manifests/lm_train.txt, target_paths: FOLDER/manifests/lm_train.txt}"
DATA = f"""\
train_data: {{input_cfg: [{AUDIO.replace("SPLIT", "train")}, {TEXTS}], audio_locator_tag: "[audio]", {TOKENS}, shuffle: true}}
valid_data: {{input_cfg: [{AUDIO.replace("SPLIT", "valid")}], audio_locator_tag: "[audio]", {TOKENS}}}
test_data: {{tones: {{input_cfg: [{AUDIO.replace("SPLIT", "test")}], audio_locator_tag: "[audio]", {TOKENS}}}}}
"""


def write_yaml(experiment: Experiment, neurons: int = 16) -> Path:
    path = experiment.folder / "speechlm.yaml"
    path.write_text((MODEL + DATA).replace("FOLDER", str(experiment.folder)).replace("RNN_NEURONS", str(neurons)))
    return path


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """A recogniser of tones, trained."""
    made = make_experiment(tmp_path_factory.mktemp("speechlm"), utterances=60)
    made.train("--number_of_epochs", "12", "--train_data", "{batch_size: 4}")
    return made


def test_it_learns_to_write_what_it_hears_and_goes_on_where_it_was_stopped(experiment: Experiment, logging_put_back):
    yaml, script = write_yaml(experiment), load_script(experiment.script)
    options = [str(yaml), "--device", "cpu", "--noprogressbar"]
    script.main([*options, "--number_of_epochs", "5"])
    script.main([*options, "--number_of_epochs", "10"])
    run = experiment.folder / "speechlm"
    log = (run / "train_log.txt").read_text()
    print(log)
    print((experiment.run / "train_log.txt").read_text())
    assert 0
