"""A speech language model learns what the assistant says, and to write down tones that it hears."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
import torch
from lhotse import CutSet
from speechbrain import Stage
from tiny_experiment import Experiment, make_experiment
from torch import Tensor

from toolkit.brains.learning_curve import read_train_log
from toolkit.brains.speech_language import SpeechLMBrain
from toolkit.checkpoints import model_weights
from toolkit.dataio.conversations import ConversationBatch, ConversationDataset
from toolkit.dataio.cutset import cut_to_conversation
from toolkit.dataio.loaders import load_split
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
from toolkit.decoders.attention import AttentionSearcher
from toolkit.decoders.ctc import CTCGreedySearcher, CTCPrefixSearcher
from toolkit.errors import ConfigError, DataError, ModelError
from toolkit.hparams import HparamsDocument
from toolkit.inference.transcriber import Transcriber
from toolkit.metrics.error_rate import ErrorRateTracker
from toolkit.metrics.report import report_lines
from toolkit.tokenizer import PromptTokenizer, train_tokenizer

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
    rnn_neurons: 16
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
TOKENS = """\
  prompt_format: prefix
  audio_locator_tag: "[audio]"
  token_equivalent_duration: 0.04
  use_multimodal_sampling: True
  batch_tokens: 600
"""
AUDIO = """\
  input_cfg:
    - type: lhotse_as_conversation
      manifest_filepath: FOLDER/manifests/SPLIT.json
      tags: {context: SOL}
      weight: 1
"""
TEXTS = """\
    - type: txt_pair
      source_paths: FOLDER/manifests/lm_train.txt
      target_paths: FOLDER/manifests/lm_train.txt
      weight: 1
"""
DATA = f"""\
train_data:
{AUDIO.replace("SPLIT", "train")}{TEXTS}{TOKENS}  shuffle: True
valid_data:
{AUDIO.replace("SPLIT", "valid")}{TOKENS}test_data:
  tones:
{indent(AUDIO.replace("SPLIT", "test") + TOKENS, "  ")}"""


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """A recogniser of tones, trained until it hears every second word, and beside it the YAML of a language model."""
    made = make_experiment(tmp_path_factory.mktemp("speechlm"), utterances=60)
    made.train("--number_of_epochs", "12", "--train_data", "{batch_size: 4}")
    made.yaml.write_text((MODEL + DATA).replace("FOLDER", str(made.folder)))
    return Experiment(made.folder, made.yaml, made.script, made.folder / "speechlm")


@pytest.fixture
def tokenizer(experiment: Experiment) -> PromptTokenizer:
    return PromptTokenizer(experiment.folder / "tokenizer.model")


def make_brain(experiment: Experiment, folder: Path, **changes: Any) -> SpeechLMBrain:
    document = HparamsDocument(experiment.yaml)
    document.override({"output_folder": str(folder), **changes})
    hparams = document.build()
    return hparams["brain"](hparams, {"device": "cpu"})


def batch_of(tokenizer: PromptTokenizer, *examples: Formattable) -> ConversationBatch:
    prompt = PrefixPromptFormatter(tokenizer)
    return ConversationDataset()[CutSet([example.apply_prompt_format(prompt) for example in examples])]


def examples(experiment: Experiment) -> list[Formattable]:
    """Something said, something written, and a talk of three turns."""
    first, second, *_ = read_manifest(experiment.folder / "manifests/valid.json")
    said = cut_to_conversation(first, "[audio]", 0.04)
    text = SourceTargetTextExample(TextExample("DO RE MI"), TextExample("MI RE DO"))
    turns = [TextTurn("SI", "user"), TextTurn("DO", "assistant"), AudioTurn(second, "user", "[audio]")]
    return [said, text, NeMoMultimodalConversation("talk", [*turns, TextTurn("LA LI", "assistant")], 0.04)]


# What is learned


@pytest.mark.parametrize(("stage", "smoothing"), [(Stage.TRAIN, 0.1), (Stage.VALID, 0.0)])
def test_the_loss_is_of_what_the_assistant_says(experiment, tokenizer, tmp_path, stage: Stage, smoothing: float):
    brain = make_brain(experiment, tmp_path)
    batch = batch_of(tokenizer, *examples(experiment))
    logits = torch.randn(3, batch.input_ids.size(1) - 1, len(tokenizer))
    losses = []
    answers = [[batch.words[0]], ["MI RE DO"], ["DO", "LA LI"]]
    for row, texts in enumerate(answers):
        ids = batch.input_ids[row, : batch.token_counts[row]].tolist()
        for text in texts:
            answer = [*tokenizer.encode(text), 0]
            place = next(at for at in range(len(ids), 0, -1) if ids[at : at + len(answer)] == answer)
            for step, token in enumerate(answer):
                log_probs = logits[row, place + step - 1].log_softmax(0)
                losses.append(-(1 - smoothing) * log_probs[token] - smoothing * log_probs.mean())
    found = brain.compute_objectives(logits, batch, stage)
    torch.testing.assert_close(found, torch.stack(losses).mean())


def test_what_the_assistant_says_aloud_is_not_learned(experiment, tokenizer, tmp_path):
    brain, (said, *_) = make_brain(experiment, tmp_path), examples(experiment)
    spoken = AudioTurn(said.list_cuts()[0], "assistant", "[audio]")
    turns = [TextTurn("DO", "user"), spoken, TextTurn("RE", "user"), TextTurn("MI", "assistant")]
    batch = batch_of(tokenizer, NeMoMultimodalConversation("talk", turns, 0.04))
    logits = torch.randn(1, batch.input_ids.size(1) - 1, len(tokenizer))
    heard = (batch.input_ids[0, 1:] == len(tokenizer)).nonzero()
    others = logits.clone()
    others[0, heard] += torch.randn(len(tokenizer))
    assert brain.compute_objectives(logits, batch, Stage.VALID) == brain.compute_objectives(others, batch, Stage.VALID)


def test_gradients_are_of_the_language_model_and_of_texts_alone_too(experiment, tokenizer, tmp_path):
    brain = make_brain(experiment, tmp_path)
    for batch in (batch_of(tokenizer, *examples(experiment)), batch_of(tokenizer, examples(experiment)[1])):
        brain.model.zero_grad()
        brain.compute_objectives(brain.compute_forward(batch, Stage.TRAIN), batch, Stage.TRAIN).backward()
        trained = {name for name, weights in brain.model.named_parameters() if weights.grad is not None}
        assert {name.split(".")[0] for name in trained} == {"decoder", "projection"}
        assert len(trained) == sum(1 for one in brain.model.parameters() if one.requires_grad)


def test_a_recording_is_transcribed_with_the_prompt_that_was_trained(experiment, tokenizer, tmp_path):
    (said, *_), model = examples(experiment), make_brain(experiment, tmp_path).model
    said.turns.insert(0, TextTurn("SOL", "user"))
    batch = batch_of(tokenizer, said)
    assert model.prompt.tolist() == batch.input_ids[0, : batch.context_counts[0] - 1].tolist()


def test_a_batch_holds_the_audio_in_the_order_of_its_marks(experiment, tokenizer):
    batch = batch_of(tokenizer, *examples(experiment))
    assert batch.id == [examples(experiment)[0].id, "MI RE DO", "talk"]
    assert (batch.input_ids == len(tokenizer)).sum(1).tolist() == [1, 0, 1]
    cuts = list(read_manifest(experiment.folder / "manifests/valid.json"))[:2]
    assert batch.samples.tolist() == [cut.num_samples for cut in cuts]


def test_a_conversation_without_an_answer_is_refused(experiment, tokenizer):
    said, _, talk = examples(experiment)
    with pytest.raises(DataError, match="conversation 'talk': ends with what user says; expected what the assistant"):
        batch_of(tokenizer, said, NeMoMultimodalConversation("talk", talk.turns[:-1], 0.04))


# The whole


@pytest.mark.usefixtures("logging_put_back")
def test_a_run_that_is_stopped_inside_an_epoch_reaches_the_same_weights(experiment, tmp_path, monkeypatch):
    experiment.train("--output_folder", str(tmp_path / "undisturbed"))
    stopped, original = ["--output_folder", str(tmp_path / "stopped")], SpeechLMBrain.compute_forward

    def forward(brain: SpeechLMBrain, batch: ConversationBatch, stage: Stage) -> Tensor:
        if stage == Stage.TRAIN and (brain.epoch, brain.step) == (2, 4):
            raise KeyboardInterrupt
        return original(brain, batch, stage)

    with monkeypatch.context() as patch:
        patch.setattr(SpeechLMBrain, "compute_forward", forward)
        with pytest.raises(KeyboardInterrupt):
            experiment.train(*stopped)
    experiment.train(*stopped)
    expected = model_weights(tmp_path / "undisturbed")
    torch.testing.assert_close(dict(model_weights(tmp_path / "stopped")), dict(expected))


@pytest.mark.usefixtures("logging_put_back")
def test_it_learns_to_write_what_it_hears(experiment: Experiment):
    run = experiment.train("--number_of_epochs", "8")
    theirs, ours = model_weights(experiment.folder / "run"), model_weights(run)
    assert all(torch.equal(weights, theirs[name]) for name, weights in ours.items() if name.startswith("encoder."))
    errors = read_train_log(run / "train_log.txt")["valid WER"]
    assert min(errors.values()) < 75 < errors[1]
    check_transcripts(experiment)


def check_transcripts(experiment: Experiment) -> None:
    """`asr transcribe` finds what the test of the run counted."""
    cuts = list(read_manifest(experiment.folder / "manifests/test.json"))
    files = [cut.recording.sources[0].source for cut in cuts]
    tracker, transcriber = ErrorRateTracker(), Transcriber.from_hparams(experiment.run, device="cpu")
    for cut, found in zip(cuts, transcriber.transcribe_files(files), strict=True):
        tracker.add(cut.id, cut.supervisions[0].text, found.text)
    assert next(report_lines(tracker)) == (experiment.run / "wer_tones.txt").read_text().splitlines()[0]


def test_another_encoder_is_refused(experiment: Experiment, tmp_path: Path):
    other = MODEL.replace("rnn_neurons: 16", "rnn_neurons: 12") + DATA
    (tmp_path / "other.yaml").write_text(other.replace("FOLDER", str(experiment.folder)))
    brain = make_brain(replace(experiment, yaml=tmp_path / "other.yaml"), tmp_path)
    with pytest.raises(ModelError, match=r"encoder_folder: .*run has another encoder; declare that of its YAML"):
        brain.on_fit_start()


def test_an_encoder_of_another_tokenizer_of_the_same_size_is_refused(experiment: Experiment, tmp_path: Path):
    texts = (experiment.folder / "manifests/lm_train.txt").read_text().lower().splitlines()
    other = tmp_path / "other.model"
    train_tokenizer(texts, other, model_type="char")
    brain = make_brain(experiment, tmp_path, tokenizer_file=str(other))
    assert brain.model.vocab_size == len(PromptTokenizer(experiment.folder / "tokenizer.model"))
    message = rf"encoder_folder: .*run was trained with another tokenizer than {other}; .* .*run/tokenizer\.model"
    with pytest.raises(ModelError, match=message):
        brain.on_fit_start()


@pytest.mark.parametrize("search", [CTCGreedySearcher(), CTCPrefixSearcher(), AttentionSearcher(ctc_weight=0.3)])
def test_a_search_with_ctc_is_refused(experiment: Experiment, tmp_path: Path, search: Any):
    model = make_brain(experiment, tmp_path).model.eval()
    encoded, lengths = model.encode(torch.randn(1, 16000), torch.tensor([16000]))
    with pytest.raises(ModelError, match="SpeechLM has no CTC output of its prompts: search it with AttentionSearcher"):
        search(model, encoded, lengths)


def test_utterances_without_a_prompt_format_and_texts_without_one_are_refused(experiment: Experiment):
    hparams = HparamsDocument(experiment.yaml).build()
    manifest = {"manifest_filepath": str(experiment.folder / "manifests/valid.json"), "batch_size": 1}
    data = {"cuts": {**manifest, "prompt_format": "prefix"}, "talks": {**hparams["valid_data"], "prompt_format": None}}
    with pytest.raises(ConfigError, match=r"cuts: expected conversations or texts, .* not MonoCut"):
        load_split("test_data.cuts", {**hparams, "test_data": data})
    data["talks"] |= {"use_multimodal_sampling": False, "batch_tokens": None, "batch_size": 1}
    with pytest.raises(ConfigError, match="talks: expected utterances with audio, not NeMoMultimodalConversation"):
        load_split("test_data.talks", {**hparams, "test_data": data})
