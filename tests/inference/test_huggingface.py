"""HuggingFace CTC models: transformers' own answers, alone and in batches; pyctcdecode's with a language model."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tone_corpus import make_tone_corpus
from torch import Tensor

from toolkit.cli.main import main
from toolkit.dataio.manifests import read_manifest
from toolkit.decoders.ctc import CTCGreedySearcher
from toolkit.errors import ConfigError, ExperimentError, ModelError, TokenizerError, ToolkitError
from toolkit.inference.confidence import Calibration
from toolkit.inference.huggingface_model import HuggingFaceModel
from toolkit.inference.interfaces import HuggingFaceCTC, TransducerASR
from toolkit.inference.transcriber import Transcriber
from toolkit.metrics.error_rate import character_errors

pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")  # transformers' WavLM

transformers = pytest.importorskip("transformers")
pyctcdecode = pytest.importorskip("pyctcdecode")

LETTERS = "ETAONIHSRDLUMWCFGYPBVK'XJQZ"
TOKENS = ["<s>", "</s>", "<pad>", "<unk>", "|", *LETTERS]  # the blank is not the first column
SIZES = {
    "vocab_size": len(TOKENS),
    "pad_token_id": TOKENS.index("<pad>"),
    **{"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32},
    **{"conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2},
}
GROUP, LAYER = {"feat_extract_norm": "group"}, {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
# Model and settings; those with a norm over time are trained without attention mask.
KINDS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "wav2vec2-group": ("Wav2Vec2", GROUP, False),
    "wav2vec2-layer": ("Wav2Vec2", LAYER, True),
    "hubert-group": ("Hubert", GROUP, False),
    "hubert-layer": ("Hubert", LAYER, True),
    "wavlm-group": ("WavLM", GROUP, False),
    "wavlm-layer": ("WavLM", LAYER, True),
    "unispeech-sat": ("UniSpeechSat", GROUP, False),
    "data2vec": ("Data2VecAudio", {}, True),  # heard one by one
}
ARPA = r"""
\data\
ngram 1=7
ngram 2=5
ngram 3=1

\1-grams:
-1.5	<unk>
-99	<s>	-0.4
-0.8	</s>
-0.9	TO	-0.3
-1.1	A	-0.2
-1.3	AT	-0.5
-1.6	NOT

\2-grams:
-0.3	<s> TO	-0.1
-0.6	TO A
-0.4	A AT
-0.7	AT TO	-0.2
-0.9	NOT TO

\3-grams:
-0.2	<s> TO A

\end\
"""


def save_model(folder: Path, kind: str = "wav2vec2-group") -> Path:
    """A random model of a kind with its processor, whose output is not the same in every frame."""
    name, settings, with_mask = KINDS[kind]
    torch.manual_seed(1)
    config = getattr(transformers, f"{name}Config")(**SIZES, **settings)
    network = getattr(transformers, f"{name}ForCTC")(config)
    with torch.no_grad():
        network.lm_head.weight.normal_(std=1.0)
    network.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({token: column for column, token in enumerate(TOKENS)}))
    tokenizer = transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=with_mask)
    transformers.Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=sorted(KINDS))
def any_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def own_copy(model: Path, tmp_path: Path) -> Path:
    """A model's folder to be damaged."""
    return Path(shutil.copytree(model, tmp_path / "model"))


def waves(*samples: int) -> list[Tensor]:
    """Noise whose colour and loudness change, so that tokens do."""
    generator = torch.Generator().manual_seed(3)
    noises = [torch.randn(count, generator=generator) for count in samples]
    return [noise * torch.sin(torch.arange(len(noise)) / 1500.0) + 0.1 for noise in noises]


def peer_logits(folder: Path, wav: Tensor) -> Tensor:
    """What transformers' own classes give for one waveform: (T, V)."""
    processor = transformers.AutoProcessor.from_pretrained(folder)
    network = transformers.AutoModelForCTC.from_pretrained(folder).eval()
    with torch.no_grad():
        return network(**processor(wav.numpy(), sampling_rate=16000, return_tensors="pt")).logits[0]


def test_log_probabilities_are_those_of_transformers_for_a_file_alone(any_model: Path):
    ours, (wav,) = HuggingFaceCTC.from_hparams(any_model, device="cpu"), waves(16000)
    with torch.no_grad():
        encoded, frames = ours.model.encode(wav[None], torch.tensor([len(wav)]))
        found = ours.model.ctc_log_probs(encoded)[0]
    expected = peer_logits(any_model, wav).log_softmax(dim=1)
    assert frames.tolist() == [len(expected)]
    blank = TOKENS.index("<pad>")
    order = [blank, *(column for column in range(len(TOKENS)) if column != blank)]
    torch.testing.assert_close(found, expected[:, order], atol=1e-4, rtol=0.0)


def test_greedy_text_is_that_of_the_pipeline(any_model: Path):
    (wav,) = waves(24000)
    pipeline = transformers.pipeline("automatic-speech-recognition", str(any_model))
    expected = " ".join(pipeline(wav.numpy())["text"].split())
    (found,) = HuggingFaceCTC.from_hparams(any_model, device="cpu").transcribe([wav])
    assert len(expected) > 10
    assert found.text == expected


def test_neighbours_do_not_change_an_answer(any_model: Path):
    ours, wavs = HuggingFaceCTC.from_hparams(any_model, device="cpu"), waves(16000, 5000, 300, 23457)
    padded = torch.nn.utils.rnn.pad_sequence([*wavs, torch.zeros(40000)], batch_first=True)
    samples = torch.tensor([len(wav) for wav in wavs] + [40000])
    with torch.no_grad():
        encoded, frames = ours.model.encode(padded, samples)
        for wav, row, count in zip(wavs, encoded, frames.tolist(), strict=False):
            alone, alone_frames = ours.model.encode(wav[None], torch.tensor([len(wav)]))
            assert alone_frames.tolist() == [count]
            torch.testing.assert_close(row[:count], alone[0], atol=1e-4, rtol=1e-4)


def test_a_batch_of_transformers_itself_does_change_answers_without_a_mask(model: Path):
    """The reason for a norm of our own: were this to fail, ours would not be needed."""
    (wav,) = waves(8000)
    alone = peer_logits(model, wav)
    normalised = (wav - wav.mean()) / wav.std(correction=0)
    network = transformers.AutoModelForCTC.from_pretrained(model).eval()
    with torch.no_grad():
        padded = network(torch.nn.functional.pad(normalised, (0, 32000))[None]).logits[0, : len(alone)]
    assert (alone - padded).abs().max() > 0.1


LABELS = [{"<pad>": "", "<unk>": "⁇", "|": " "}.get(token, token) for token in TOKENS]


def with_ngram(folder: Path, labels: list[str] = LABELS) -> Path:
    """The folder of a ``Wav2Vec2ProcessorWithLM``: decoder and n-gram beside the model."""
    language = folder / "language_model"
    language.mkdir()
    (language / "3gram.arpa").write_text(ARPA)
    (language / "unigrams.txt").write_text("TO\nA\nAT\nNOT\n")
    (language / "attrs.json").write_text(json.dumps({"alpha": 0.9, "beta": 0.4, "unk_score_offset": -5.0}))
    (folder / "alphabet.json").write_text(json.dumps({"labels": labels, "is_bpe": False}))
    return folder


def spoken(text: str) -> np.ndarray:
    """Logits (T, V), as of a model that hears ``text`` clearly: in doubt, pyctcdecode's search is worse than ours."""
    columns = [TOKENS.index("|" if letter == " " else letter) for letter in text]
    frames = [column for one in columns for column in (one, TOKENS.index("<pad>"))]
    logits = np.random.default_rng(5).normal(size=(len(frames), len(TOKENS))).astype(np.float32)
    logits[np.arange(len(frames)), frames] += 9.0
    return logits


class Heard(torch.nn.Module):
    """Stands for a network that heard these logits (T, V)."""

    def __init__(self, logits: np.ndarray, order: Tensor) -> None:
        super().__init__()
        self.log_probs = torch.from_numpy(logits).log_softmax(dim=1)[:, order][None]

    def ctc_log_probs(self, encoded: Tensor) -> Tensor:  # noqa: ARG002
        return self.log_probs


@pytest.mark.parametrize("text", ["TO A AT TO", "NOT TO A TOAT", "ATA NOT XYZ TO A"])
@pytest.mark.parametrize("overrides", [{}, {"alpha": 0.2, "beta": 2.0, "beam_size": 20}, {"unigrams": None}])
def test_the_decoding_half_is_pyctcdecode(own_copy: Path, text: str, overrides: dict[str, Any]):
    folder = with_ngram(own_copy)
    ours = HuggingFaceCTC.from_hparams(folder, overrides=overrides, device="cpu")
    numbers = {"alpha": 0.9, "beta": 0.4, "unk_score_offset": -5.0} | overrides
    numbers["unigrams"] = ["TO", "A", "AT", "NOT"]
    beam = numbers.pop("beam_size", 100)
    peer = pyctcdecode.build_ctcdecoder(LABELS, str(folder / "language_model/3gram.arpa"), **numbers)
    logits = spoken(text)
    expected = peer.decode_beams(logits, beam_width=beam)[0]
    heard = Heard(logits, ours.model.order)
    (((found, *_)),) = ours.search(heard, torch.zeros(1, len(logits), 1), torch.tensor([len(logits)]))
    assert ours.tokenizer.decode(found.tokens) == expected[0]
    assert found.score == pytest.approx(expected[-1], abs=1e-3)


def test_an_ngram_of_the_folder_is_used_unless_it_is_put_off(own_copy: Path):
    folder = with_ngram(own_copy)
    assert HuggingFaceCTC.from_hparams(folder, device="cpu").search.fusion.alpha == 0.9
    greedy = HuggingFaceCTC.from_hparams(folder, overrides={"language_model": None}, device="cpu")
    assert isinstance(greedy.search, CTCGreedySearcher)


def test_a_decoder_folder_of_pyctcdecode_is_read(model: Path, tmp_path: Path):
    (tmp_path / "lm.arpa").write_text(ARPA)
    decoder = pyctcdecode.build_ctcdecoder(LABELS, str(tmp_path / "lm.arpa"), ["TO", "A"], alpha=0.7)
    (tmp_path / "decoder").mkdir()
    decoder.save_to_dir(str(tmp_path / "decoder"))
    ours = HuggingFaceCTC.from_hparams(model, overrides={"language_model": tmp_path / "decoder"}, device="cpu")
    assert ours.search.fusion.alpha == 0.7
    assert sorted(ours.search.fusion.unigrams) == ["A", "TO"]


def test_hotwords_and_alternatives(model: Path):
    ours = HuggingFaceCTC.from_hparams(model, overrides={"hotwords": ["QUIZ"], "topk": 3}, device="cpu")
    (found,) = ours.transcribe(waves(16000))
    assert ours.search.fusion.hotwords == ["QUIZ"]
    assert found.text


def test_weights_of_the_older_format_and_processor_files_of_older_versions_are_read(own_copy: Path):
    expected = HuggingFaceCTC.from_hparams(own_copy, device="cpu").transcribe(waves(16000))
    network = transformers.AutoModelForCTC.from_pretrained(own_copy)
    torch.save(network.state_dict(), own_copy / "pytorch_model.bin")
    (own_copy / "model.safetensors").unlink()
    extractor = json.loads((own_copy / "processor_config.json").read_text())["feature_extractor"]
    (own_copy / "preprocessor_config.json").write_text(json.dumps(extractor))
    (own_copy / "processor_config.json").unlink()
    (own_copy / "special_tokens_map.json").write_text(json.dumps({"pad_token": {"content": "<pad>"}}))
    (own_copy / "tokenizer_config.json").unlink()
    assert HuggingFaceCTC.from_hparams(own_copy, device="cpu").transcribe(waves(16000)) == expected


def test_long_audio_in_windows_is_the_pipeline_in_chunks(model: Path):
    """Noise never pauses, so that windows follow one another as chunks do; near a seam ours takes the better frames."""
    (wav,) = waves(16000 * 30)
    options = {"chunk_length_s": 10.0, "stride_length_s": 2.0}
    ours = HuggingFaceCTC.from_hparams(model, overrides=options, device="cpu")
    pipeline = transformers.pipeline("automatic-speech-recognition", str(model))
    whole, chunked = pipeline(wav.numpy())["text"], pipeline(wav.numpy(), **options)["text"]
    found = ours.transcribe([wav])[0].text
    assert len(whole) > 300
    assert differences(found, whole) <= differences(chunked, whole) + 5
    assert differences(found, chunked) < 0.02 * len(chunked)


def differences(one: str, other: str) -> int:
    """Letters that differ."""
    return character_errors(other, one).errors


def test_any_model_is_loaded_by_what_its_folder_holds(model: Path):
    assert isinstance(Transcriber.from_hparams(model, device="cpu").model, HuggingFaceModel)
    (found,) = Transcriber.from_hparams(model, overrides={"topk": 2}, device="cpu").transcribe(waves(8000))
    assert found.words[0].end > found.words[0].start


def test_every_command_takes_such_a_folder(own_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    manifests = make_tone_corpus(tmp_path)
    file = next(iter(read_manifest(manifests["valid"]))).recording.sources[0].source
    assert main(["align", str(own_copy), file, "AB BA", "--device", "cpu"]) == 0
    assert [line.split("\t")[3] for line in capsys.readouterr().out.splitlines()] == ["word", "AB", "BA"]
    assert main(["calibrate", str(own_copy), str(manifests["valid"]), "--device", "cpu"]) == 0
    assert Transcriber.from_hparams(own_copy, device="cpu").calibration == Calibration.read(own_copy) != Calibration()
    assert main(["export", str(own_copy), str(tmp_path / "out")]) == 2
    assert "a model of transformers, which stands alone; only runs are exported" in capsys.readouterr().err


def test_transcriber_of_one_kind_says_that_it_is_of_another(model: Path):
    with pytest.raises(ModelError, match="TransducerASR needs a model with joint"):
        TransducerASR.from_hparams(model)


def test_a_link_out_of_the_folder_is_refused(own_copy: Path, model: Path):
    (own_copy / "model.safetensors").unlink()
    (own_copy / "model.safetensors").symlink_to(model / "model.safetensors")
    with pytest.raises(ConfigError, match="leads out of"):
        HuggingFaceCTC.from_hparams(own_copy)
    assert HuggingFaceCTC.from_hparams(own_copy, trust_source_code=True, device="cpu").sample_rate == 16000


class Attack:
    """An object whose pickle runs a command."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Callable, tuple]:
        return Path.touch, (self.made,)


@pytest.mark.parametrize("name", ["vocab.json", "language_model/3gram.arpa", "language_model/unigrams.txt"])
def test_a_link_of_any_file_out_of_the_folder_is_refused(own_copy: Path, tmp_path: Path, name: str):
    with_ngram(own_copy)
    outside, inside = tmp_path / "outside", own_copy / name
    if inside.exists():
        shutil.move(inside, outside)
    else:
        outside.write_text("TO\n")
    inside.symlink_to(outside)
    with pytest.raises(ConfigError, match=f"{inside.name}: leads out of"):
        HuggingFaceCTC.from_hparams(own_copy, device="cpu")


def test_a_list_of_words_that_grows_without_end_is_refused(own_copy: Path):
    with_ngram(own_copy)
    (own_copy / "language_model/unigrams.txt").unlink(missing_ok=True)
    with gzip.open(own_copy / "language_model/unigrams.txt.gz", "wb") as file:
        for _ in range(32):
            file.write(b"A" * (1 << 20))
    with pytest.raises(ModelError, match=r"unigrams\.txt\.gz: unpacked it is more than 50 times as large"):
        HuggingFaceCTC.from_hparams(own_copy, device="cpu")


def test_a_pickle_is_not_run(own_copy: Path, tmp_path: Path):
    (own_copy / "model.safetensors").unlink()
    torch.save({"lm_head.weight": Attack(tmp_path / "made")}, own_copy / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot be loaded"):
        HuggingFaceCTC.from_hparams(own_copy)
    assert not (tmp_path / "made").exists()


def change(file: Path, **values: Any) -> None:
    """Set values of a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


BAD: dict[str, tuple[Callable[[Path], Any], type[ToolkitError], str]] = {
    "no folder": (shutil.rmtree, ExperimentError, "no such folder"),
    "no model": (lambda folder: (folder / "config.json").unlink(), ExperimentError, "config.json: missing"),
    "damaged": (lambda folder: (folder / "config.json").write_text("{"), TokenizerError, "config.json: not a JSON"),
    "whisper": (
        lambda folder: change(folder / "config.json", architectures=["WhisperForConditionalGeneration"]),
        *(ModelError, "a WhisperForConditionalGeneration; expected one that was trained to recognise speech with CTC"),
    ),
    "not fine-tuned": (
        lambda folder: change(folder / "config.json", architectures=["Wav2Vec2ForPreTraining"]),
        *(ModelError, "Wav2Vec2ForPreTraining"),
    ),
    "no tokenizer": (lambda folder: (folder / "vocab.json").unlink(), TokenizerError, "vocab.json: missing"),
    "no processor": (
        lambda folder: (folder / "processor_config.json").unlink(),
        *(TokenizerError, "preprocessor_config.json: missing"),
    ),
    "tokens missing": (
        lambda folder: (folder / "vocab.json").write_text(json.dumps({"<pad>": 2, "A": 1})),
        *(TokenizerError, "names 5 tokens, but the model has 32 outputs"),
    ),
    "no blank": (
        lambda folder: change(folder / "tokenizer_config.json", pad_token="[PAD]"),
        *(TokenizerError, r"no token '\[PAD\]'"),
    ),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), ModelError, "cannot be loaded"),
    "other weights": (
        lambda folder: change(folder / "config.json", num_hidden_layers=3),
        *(ModelError, r"weights lack wav2vec2.encoder.layers.2"),
    ),
    "other alphabet": (
        lambda folder: with_ngram(folder, [label.lower() for label in LABELS]),
        *(ModelError, "label 5 is 'e', but the model's token is 'E'"),
    ),
    "other words": (
        lambda folder: (with_ngram(folder) / "language_model/3gram.arpa").write_text(ARPA.lower()),
        *(ModelError, "word_ngram is not over words of these tokens' letters"),
    ),
    "two n-grams": (
        lambda folder: shutil.copy(with_ngram(folder) / "language_model/3gram.arpa", folder / "language_model/4.arpa"),
        *(ModelError, "found 3gram.arpa, 4.arpa"),
    ),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_a_bad_folder_is_said_to_be_bad(own_copy: Path, case: str):
    damage, error, message = BAD[case]
    damage(own_copy)
    with pytest.raises(error, match=message):
        HuggingFaceCTC.from_hparams(own_copy)


def test_unknown_options_are_named(model: Path):
    with pytest.raises(ConfigError, match=r"unknown option 'apha' \(did you mean 'alpha'\?\)"):
        HuggingFaceCTC.from_hparams(model, overrides={"apha": 1.0})
    with pytest.raises(ModelError, match="no such file or folder"):
        HuggingFaceCTC.from_hparams(model, overrides={"language_model": "nosuch.arpa"})


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("config.json", {"architectures": [1]}),
        ("config.json", {"vocab_size": "x"}),
        ("config.json", {"conv_stride": [0] * 7}),
        ("preprocessor_config.json", {"sampling_rate": 0}),
        ("preprocessor_config.json", {"do_normalize": "x", "sampling_rate": [16000]}),
        ("preprocessor_config.json", {"sampling_rate": "a"}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"x": 1}}),
        ("tokenizer_config.json", {"pad_token": 3}),
    ],
)
def test_wrong_values_are_errors_of_the_model(own_copy: Path, name: str, change: dict[str, Any]):
    (own_copy / "processor_config.json").unlink(missing_ok=True)  # which would go before an older one
    file = own_copy / name
    file.write_text(json.dumps((json.loads(file.read_text()) if file.is_file() else {}) | change))
    with pytest.raises(ToolkitError):
        Transcriber.from_hparams(own_copy, device="cpu")


def test_json_without_end_is_named(own_copy: Path):
    (own_copy / "vocab.json").write_text('{"a": ' * 100_000)
    with pytest.raises(TokenizerError, match=r"vocab\.json: not a JSON file, or damaged"):
        Transcriber.from_hparams(own_copy)
