"""A fine-tuned wav2vec 2.0 transcribes from its run's folder alone: as transformers would, and after an export."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_experiment import make_experiment
from tiny_wav2vec2 import save_tiny_wav2vec2

from toolkit.dataio.audio import load_audio
from toolkit.errors import ConfigError
from toolkit.hparams import HparamsDocument
from toolkit.inference.export import Export, export_run
from toolkit.inference.transcriber import Transcriber

transformers = pytest.importorskip("transformers")

FEATURES = """\
  features: !new:toolkit.models.features.LogMel
    sample_rate: !ref <sample_rate>
    n_mels: !ref <n_mels>
"""
ENCODER = """\
  encoder: !new:toolkit.models.recurrent.CRDNN
    input_size: !ref <n_mels>
    cnn_channels: [4, 4]
    rnn_neurons: 16
    rnn_layers: 1
    dnn_blocks: 0
    dropout: 0.1
"""
WAV2VEC2 = """\
  features: !new:toolkit.models.features.Waveform
  encoder: !new:toolkit.models.wav2vec2.Wav2Vec2
    source: !ref <wav2vec2>
    settings: {layerdrop: 0.0, mask_time_prob: 0.2, mask_time_length: 4}
"""
FREEZE = """\
freeze: [encoder.wav2vec2.feature_extractor]
param_groups:
  encoder.wav2vec2: {lr: 0.0001}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where there are a run, the pretrained model that it began with, by a name as on the hub, and tones."""
    experiment = make_experiment(tmp_path_factory.mktemp("experiment"))
    yaml = experiment.yaml.read_text()
    assert FEATURES + ENCODER in yaml
    yaml = yaml.replace(FEATURES + ENCODER, WAV2VEC2).replace("n_mels: 16\n", "wav2vec2: meta/tiny\n")
    experiment.yaml.write_text(yaml + FREEZE)
    save_tiny_wav2vec2(experiment.folder / "meta/tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(experiment.folder)
        experiment.train("--number_of_epochs", "1")
    return experiment.folder


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    """The run alone, elsewhere, its output such that it has something to say."""
    (run,) = place.glob("run")
    shutil.move(run, place / "moved/run")
    (weights,) = (place / "moved/run/save").glob("CKPT+*/model.ckpt")
    torch.manual_seed(5)
    values = torch.load(weights)
    torch.save(values | {"ctc_output.weight": 3 * torch.randn_like(values["ctc_output.weight"])}, weights)
    return place / "moved/run"


def tones(place: Path) -> list[Path]:
    return sorted((place / "corpus").rglob("*.wav"))[:6]


def test_what_was_frozen_is_as_it_was(place: Path, run: Path):
    before = transformers.AutoModel.from_pretrained(place / "meta/tiny").state_dict()
    after = Transcriber.from_hparams(run, device="cpu").model.encoder.wav2vec2.state_dict()
    for name, value in before.items():
        assert torch.equal(after[name], value) == name.startswith("feature_extractor"), name


def test_the_text_is_that_of_transformers(place: Path, run: Path):
    transcriber = Transcriber.from_hparams(run, device="cpu")
    config = transformers.AutoConfig.from_pretrained(place / "meta/tiny")
    config.vocab_size, config.pad_token_id = len(transcriber.tokenizer), 0
    peer = transformers.Wav2Vec2ForCTC(config).eval()
    weights = {name.removeprefix("encoder."): value for name, value in transcriber.model.state_dict().items()}
    peer.load_state_dict({name.replace("ctc_output.", "lm_head."): value for name, value in weights.items()})
    extractor = transformers.AutoFeatureExtractor.from_pretrained(place / "meta/tiny")
    pieces = transcriber.tokenizer.pieces()
    for file, found in zip(tones(place), transcriber.transcribe_files(tones(place)), strict=True):
        heard = extractor(load_audio(file, 16000).numpy(), sampling_rate=16000, return_tensors="pt")
        best = peer(**heard).logits[0].argmax(-1).unique_consecutive().tolist()
        assert found.text == " ".join("".join(pieces[one] for one in best if one).replace("▁", " ").split())
        assert found.text


@pytest.mark.parametrize("form", ["float32", "int8"])
def test_an_export_says_the_same(place: Path, run: Path, tmp_path: Path, form: str):
    export_run(run, tmp_path / "out", Export(form=form))
    texts = [[one.text for one in Transcriber.from_hparams(folder, device="cpu").transcribe_files(tones(place))]
             for folder in (run, tmp_path / "out")]  # fmt: skip
    assert form == "int8" or texts[0] == texts[1]
    assert json.loads((tmp_path / "out/wav2vec2.json").read_text())["do_normalize"] is True
    document = HparamsDocument(tmp_path / "out/hyperparams.yaml")
    assert str(document.data["wav2vec2"].value) == "<output_folder>/wav2vec2.json"


@pytest.mark.parametrize("source", ["facebook/wav2vec2-base", "OUTSIDE/meta/tiny", "../../meta/tiny"])
def test_nothing_but_the_run_is_read(place: Path, run: Path, tmp_path: Path, source: str):
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    yaml = (folder / "hyperparams.yaml").read_text()
    written = "wav2vec2: !ref <output_folder>/wav2vec2.json"
    assert written in yaml
    source = source.replace("OUTSIDE", str(place))
    (folder / "hyperparams.yaml").write_text(yaml.replace(written, f"wav2vec2: {source}"))
    with pytest.raises(ConfigError, match=r"source: .*leads out of"):
        Transcriber.from_hparams(folder, device="cpu")
