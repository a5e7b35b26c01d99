"""wav2vec 2.0 as an encoder: transformers' own numbers, whatever the padding, and built again without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_wav2vec2 import GROUP, LAYER, save_tiny_wav2vec2
from torch import Tensor
from torch.nn.functional import ctc_loss

from toolkit.errors import ConfigError, ExperimentError, ModelError
from toolkit.models.features import Waveform
from toolkit.models.recogniser import CTCModel
from toolkit.models.wav2vec2 import Wav2Vec2, describe

transformers = pytest.importorskip("transformers")

VOCABULARY = 11
PLAIN = {"layerdrop": 0.0, "mask_time_prob": 0.0, **dict.fromkeys(("hidden_dropout", "attention_dropout"), 0.0)}
PLAIN |= dict.fromkeys(("activation_dropout", "feat_proj_dropout", "final_dropout"), 0.0)


@pytest.fixture(scope="module", params=[LAYER, GROUP], ids=["layer", "group"])
def any_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_wav2vec2(tmp_path_factory.mktemp("pretrained"), **request.param)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_wav2vec2(tmp_path_factory.mktemp("pretrained"))


def recogniser(source: Path, **options: Any) -> CTCModel:
    torch.manual_seed(2)
    return CTCModel(Waveform(), Wav2Vec2(source, **options), VOCABULARY).eval()


def peer_of(model: CTCModel, folder: Path) -> torch.nn.Module:
    """transformers' Wav2Vec2ForCTC with the weights of a model; token 0 is the blank in both."""
    config = transformers.AutoConfig.from_pretrained(folder)
    config.vocab_size, config.pad_token_id, config.ctc_loss_reduction = VOCABULARY, 0, "sum"
    peer = transformers.Wav2Vec2ForCTC(config).eval()
    weights = {name.removeprefix("encoder."): value for name, value in model.state_dict().items()}
    peer.load_state_dict({name.replace("ctc_output.", "lm_head."): value for name, value in weights.items()})
    return peer


def speech(*samples: int) -> tuple[Tensor, Tensor]:
    """Noise with an offset (B, S), padded with other noise, and the samples (B,) of each."""
    generator = torch.Generator().manual_seed(3)
    return 0.1 * torch.randn(len(samples), max(samples), generator=generator) + 0.05, torch.tensor(samples)


def heard(wavs: Tensor, samples: Tensor, folder: Path, *, masked: bool) -> dict[str, Tensor]:
    """What transformers' feature extractor makes of waveforms."""
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    rows = [wav[:count].numpy() for wav, count in zip(wavs, samples, strict=True)]
    options = {"padding": True, "return_attention_mask": masked, "return_tensors": "pt"}
    return extractor(rows, sampling_rate=16000, **options)


@torch.no_grad()
def test_an_utterance_alone_has_the_logits_of_transformers(any_folder: Path):
    model = recogniser(any_folder)
    wavs, samples = speech(9000)
    expected = peer_of(model, any_folder)(**heard(wavs, samples, any_folder, masked=False)).logits
    found, frames = model(wavs, samples)
    assert frames.tolist() == [expected.shape[1]] == [27]
    torch.testing.assert_close(found, expected.log_softmax(-1), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_batch_has_the_logits_and_the_loss_of_transformers(folder: Path):
    """Of a model that was trained with attention masks, as XLS-R was."""
    model = recogniser(folder)
    wavs, samples = speech(9000, 16000, 4000)
    tokens, counts = torch.tensor([[3, 1, 4, 1], [5, 9, 2, 6], [5, 3, 0, 0]]), torch.tensor([4, 4, 2])
    labels = tokens.masked_fill(torch.arange(4) >= counts[:, None], -100)
    expected = peer_of(model, folder)(**heard(wavs, samples, folder, masked=True), labels=labels)
    found, frames = model(wavs, samples)
    for row, count in enumerate(frames):
        logits = expected.logits[row, :count].log_softmax(-1)
        torch.testing.assert_close(found[row, :count], logits, atol=1e-5, rtol=1e-4)
    loss = ctc_loss(found.transpose(0, 1), tokens, frames, counts, reduction="sum")
    torch.testing.assert_close(loss, expected.loss, atol=1e-4, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("samples", [1, 399, 400, 719, 720, 5000, 7999])
@pytest.mark.parametrize("normalise", [True, False])
def test_alone_and_padded_agree(any_folder: Path, tmp_path: Path, samples: int, normalise: bool):
    source = tmp_path / "description.json"
    source.write_text(json.dumps(json.loads(describe(any_folder)) | {"do_normalize": normalise}))
    model = recogniser(source)
    wavs, counts = speech(samples, 2 * samples)
    expected, frames = model(wavs[:1, :samples], counts[:1])
    found, batch_frames = model(wavs, counts)
    assert batch_frames[0] == frames[0] == expected.size(1)
    torch.testing.assert_close(found[0, : frames[0]], expected[0], atol=1e-5, rtol=1e-4)


def test_a_description_builds_the_model_that_weights_of_a_checkpoint_fit(any_folder: Path, tmp_path: Path):
    trained = recogniser(any_folder)
    (tmp_path / "wav2vec2.json").write_text(describe(any_folder))
    again = recogniser(tmp_path / "wav2vec2.json")
    wavs, samples = speech(9000, 16000)
    assert not torch.allclose(again(wavs, samples)[0], trained(wavs, samples)[0], atol=1e-3)
    again.load_state_dict(trained.state_dict())
    assert torch.equal(again(wavs, samples)[0], trained(wavs, samples)[0])
    assert describe(tmp_path / "wav2vec2.json") == describe(any_folder)


def gradients(model: CTCModel, wavs: Tensor, samples: Tensor) -> dict[str, Tensor]:
    model.train()
    model(wavs, samples)[0][..., 1].mean().backward()
    return {name: one.grad for name, one in model.named_parameters() if one.grad is not None}


def test_gradients_are_the_same_when_layers_are_computed_again(folder: Path):
    plain = gradients(recogniser(folder, settings=PLAIN), *speech(9000, 16000))
    found = gradients(recogniser(folder, settings=PLAIN, gradient_checkpointing=True), *speech(9000, 16000))
    assert any("layers.1.attention" in name for name in plain)
    assert plain.keys() == found.keys()
    for name, value in plain.items():
        torch.testing.assert_close(found[name], value)


def test_what_is_masked_in_training_is_drawn_and_moments_are_heard_whole(folder: Path):
    model = recogniser(folder, settings=PLAIN | {"mask_time_prob": 0.5, "mask_time_length": 10}).train()
    wavs, samples = speech(16000)
    assert not torch.allclose(model(wavs, samples)[0], model(wavs, samples)[0], atol=1e-3)
    moment = wavs[:, :3000], torch.tensor([3000])  # 9 frames, fewer than a mask has
    assert torch.equal(model(*moment)[0], model.eval()(*moment)[0])
    assert torch.equal(model(wavs, samples)[0], model(wavs, samples)[0])


def test_settings_are_of_training(folder: Path):
    with pytest.raises(ConfigError, match=r"settings: unknown 'layer_drop' .did you mean 'layerdrop'"):
        Wav2Vec2(folder, settings={"layer_drop": 0.1})
    assert Wav2Vec2(folder, settings={"final_dropout": 0.3}).dropout.p == 0.3


def test_a_folder_lacks_weights(folder: Path, tmp_path: Path):
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_text((folder / name).read_text())
    with pytest.raises(ModelError, match=r"cannot be loaded: .*model\.safetensors"):
        Wav2Vec2(tmp_path)
    with pytest.raises(ExperimentError, match=r"no_such: no such folder; .* such as facebook/wav2vec2-xls-r-300m"):
        Wav2Vec2("no_such")


def test_a_model_of_another_kind(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ModelError, match="a bert does not hear waveforms"):
        Wav2Vec2(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "../evil", "auto_map": {"AutoModel": "evil.py"}}))
    with pytest.raises(ModelError, match="not a model's configuration"):
        Wav2Vec2(tmp_path)
