"""Folders of AM_MODELS, LM_MODELS and ASR_INFERENCE: the answers of `HuggingFaceCTC` with the same options."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from test_huggingface import ARPA, TOKENS, save_model, waves

from toolkit.cli.main import main
from toolkit.decoders.ctc import CTCGreedySearcher
from toolkit.errors import ConfigError, ModelError, ToolkitError
from toolkit.inference.interfaces import HuggingFaceCTC
from toolkit.inference.long_audio import LongAudio
from toolkit.inference.model_facts import facts_of, without_folders
from toolkit.inference.transcriber import Transcriber

transformers = pytest.importorskip("transformers")

ROOT = Path(__file__).parents[2]
AM, LM = "FinetunedCheckpoint-tiny-w2v-970861b8", "KenLMForPyCTCDecodeFromArpa-tiny-lm-72c2589e"
INFERENCE = "ASR_INFERENCE/HfAsrPipelineFromLogitsInferencerDecoder-hfpipeline-tiny-825b5066/dataclass.json"
CHECKPOINT = ("logits_inferencer", "checkpoint")
FACTS = {
    "logits_inferencer": {
        "checkpoint": {
            "name": "tiny-w2v",
            "model_name_or_path": "/behind/the/moon/output_dir",
            "finetune_master": {
                "_python_dataclass_": "os.system",
                "model_to_finetune": {"model_name_or_path": "owner/wav2vec2-base"},
                "dataproducer_client": {
                    "task": {
                        "tdp": {
                            "stats": {"audio_lens_stats": {"0": {"count": 900.0, "mean": 8.0}}},
                            "corpora": {
                                "data": [
                                    {"proportion": 12.5, "data": {"corpus": {"name": "digits"}}, "factor": 0.5},
                                    {"data": {"raw_data": {"targz_file": "/some/where/cv-es.tar.gz"}}, "factor": 1.0},
                                ]
                            },
                        }
                    }
                },
            },
        },
        "input_sample_rate": 16000,
        "do_normalize": True,
    },
    "decoder": {
        "tokenizer_name_or_path": {
            "prefix_key": "am_models",
            "suffix": f"{AM}/model",
            "prefix": {"prefix_key": "cache_root", "suffix": "AM_MODELS", "prefix": "/some-where/cache"},
        },
        "lm_weight": 0.9,
        "beta": 0.4,
        "lm_data": {
            "transcript_normalizer": {"casing": {"value": "1"}, "text_normalizer": "no_punct", "vocab": TOKENS},
            "name": "tiny-lm",
            "arpa_file": "/some-where/kenLM.arpa",
        },
        "num_best": 2,
        "beam_size": 20,
    },
    "chunk_length_s": 6.0,
    "stride_length_s": None,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service's folder, with weights of the older format."""
    folder = tmp_path_factory.mktemp("service")
    model = save_model(folder / "AM_MODELS" / AM / "model")
    torch.save(transformers.AutoModelForCTC.from_pretrained(model).state_dict(), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    language = folder / "LM_MODELS" / LM
    language.mkdir(parents=True)
    (language / "lm.arpa.gz").write_bytes(gzip.compress(ARPA.encode()))
    (language / "unigrams.txt.gz").write_bytes(gzip.compress(b"TO\nA\nAT\n"))
    (folder / INFERENCE).parent.mkdir(parents=True)
    (folder / INFERENCE).write_text(json.dumps(FACTS))
    return folder


@pytest.fixture
def service(made: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "service"))


def change(folder: Path, value: Any, *place: str) -> None:
    """Set the value at a place of the description."""
    facts = json.loads((folder / INFERENCE).read_text())
    at = facts
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    (folder / INFERENCE).write_text(json.dumps(facts))


def by_hand(folder: Path, **options: Any) -> Transcriber:
    """The model with the options that `FACTS` says."""
    language = {"language_model": folder / "LM_MODELS" / LM, "alpha": 0.9, "beta": 0.4, "beam_size": 20, "topk": 2}
    return HuggingFaceCTC.from_hparams(
        folder / "AM_MODELS" / AM / "model", overrides=language | {"chunk_length_s": 6.0} | options, device="cpu"
    )


@pytest.mark.parametrize("kind", [Transcriber, HuggingFaceCTC])
def test_answers_are_those_of_the_options_given_by_hand(made: Path, kind: type[Transcriber]):
    short_and_long = waves(24000, 16000 * 15)
    found = kind.from_hparams(made, device="cpu").transcribe(short_and_long)
    assert found == by_hand(made).transcribe(short_and_long)
    assert len(found[0].nbest) == 2
    assert found != by_hand(made, alpha=0.1).transcribe(short_and_long)


def test_every_number_of_the_description_is_used(made: Path):
    ours = Transcriber.from_hparams(made, device="cpu")
    fusion = ours.search.fusion
    assert (fusion.alpha, fusion.beta, ours.search.beam_size, ours.search.topk) == (0.9, 0.4, 20, 2)
    assert sorted(fusion.unigrams) == ["A", "AT", "TO"]
    assert ours.long_audio == LongAudio(whole_s=6.0, window_s=6.0, overlap_s=2.0, segment_s=6.0)


@pytest.mark.parametrize(("stride", "overlap"), [(1.5, 3.0), ([2.0, 1.0], 3.0), (0, 0.0)])
def test_strides_are_on_both_sides_of_a_chunk(service: Path, stride: Any, overlap: float):
    change(service, stride, "stride_length_s")
    assert Transcriber.from_hparams(service, device="cpu").long_audio.overlap_s == overlap


def test_overrides_go_before_the_description(made: Path):
    greedy = Transcriber.from_hparams(made, overrides={"language_model": None}, device="cpu")
    assert isinstance(greedy.search, CTCGreedySearcher)
    assert Transcriber.from_hparams(made, overrides={"alpha": 0.2}, device="cpu").search.fusion.alpha == 0.2


def test_a_description_without_language_model_is_searched_greedily(service: Path):
    change(service, None, "decoder", "lm_data")
    shutil.rmtree(service / "LM_MODELS")
    assert isinstance(Transcriber.from_hparams(service, device="cpu").search, CTCGreedySearcher)


def test_texts_are_put_into_the_case_of_the_letters(made: Path):
    (wav,) = waves(32000)
    shouted, spoken = (
        Transcriber.from_hparams(made, overrides={"hotwords": [word], "hotword_weight": 40.0}, device="cpu")
        for word in ("QC", "Qc")
    )
    assert spoken.transcribe(wav).text != Transcriber.from_hparams(made, device="cpu").transcribe(wav).text
    assert spoken.transcribe(wav) == shouted.transcribe(wav)
    assert spoken.align(wav, "Qc a").words[1].start == shouted.align(wav, "QC A").words[1].start


def test_of_several_models_those_that_are_named_are_used(service: Path):
    expected = Transcriber.from_hparams(service, device="cpu").transcribe(waves(24000))
    for kind, name in (("AM_MODELS", "FinetunedCheckpoint-other-w2v-00ff"), ("LM_MODELS", "KenLM-tiny-lm-old-00ff")):
        (service / kind / name).mkdir()
    assert Transcriber.from_hparams(service, device="cpu").transcribe(waves(24000)) == expected


def test_the_command_line_transcribes_and_resumes(service: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    soundfile.write(tmp_path / "noise.wav", waves(16000)[0].numpy(), 16000)
    arguments = [
        "transcribe",
        str(service),
        str(tmp_path / "noise.wav"),
        "--output",
        str(tmp_path / "out.jsonl"),
        "--device",
        "cpu",
    ]
    assert main(arguments) == 0
    assert "text" in json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    os.utime(service / "LM_MODELS" / LM / "lm.arpa.gz", (2e9, 2e9))
    capsys.readouterr()
    assert main([*arguments, "--resume"]) == 2
    assert "go on with the first" in capsys.readouterr().err


def test_facts_are_told_without_loading_anything(made: Path, service: Path):
    assert facts_of(made) == {
        "model": "tiny-w2v",
        "fine-tuned from": "owner/wav2vec2-base",
        "language model": "tiny-lm",
        "data": {"digits": {"hours": 25.0, "factor": 0.5}, "cv-es.tar.gz": {}},
        "utterances heard": 900,
        "hours heard": 2,
        "search": {"alpha": 0.9, "beta": 0.4, "beam_size": 20, "topk": 2, "chunk_length_s": 6.0},
    }
    change(service, {"name": [], "finetune_master": {"dataproducer_client": {"task": {"tdp": 1}}}}, *CHECKPOINT)
    assert facts_of(service) == {key: facts_of(made)[key] for key in ("language model", "search")}
    assert facts_of(ROOT / "pretrained/an4-small")["model"]["class"] == "TransducerModel"
    assert facts_of(ROOT) is None


def test_facts_need_no_torch():
    code = "import sys, toolkit.inference.model_facts; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def rename(folder: Path, kind: str, to: str) -> None:
    """Let the one model of a kind be called otherwise."""
    next((folder / kind).iterdir()).rename(folder / kind / to)


BAD: dict[str, tuple[Callable[[Path], Any], type[ToolkitError], str]] = {
    "no description": (lambda folder: (folder / INFERENCE).unlink(), ConfigError, "one folder with a dataclass.json"),
    "two descriptions": (
        lambda folder: shutil.copytree((folder / INFERENCE).parent, folder / "ASR_INFERENCE/other"),
        *(ConfigError, "found HfAsr.*, other; a folder is served in one way"),
    ),
    "damaged": (lambda folder: (folder / INFERENCE).write_text("{"), ConfigError, "dataclass.json: no description"),
    "deep": (lambda folder: (folder / INFERENCE).write_text("[" * 99999), ConfigError, "dataclass.json: no descr"),
    "no decoder": (lambda folder: (folder / INFERENCE).write_text("{}"), ConfigError, "an object with a decoder"),
    "no model": (lambda folder: shutil.rmtree(folder / "AM_MODELS"), ModelError, "in .*AM_MODELS, found none"),
    "other model": (
        lambda folder: rename(folder, "AM_MODELS", "FinetunedCheckpoint-other-00ff"),
        *(ModelError, "names 'FinetunedCheckpoint-tiny.* and 'tiny-w2v'; .*found FinetunedCheckpoint-other-00ff"),
    ),
    "tokenizer of another model": (
        lambda folder: change(folder, "other-w2v", *CHECKPOINT, "name"),
        *(ModelError, "names .* and 'other-w2v'"),
    ),
    "no language model": (lambda folder: shutil.rmtree(folder / "LM_MODELS"), ModelError, "names 'tiny-lm'; .*none"),
    "no n-gram": (
        lambda folder: (folder / "LM_MODELS" / LM / "lm.arpa.gz").unlink(),
        *(ModelError, "expected one n-gram"),
    ),
    "letters": (
        lambda folder: change(folder, [*TOKENS, "ß"], "decoder", "lm_data", "transcript_normalizer", "vocab"),
        *(ModelError, "vocabulary of the language model's texts has 'ß'"),
    ),
    "rate": (
        lambda folder: change(folder, 8000, "logits_inferencer", "input_sample_rate"),
        *(ModelError, r"input_sample_rate is 8000, but .*model says 16000"),
    ),
    "normalised": (
        lambda folder: change(folder, False, "logits_inferencer", "do_normalize"),
        *(ModelError, r"do_normalize is false, but .*model says true"),
    ),
    "weight": (
        lambda folder: change(folder, "much", "decoder", "lm_weight"),
        *(ConfigError, r"decoder\.lm_weight: expected a number, 0 to 100, found 'much'"),
    ),
    "beam": (
        lambda folder: change(folder, 2.5, "decoder", "beam_size"),
        *(ConfigError, r"decoder\.beam_size: expected a whole number, 1 to 10000, found 2\.5"),
    ),
    "chunk": (lambda folder: change(folder, float("nan"), "chunk_length_s"), ConfigError, "chunk_length_s: .* nan"),
    "sides": (lambda folder: change(folder, [None, 1], "stride_length_s"), ConfigError, "stride_length_s: expected"),
    "stride": (lambda folder: change(folder, 5.0, "stride_length_s"), ConfigError, "stride_length_s must be between"),
    "out by its path": (
        lambda folder: change(folder, "../../elsewhere/model", "decoder", "tokenizer_name_or_path"),
        *(ModelError, "names '../../elsewhere/model'"),
    ),
    "out by its name": (lambda folder: change(folder, "..", "decoder", "lm_data", "name"), ModelError, "names '..'"),
    "a pattern": (lambda folder: change(folder, ".*", "decoder", "lm_data", "name"), ModelError, "names '.*'"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_a_bad_folder_is_said_to_be_bad(service: Path, case: str):
    damage, error, message = BAD[case]
    damage(service)
    with pytest.raises(error, match=message):
        Transcriber.from_hparams(service, device="cpu")


@pytest.mark.parametrize(
    "place", ["ASR_INFERENCE", "AM_MODELS", f"AM_MODELS/{AM}/model", f"LM_MODELS/{LM}/lm.arpa.gz", INFERENCE]
)
def test_a_link_out_of_the_folder_is_refused(service: Path, tmp_path: Path, place: str):
    shutil.move(service / place, tmp_path / "outside")
    (service / place).symlink_to(tmp_path / "outside")
    with pytest.raises(ConfigError, match="leads out of"):
        Transcriber.from_hparams(service, device="cpu")
    assert Transcriber.from_hparams(service, trust_source_code=True, device="cpu").sample_rate == 16000


def test_a_folder_that_lies_in_itself_has_an_end(service: Path):
    shutil.rmtree(service / "AM_MODELS" / AM / "model")
    (service / "AM_MODELS" / AM / "model").symlink_to(service)
    with pytest.raises(ToolkitError, match=r"config\.json"):
        Transcriber.from_hparams(service, device="cpu")


@pytest.mark.parametrize(
    ("fact", "shown"),
    [
        ("lm_folder: /home/me/runs/lm  # of ../data/text.txt", "lm_folder: lm  # of text.txt"),
        ("~/an4/test.json: no such file", "test.json: no such file"),
        ("https://example.org/a/b: WER/CER 3 / 4", "https://example.org/a/b: WER/CER 3 / 4"),
        ("!ref <output_folder>/tokenizer.model", "!ref <output_folder>/tokenizer.model"),
        ({"command": "train.py hparams/ctc.yaml --data=/data/an4"}, {"command": "train.py ctc.yaml --data=an4"}),
        (
            {"all": [{"sha256": {"lm/model": "ab"}, "wer": 4.5}, None]},
            {"all": [{"sha256": {"lm/model": "ab"}, "wer": 4.5}, None]},
        ),
    ],
)
def test_facts_for_others_name_files_and_no_folders(fact: object, shown: object):
    assert without_folders(fact) == shown
