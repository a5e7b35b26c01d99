"""Exported folders: they transcribe as the run does, stand alone, say where they come from, and are whole or absent."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from safetensors.torch import load_file
from tiny_experiment import make_experiment
from torch import Tensor

from toolkit.checkpoints import best_checkpoints
from toolkit.errors import ConfigError, ExperimentError, ModelError
from toolkit.hparams import HparamsDocument
from toolkit.inference import export as module
from toolkit.inference.comparison import sounds
from toolkit.inference.confidence import Calibration
from toolkit.inference.export import Export, export_run
from toolkit.inference.transcriber import Transcriber
from toolkit.models.kneser_ney import train_ngram
from toolkit.models.ngram_lm import NgramLM
from toolkit.tokenizer import Tokenizer, train_tokenizer

AUGMENT = """\
  augment: !new:lhotse.dataset.SpecAugment
    time_warp_factor: 0
"""
SEARCH = """\
lm: !apply:toolkit.pretrained.load_language_model [!ref <lm_folder>]
test_search: !new:toolkit.decoders.ctc.CTCPrefixSearcher
  beam_size: 4
  lm: !ref <lm>
  lm_weight: 0.5
"""
LM_YAML = """\
output_folder: elsewhere
train_text: manifests/lm_train.txt
tokenizer_file: !ref <output_folder>/tokenizer.model
tokenizer: !new:toolkit.tokenizer.Tokenizer
  model_file: !ref <tokenizer_file>
model: !new:toolkit.models.ngram_lm.NgramLM
  tokenizer: !ref <tokenizer>
  order: 3
brain: !name:toolkit.brains.ngram.NgramTrainer
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run, used as the mean of its two best epochs; its model has an augmentation."""
    experiment = make_experiment(tmp_path_factory.mktemp("experiment"))
    yaml = experiment.yaml.read_text()
    experiment.yaml.write_text(yaml.replace("  vocab_size:", f"{AUGMENT}  vocab_size:"))
    return experiment.train("--average_checkpoints", "2")


@pytest.fixture
def searched_run(run_folder: Path, tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """A run whose search has a language model."""
    run = Path(shutil.copytree(run_folder, tmp_path / "searched"))
    yaml = (
        (run / "hyperparams.yaml").read_text().replace("test_search: !new:toolkit.decoders.ctc.CTCGreedySearcher\n", "")
    )
    (run / "hyperparams.yaml").write_text(f"lm_folder: !ref <output_folder>/lm\n{yaml}{SEARCH}")
    (run / "lm").mkdir()
    (run / "lm/hyperparams.yaml").write_text(LM_YAML)
    shutil.copy(tokenizer.model_file, run / "lm/tokenizer.model")
    lm, pieces = NgramLM(tokenizer, 3), tokenizer.pieces()
    lm.ngram = train_ngram(([pieces[token] for token in tokenizer.encode(text)] for text in ["ABC CAB", "BA C"] * 3), 3)
    torch.save(lm.state_dict(), run / "lm/model.ckpt")
    return run


def texts(folder: Path, wavs: list[Tensor] | None = None) -> list[str]:
    """What a folder's model makes of noises."""
    found = Transcriber.from_hparams(folder, device="cpu").transcribe(wavs or sounds(16000))
    assert any(one.text for one in found)  # else equal texts would show nothing
    return [one.text for one in found]


def log_probs(folder: Path, wav: Tensor) -> Tensor:
    """(T, V) of one waveform."""
    model = Transcriber.from_hparams(folder, device="cpu").model
    with torch.inference_mode():
        return model.ctc_log_probs(model.encode(wav.unsqueeze(0), torch.tensor([len(wav)]))[0])[0]


# It transcribes as the run does, alone


def test_the_folder_transcribes_as_the_run_does_without_it(searched_run: Path, tmp_path: Path) -> None:
    expected = texts(searched_run)
    out = tmp_path / "models/exported"
    assert export_run(searched_run, out, Export()).difference == 0.0
    shutil.rmtree(searched_run)
    moved = out.rename(tmp_path / "moved")
    assert texts(moved) == expected
    files = {str(file.relative_to(moved)) for file in moved.rglob("*") if file.is_file()}
    model = {"hyperparams.yaml", "model.safetensors", "tokenizer.model"}
    assert files == model | {f"lm/{name}" for name in model} | {"README.md", "provenance.json"}


def test_the_language_model_is_in_it(searched_run: Path, tmp_path: Path) -> None:
    export_run(searched_run, tmp_path / "out", Export())
    ours, theirs = (Transcriber.from_hparams(one, device="cpu").search.lm for one in (tmp_path / "out", searched_run))
    tokens = torch.tensor([[0, 1, 2, 3, 1, 2]])
    torch.testing.assert_close(ours(tokens), theirs(tokens), rtol=0, atol=0)


@pytest.mark.parametrize("place", ["lm/tokenizer.model", "tokenizer.model"])
def test_as_many_tokens_of_other_texts_are_refused(searched_run: Path, tmp_path: Path, place: str) -> None:
    """They would be other words, without a word; the language model has its own copy, and an export their digest."""
    train_tokenizer(["CCC CB B A"], tmp_path / "other.model", model_type="char")
    export_run(searched_run, tmp_path / "out", Export())
    pieces, others = (Tokenizer(file).pieces() for file in (searched_run / place, tmp_path / "other.model"))
    assert sorted(others) == sorted(pieces)
    assert others != pieces
    shutil.copy(tmp_path / "other.model", searched_run / place)
    with pytest.raises(ModelError, match=r"tokenizer\.model: other tokens than those of the language model .*/lm; use"):
        Transcriber.from_hparams(searched_run)
    for name in ("tokenizer.model", "lm/tokenizer.model"):
        shutil.copy(tmp_path / "other.model", tmp_path / "out" / name)
    with pytest.raises(ModelError, match=r"tokenizer\.model: other tokens than those that .*provenance\.json tells of"):
        Transcriber.from_hparams(tmp_path / "out")


@pytest.mark.parametrize("content", ["", "[]", '{"model": 3}'])
def test_damaged_provenance_is_named(run_folder: Path, tmp_path: Path, content: str) -> None:
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    (run / "provenance.json").write_text(content)
    with pytest.raises(ConfigError, match=r"provenance\.json: expected what `asr export` writes"):
        Transcriber.from_hparams(run)


def test_the_calibration_of_confidence_goes_along(run_folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    Calibration(0.5, 0.25).write(run)
    export_run(run, tmp_path / "out", Export())
    assert Transcriber.from_hparams(tmp_path / "out", device="cpu").calibration == Calibration(0.5, 0.25)


def test_the_yaml_has_what_inference_needs_and_no_more(trained: Path, tmp_path: Path) -> None:
    export_run(trained, tmp_path / "out", Export())
    document = HparamsDocument(tmp_path / "out/hyperparams.yaml")
    roots = {"model", "tokenizer", "test_search", "sample_rate", "output_folder"}
    assert set(document.data) == roots | {"tokenizer_file", "n_mels"}
    assert "augment" not in document.text()
    document.check_safe()


def test_weights_are_the_mean_of_as_many_checkpoints_as_asked(trained: Path, tmp_path: Path) -> None:
    best = [torch.load(one / "model.ckpt") for one in best_checkpoints(trained / "save", 2)]
    for number, name in ((1, "one"), (2, "two"), (None, "as the YAML says")):
        export_run(trained, tmp_path / name, Export(average=number))
        stored = load_file(tmp_path / name / "model.safetensors")
        assert set(stored) == set(best[0])
        for key, value in stored.items():
            expected = torch.stack([state[key].double() for state in best[: number or 2]]).mean(0)
            torch.testing.assert_close(value.double(), expected, atol=1e-7, rtol=0)
    with pytest.raises(ConfigError, match=r"--average 2: .*one has no checkpoints"):
        export_run(tmp_path / "one", tmp_path / "again", Export(average=2))


def test_loading_needs_no_training_code(run_folder: Path, tmp_path: Path) -> None:
    export_run(run_folder, tmp_path / "out", Export())
    code = (
        "import sys; from toolkit.inference.transcriber import Transcriber; Transcriber.from_hparams(sys.argv[1]);"
        "print([name for name in sys.modules if name.startswith(('toolkit.brains', 'speechbrain', 'onnx'))])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout == "[]\n"


# int8


def test_int8_is_a_quarter_and_nearly_the_same(trained: Path, tmp_path: Path) -> None:
    export_run(trained, tmp_path / "whole", Export())
    export_run(trained, tmp_path / "int8", Export(form="int8"))
    whole, small = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "int8"))
    for name, value in whole.items():
        if value.dim() < 2:
            assert torch.equal(small[name], value)
            continue
        scale = small[f"{name}.int8_scale"]
        assert small[name].dtype == torch.int8
        error = (small[name].double().flatten(1) * scale.double()[:, None] - value.double().flatten(1)).abs()
        assert bool((error <= 0.5001 * scale[:, None]).all())
    assert (log_probs(tmp_path / "int8", sounds(16000)[0]) - log_probs(trained, sounds(16000)[0])).abs().max() < 0.2


def test_int8_transcribes_the_same_alone_and_in_a_batch(run_folder: Path, tmp_path: Path) -> None:
    export_run(run_folder, tmp_path / "out", Export(form="int8"))
    wavs = sounds(16000)
    assert texts(tmp_path / "out", wavs) == [texts(tmp_path / "out", [wav])[0] for wav in wavs]


@pytest.mark.parametrize("form", ["int8", "onnx"])
def test_what_is_no_longer_as_trained_is_not_exported_again(run_folder: Path, tmp_path: Path, form: str) -> None:
    if form == "onnx":
        pytest.importorskip("onnxruntime")
    export_run(run_folder, tmp_path / "first", Export(form=form))
    with pytest.raises(ConfigError, match="first: exported as int8 or ONNX already; export the run"):
        export_run(tmp_path / "first", tmp_path / "second", Export())


def test_an_exported_folder_is_exported_again_as_int8(trained: Path, tmp_path: Path) -> None:
    export_run(trained, tmp_path / "first", Export())
    export_run(tmp_path / "first", tmp_path / "second", Export(form="int8"))
    first, second = (json.loads((tmp_path / name / "provenance.json").read_text()) for name in ("first", "second"))
    assert second["training"] == first["training"]
    assert second["training"]["commands"][0]["command"].startswith("train.py ")


# ONNX


def test_onnx_transcribes_as_the_run_does_at_any_size(run_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    assert export_run(run_folder, tmp_path / "out", Export(form="onnx")).difference < 1e-3
    assert not any(name.startswith("encoder.") for name in load_file(tmp_path / "out/model.safetensors"))
    generator = torch.Generator().manual_seed(3)
    wavs = [0.1 * torch.randn(samples, generator=generator) for samples in (401, 5000, 16000, 33333, 70001)]
    assert texts(tmp_path / "out", wavs) == texts(run_folder, wavs)
    for wav in wavs:
        torch.testing.assert_close(log_probs(tmp_path / "out", wav), log_probs(run_folder, wav), atol=1e-3, rtol=0)


def test_the_graph_alone_gives_the_ctc_output(run_folder: Path, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    export_run(run_folder, tmp_path / "out", Export(form="onnx"))
    features, frames = torch.randn(2, 90, 16), torch.tensor([90, 41])
    model = Transcriber.from_hparams(run_folder, device="cpu").model
    session = runtime.InferenceSession(str(tmp_path / "out/encoder.onnx"), providers=["CPUExecutionProvider"])
    found, left = session.run(["log_probs", "encoded_frames"], {"features": features.numpy(), "frames": frames.numpy()})
    with torch.inference_mode():
        encoded, expected_frames = model.encoder(features, frames)
        expected = model.ctc_log_probs(encoded)
    assert left.tolist() == expected_frames.tolist()
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-3, rtol=0)


def test_a_graph_that_says_something_else_is_refused(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    write = module.export_encoder

    def write_another(model: torch.nn.Module, *arguments: object) -> None:
        torch.nn.init.normal_(model.encoder.rnn.last_norm.weight)
        write(model, *arguments)
        model.load_state_dict(torch.load(run_folder / "model.ckpt"))

    monkeypatch.setattr(module, "export_encoder", write_another)
    with pytest.raises(ModelError, match=r"log-probabilities differ from the run's by up to .*expected 0\.001 at most"):
        export_run(run_folder, tmp_path / "out", Export(form="onnx"))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_graph_is_an_error(run_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    export_run(run_folder, tmp_path / "out", Export(form="onnx"))
    (tmp_path / "out/encoder.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError, match=r"encoder\.onnx: not an ONNX graph, or damaged"):
        Transcriber.from_hparams(tmp_path / "out")
    (tmp_path / "out/encoder.onnx").unlink()
    with pytest.raises(ModelError, match=r"encoder\.onnx: no such file"):
        Transcriber.from_hparams(tmp_path / "out")


def test_a_graph_outside_of_the_folder_is_refused(run_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    export_run(run_folder, tmp_path / "out", Export(form="onnx"))
    graph = tmp_path / "out/encoder.onnx"
    graph.symlink_to(graph.rename(tmp_path / "elsewhere.onnx"))
    with pytest.raises(ConfigError, match=r"encoder\.onnx: leads out of"):
        Transcriber.from_hparams(tmp_path / "out")


# Where it comes from


def test_provenance_and_card_say_what_the_run_was(trained: Path, tmp_path: Path) -> None:
    manifests = trained.parent / "manifests"
    notes = tmp_path / "notes.md"
    notes.write_text("## What it cannot do\n\nHum.\n")
    export_run(trained, tmp_path / "out", Export(license="CC0", notes=notes, command="asr export ..."))
    facts = json.loads((tmp_path / "out/provenance.json").read_text())
    training = facts["training"]
    assert training["hyperparams"] == (trained / "hyperparams.yaml").read_text()
    assert training["commands"][0]["command"].startswith("train.py ")
    assert any(one.startswith("torch==2.11") for one in training["packages"])
    entries = json.loads((manifests / "train.json").read_text()).values()
    hours = sum(entry["length"] for entry in entries) / 3600
    speakers = len({entry["speaker"] for entry in entries})
    counted = training["data"]["train_data"]
    assert counted == {"utterances": 12, "hours": pytest.approx(hours, abs=1e-3), "speakers": speakers}
    total = (trained / "wer_tones.txt").read_text().split()[1]
    assert training["tests"]["tones"]["WER"] == float(total)
    assert facts["exported"]["checkpoints averaged"] == 2
    card = (tmp_path / "out/README.md").read_text()
    for words in (
        "# out",
        "asr transcribe path/to/out recording.wav",
        total,
        "| train_data | 12 |",
        "Hum.",
        "CC0",
        "train.py",
    ):
        assert words in card


def test_word_error_rates_before_and_after_are_those_of_the_test_set(run_folder: Path, tmp_path: Path) -> None:
    wavs = sounds(16000)
    said = [text.split() for text in texts(run_folder, wavs)]
    count = sum(map(len, said))
    said[0] = ["ABBA", "ABBA", *said[0]]  # two words that were not heard
    entries = {}
    for number, (wav, words) in enumerate(zip(wavs, said, strict=True)):
        soundfile.write(tmp_path / f"{number}.wav", wav.numpy(), 16000, subtype="FLOAT")
        path, length = str(tmp_path / f"{number}.wav"), len(wav) / 16000
        entries[str(number)] = {"wav": path, "length": length, "words": " ".join(words)}
    (tmp_path / "test.json").write_text(json.dumps(entries))
    comparison = export_run(run_folder, tmp_path / "out", Export(test=tmp_path / "test.json"))
    assert comparison.utterances == len(wavs)
    assert comparison.before.wer == comparison.after.wer == round(100 * 2 / (count + 2), 2)
    facts = json.loads((tmp_path / "out/provenance.json").read_text())
    assert facts["comparison"]["after"]["wer"] == comparison.after.wer
    assert f"({len(wavs)} utterances) | {comparison.after.wer:.2f} |" in (tmp_path / "out/README.md").read_text()


def test_data_that_is_gone_is_said_to_be_unknown(run_folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    with (run / "hyperparams.yaml").open("a") as yaml:
        yaml.write("train_data:\n  manifest_filepath: gone/train.json\n")
    export_run(run, tmp_path / "out", Export())
    facts = json.loads((tmp_path / "out/provenance.json").read_text())
    assert list(facts["training"]["data"]["train_data"]) == ["unknown"]
    assert "train_data: not counted" in (tmp_path / "out/README.md").read_text()


# Whole or absent


def test_what_is_there_is_replaced_only_when_asked(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_run(run_folder, out, Export())
    (out / "of the first").touch()
    with pytest.raises(ExperimentError, match="out: exists already; name another place, or replace it with --force"):
        export_run(run_folder, out, Export())
    export_run(run_folder, out, Export(force=True))
    assert not (out / "of the first").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_no_other_folder_is_replaced(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").touch()
    with pytest.raises(ExperimentError, match="out: exists already, and is no exported folder"):
        export_run(run_folder, tmp_path / "out", Export(force=True))
    for place in (run_folder, run_folder.parent):
        with pytest.raises(ConfigError, match="is, or holds, the run"):
            export_run(run_folder, place, Export(force=True))
    assert (tmp_path / "out/thesis.txt").exists()


def test_a_failure_leaves_what_was_there(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    export_run(run_folder, out, Export())
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    monkeypatch.setattr(module, "model_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_run(run_folder, out, Export(force=True))
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_what_is_no_run_is_refused(run_folder: Path, searched_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="nothing: no such folder"):
        export_run(tmp_path / "nothing", tmp_path / "out", Export())
    with pytest.raises(ConfigError, match="declares no test_search"):
        export_run(searched_run / "lm", tmp_path / "out", Export())
    empty = Path(shutil.copytree(run_folder, tmp_path / "empty"))
    (empty / "model.ckpt").unlink()
    with pytest.raises(ExperimentError, match=r"no finished epoch in save/, no model\.safetensors"):
        export_run(empty, tmp_path / "out", Export())
    assert not (tmp_path / "out").exists()


def test_notes_and_test_sets_that_are_missing(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--notes .*gone"):
        export_run(run_folder, tmp_path / "out", Export(notes=tmp_path / "gone.md"))
    with pytest.raises(ConfigError, match=r"gone\.json: no such file"):
        export_run(run_folder, tmp_path / "out", Export(test=tmp_path / "gone.json"))
    assert list(tmp_path.iterdir()) == []


# Weights that are none


def test_damaged_weights_are_an_error(run_folder: Path, tmp_path: Path) -> None:
    export_run(run_folder, tmp_path / "out", Export())
    file = tmp_path / "out/model.safetensors"
    pickled = io.BytesIO()
    torch.save({"w": torch.ones(1)}, pickled)
    for content in (b"", file.read_bytes()[:1000], pickled.getvalue()):
        file.write_bytes(content)
        with pytest.raises(ModelError, match=r"model\.safetensors: not weights, or damaged"):
            Transcriber.from_hparams(tmp_path / "out")
