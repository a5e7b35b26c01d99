"""Folders that would like to do something else than recognise speech. MARKER is a file that an attack would make."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import os
import pickle
import pkgutil
import re
import shutil
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from published_models import SIZES, Published, make_folder, noises

import toolkit.decoders
import toolkit.models
from toolkit.checkpoints import read_plain
from toolkit.errors import ConfigError, ModelError, TokenizerError
from toolkit.hparams import HparamsDocument
from toolkit.inference.published import load_published
from toolkit.inference.sources import Origin
from toolkit.inference.transcriber import Transcriber
from toolkit.pretrained import open_document
from toolkit.safety import FILES

pytestmark = pytest.mark.filterwarnings("ignore:dropout option adds dropout")

NAME = "crdnn_rnnlm"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return make_folder(tmp_path_factory.mktemp("published") / "model", NAME, SIZES[NAME])


@pytest.fixture
def folder(published: Published, tmp_path: Path) -> Path:
    """A model folder to put an attack into."""
    return Path(shutil.copytree(published.path, tmp_path / "model"))


def load(folder: Path, **options: bool) -> Transcriber:
    return Transcriber.from_hparams(folder, overrides=SIZES[NAME], device="cpu", **options)


def spoil(folder: Path, before: str, after: str) -> int:
    """Change the YAML in one place; the line of the change."""
    yaml = folder / "hyperparams.yaml"
    text = yaml.read_text()
    assert text.count(before) == 1
    yaml.write_text(text.replace(before, after))
    return text[: text.index(before)].count("\n") + 1


TAGS = {
    "function": "!apply:os.system [touch MARKER]",
    "class": "!new:subprocess.Popen [[touch, MARKER]]",
    "function by name": "!name:os.system [touch MARKER]",
    "function that another class would call": "!name:os.abort",
    "module": "!module:os",
    "function through an allowed package": "!apply:torch.nn.modules.module.torch.hub.load [x, y]",
    "class through an allowed package": "!new:speechbrain.nnet.containers.functools.partial [!name:os.getcwd ]",
    "method through an allowed class": "!apply:torch.nn.Module.load_state_dict [x]",
    "python object": "!!python/object/apply:os.system [touch MARKER]",
    "in a tuple": "(!!python/object/apply:os.system [touch MARKER])",
    "another file": "!include:/etc/hostname",
    "function while references are resolved": "!applyref:os.system [touch MARKER]",
    "download": "!apply:speechbrain.utils.fetching.fetch [x, y]",
    "interface of SpeechBrain, which builds any YAML": (
        "!apply:speechbrain.inference.ASR.EncoderDecoderASR.from_hparams {source: x}"
    ),
    "interface by its old name": "!new:speechbrain.pretrained.EncoderDecoderASR",
    "code from the hub": (
        "!new:speechbrain.integrations.huggingface.wav2vec2.Wav2Vec2 {source: x, save_path: y, trust_remote_code: true}"
    ),
    "code from the hub, merged in": (
        "!new:speechbrain.lobes.models.huggingface_wav2vec.HuggingFaceWav2Vec2 {<<: {trust_remote_code: true}}"
    ),
    "model that reads pickles": "!new:speechbrain.lobes.models.beats.BEATs {ckp_path: MARKER}",
    "model that downloads": "!new:speechbrain.lobes.models.fairseq_wav2vec.FairseqWav2Vec2 [http://x, MARKER]",
    "attribute of any name": "!apply:getattr [!new:torch.nn.ReLU {}, forward]",
    "attribute by its name as an argument": "!new:torch.nn.cpp.OrderedDictWrapper [x, __globals__]",
    "call of anything": "!new:torch.nn.DataParallel [x]",
    "private class": "!new:toolkit.models.conformer_stream._FrontEndStream [x]",
    "class that calls a class with any arguments": (
        "!new:speechbrain.nnet.adapters.AdaptedModel {adapter_class: !name:speechbrain.decoders.ctc.CTCBeamSearcher }"
    ),
    "function that calls a class with any arguments": (
        "!new:torchaudio.transforms.MFCC {melkwargs: {window_fn: !name:torch.nn.ReLU , wkwargs: {kenlm_model_path: x}}}"
    ),
    "reader of files by name": "!name:toolkit.tokenizer.Tokenizer",
    "language model in C as a scorer": (
        "!new:speechbrain.decoders.scorer.KenLMScorer {lm_path: MARKER, vocab_size: 1, token_list: [a]}"
    ),
    "language model in C by name": "!name:speechbrain.decoders.ctc.CTCBeamSearcher {kenlm_model_path: MARKER}",
    "language model of the hub": "!new:speechbrain.decoders.scorer.HuggingFaceLMRescorer {model_name: x}",
    "language model in C": "!new:speechbrain.decoders.ctc.CTCBeamSearcher {blank_index: 0, vocab_list: [a]}",
    "checkpoints of any folder": "!new:speechbrain.utils.checkpoints.Checkpointer {checkpoints_dir: MARKER}",
    "any file as a tokenizer": "!new:sentencepiece.SentencePieceProcessor {model_file: /etc/hostname}",
    "any file as a tokenizer, by place": "!new:sentencepiece.SentencePieceProcessor [/etc/hostname]",
    "private attribute": "!ref <sample_rate.__class__>",
    "arithmetic without end": "!ref 9 ** 9 ** 9 ** 9",
}


@pytest.mark.parametrize("attack", TAGS)
def test_tag_is_refused_with_its_line(folder: Path, tmp_path: Path, attack: str) -> None:
    marker = tmp_path / "marker"
    value = TAGS[attack].replace("MARKER", str(marker))
    line = spoil(folder, "blank_index: 0\n", f"blank_index: 0\nextra: {value}\n") + 1
    with pytest.raises(
        ConfigError, match=rf"hyperparams\.yaml, line {line}: the tag `.*is not one that a model may use"
    ):
        load(folder)
    assert not marker.exists()


# Each tag of it alone was once thought safe: a method, its globals, os in them, and a layer that calls os.system.
CHAIN = """\
x_method: !apply:getattr [!new:torch.nn.ReLU {}, forward]
x_wrap: !new:torch.nn.cpp.OrderedDictWrapper [!ref <x_method>, __globals__]
x_space: !new:torch.nn.ParameterDict [!ref <x_wrap.cpp_dict>]
x_torch: !ref <x_space.torch>
x_os: !ref <x_torch.os>
x_first: !new:torch.nn.DataParallel [!apply:getattr ["touch MARKER", format]]
x_second: !new:torch.nn.DataParallel [!ref <x_os.system>]
x_run: !new:speechbrain.nnet.containers.Sequential
    input_shape: [null, null, 3]
    a: !ref <x_first>
    b: !ref <x_second>
    c: !name:speechbrain.nnet.linear.Linear
        n_neurons: 3
"""
CHAIN_ENDS = {
    "published": "modules: {a: 1}\npretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer {loadables: {}}\n",
    "run": "model: !ref <x_run>\ntokenizer: 1\ntest_search: 1\nsample_rate: 16000\noutput_folder: x\n",
}


@pytest.mark.parametrize("kind", CHAIN_ENDS)
def test_chain_of_attributes_that_ends_in_a_program_is_refused(tmp_path: Path, kind: str) -> None:
    marker = tmp_path / "marker"
    (tmp_path / "hyperparams.yaml").write_text(CHAIN.replace("MARKER", str(marker)) + CHAIN_ENDS[kind])
    with pytest.raises(ConfigError, match="is not one that a model may use"):
        Transcriber.from_hparams(tmp_path, device="cpu")
    assert not marker.exists()


def test_trusted_folder_may_name_anything(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    spoil(folder, "blank_index: 0\n", f"blank_index: 0\nextra: !apply:os.system [touch {marker}]\n")
    load(folder, trust_source_code=True)
    assert marker.exists()


def test_module_beside_the_yaml_is_imported_only_when_trusted(folder: Path) -> None:
    (folder / "mine.py").write_text("class Thing:\n    pass\n")
    line = spoil(folder, "blank_index: 0\n", "blank_index: 0\nthing: !new:mine.Thing\n") + 1
    with pytest.raises(ConfigError, match=f"line {line}: the tag `!new:mine.Thing`"):
        load(folder)
    load(folder, trust_source_code=True)


def test_modules_of_trusted_folders_are_their_own(folder: Path, tmp_path: Path) -> None:
    spoil(folder, "blank_index: 0\n", "blank_index: 0\nthing: !new:mine.Thing\n")
    for name in ("one", "two"):
        copied = Path(shutil.copytree(folder, tmp_path / name))
        (copied / "mine.py").write_text(f"class Thing:\n    name = {name!r}\n")
        document = open_document(copied)
        document.override(SIZES[NAME])
        assert load_published(document, Origin(copied, trusted=True))["thing"].name == name
    assert "mine" not in sys.modules


def test_run_may_have_modules_of_its_own_when_trusted(run_folder: Path, tmp_path: Path) -> None:
    run = shutil.copytree(run_folder, tmp_path / "run")
    (run / "ours.py").write_text(
        "from toolkit.models.recogniser import CTCModel\n\n\nclass Mine(CTCModel):\n    pass\n"
    )
    yaml = run / "hyperparams.yaml"
    yaml.write_text(yaml.read_text().replace("!new:toolkit.models.recogniser.CTCModel", "!new:ours.Mine"))
    with pytest.raises(ConfigError, match=r"!new:ours\.Mine"):
        Transcriber.from_hparams(run, device="cpu")
    loaded = Transcriber.from_hparams(run, device="cpu", trust_source_code=True)
    assert type(loaded.model).__name__ == "Mine"


def test_own_repository_is_read_at_the_revision_that_was_asked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    parts = Path(shutil.copytree(folder, tmp_path / "parts"))
    (folder / "lm.ckpt").unlink()
    (folder / "tokenizer.ckpt").unlink()
    spoil(
        folder,
        "        tokenizer: !ref <tokenizer>\n",
        "        tokenizer: !ref <tokenizer>\n"
        "    paths: {lm: me/model/lm.ckpt, tokenizer: them/pieces/tokenizer.ckpt}\n",
    )
    asked: list[tuple[str, str | None]] = []

    def download(name: str, *, revision: str | None, **_: Any) -> str:
        asked.append((name, revision))
        return str(folder if len(asked) < 3 else parts)  # twice, as there are no safetensors

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    Transcriber.from_hparams("me/model", revision="v1", overrides=SIZES[NAME], device="cpu")
    assert set(asked[2:]) == {("me/model", "v1"), ("them/pieces", None)}
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [("them/pieces" in text, "me/model" in text) for text in warned if "of the hub" in text] == [(True, False)]


# Paths


@pytest.mark.parametrize(
    "path", ["../outside/lm.ckpt", "OUTSIDE/lm.ckpt", "model/../../outside/lm.ckpt", "link/lm.ckpt"]
)
def test_path_out_of_the_folder_is_refused(folder: Path, path: str) -> None:
    outside = folder.parent / "outside"
    outside.mkdir()
    shutil.move(folder / "lm.ckpt", outside / "lm.ckpt")
    if path.startswith("link/"):
        (folder / "link").symlink_to(outside)
    (folder / "model").mkdir()
    paths = f"    paths: {{lm: {path.replace('OUTSIDE', str(outside))}}}\n"
    spoil(folder, "        tokenizer: !ref <tokenizer>\n", f"        tokenizer: !ref <tokenizer>\n{paths}")
    with pytest.raises(ConfigError, match=r"(lm\.ckpt|link): leads out of .*trust_source_code=True"):
        load(folder)
    assert load(folder, trust_source_code=True).transcribe(noises(1))


@pytest.mark.parametrize("path", ["../../secret/lm.ckpt", "work/secret/lm.ckpt"])
def test_path_that_is_no_hub_name_is_not_looked_up_where_one_works(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    for place in ("a/b", "work/secret"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    for secret in ("secret", "work/secret"):
        shutil.copy(folder / "lm.ckpt", tmp_path / secret / "lm.ckpt")
    (folder / "lm.ckpt").unlink()
    spoil(
        folder,
        "        tokenizer: !ref <tokenizer>\n",
        f"        tokenizer: !ref <tokenizer>\n    paths: {{lm: {path}}}\n",
    )
    monkeypatch.chdir(tmp_path / "a/b" if path.startswith("..") else tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises((ConfigError, ModelError), match=r"leads out of|the hub's cache has no"):
        load(folder)


ARGUMENTS = {
    "tokenizer": "!new:toolkit.tokenizer.Tokenizer {model_file: OUTSIDE/tokenizer.ckpt}",
    "tokenizer, by place": "!new:toolkit.tokenizer.Tokenizer [OUTSIDE/tokenizer.ckpt]",
    "tokenizer, merged in": "!new:toolkit.tokenizer.Tokenizer {<<: {model_file: OUTSIDE/tokenizer.ckpt}}",
    "tokenizer, merged by a tag": "!new:toolkit.tokenizer.Tokenizer {!!merge x: {model_file: OUTSIDE/tokenizer.ckpt}}",
    "tokenizer, put together": "!new:toolkit.tokenizer.Tokenizer {model_file: !ref OUTSIDE/<name>.ckpt}",
    "language model": "!apply:toolkit.pretrained.load_language_model [OUTSIDE]",
    "word n-gram": "!new:toolkit.decoders.ctc_fusion.CTCFusion {tokenizer: [a, b], word_ngram: OUTSIDE/lm.arpa}",
    "n-gram": "!new:toolkit.models.arpa_reader.ArpaReader [OUTSIDE/lm.arpa]",
    "graph": "!new:toolkit.models.onnx.OnnxEncoder {file: OUTSIDE/model.onnx}",
    "noises": "!new:speechbrain.augment.time_domain.AddNoise {csv_file: OUTSIDE/noise.csv}",
    "encoder": "!new:speechbrain.lobes.models.huggingface_wav2vec.HuggingFaceWav2Vec2 {source: OUTSIDE, save_path: x}",
    "encoder, by place": "!new:speechbrain.integrations.huggingface.wav2vec2.Wav2Vec2 [OUTSIDE, x]",
}


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_argument_that_leads_out_of_the_folder_is_refused(folder: Path, tmp_path: Path, argument: str) -> None:
    outside = Path(shutil.copytree(folder, tmp_path / "outside"))
    shutil.copy(Path(__file__).parents[1] / "models/kenlm/sample.arpa", outside / "lm.arpa")
    value = ARGUMENTS[argument].replace("OUTSIDE", str(outside))
    spoil(folder, "blank_index: 0\n", f"blank_index: 0\nname: tokenizer\nextra: {value}\n")
    with pytest.raises(ConfigError, match=r"outside.*: leads out of"):
        load(folder)
    assert not (outside / "lm.arpa.npz").exists()


@pytest.mark.parametrize("form", ["OPTIONS", "!new:torch.nn.ParameterDict {parameters: OPTIONS}"])
def test_language_model_of_a_search_is_in_the_folder(folder: Path, form: str) -> None:
    arpa = Path(__file__).parents[1] / "models/kenlm/sample.arpa"
    options = form.replace("OPTIONS", f"{{blank_index: 0, kenlm_model_path: {arpa}}}")
    spoil(folder, "blank_index: 0\n", f"blank_index: 0\ntest_beam_search: {options}\n")
    with pytest.raises(ConfigError, match=r"leads out of|test_beam_search: expected options by name"):
        load(folder)


def test_folders_of_the_hubs_cache_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of its snapshots are links to blobs beside them, also in the folder of the language model."""
    repository = tmp_path / "hub/models--me--small"
    snapshot = repository / "snapshots/0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(Path(toolkit.__file__).parents[1] / "pretrained/an4-small", snapshot)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(snapshot.name)
    (repository / "blobs").mkdir()
    for number, file in enumerate([path for path in snapshot.rglob("*") if path.is_file()]):
        shutil.move(file, repository / "blobs" / str(number))
        file.symlink_to(repository / "blobs" / str(number))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert Transcriber.from_hparams("me/small", device="cpu")


def test_tokenizer_of_a_run_is_its_own_or_the_users(run_folder: Path, tmp_path: Path) -> None:
    run = shutil.copytree(run_folder, tmp_path / "run")
    outside = tmp_path / "tokenizer.model"
    shutil.move(run / "tokenizer.model", outside)
    yaml = run / "hyperparams.yaml"
    yaml.write_text(yaml.read_text().replace("!ref <output_folder>/tokenizer.model", str(outside)))
    with pytest.raises(ConfigError, match=r"model_file: .*tokenizer\.model: leads out of"):
        Transcriber.from_hparams(run, device="cpu")
    assert Transcriber.from_hparams(run, overrides={"tokenizer_file": str(outside)}, device="cpu")


def test_no_other_argument_of_our_classes_names_a_file() -> None:
    """A guard for `FILES`, which is a list of names."""
    for package in (toolkit.models, toolkit.decoders):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for name, found in vars(importlib.import_module(module.name)).items():
                if inspect.isclass(found) and found.__module__ == module.name and not name.startswith("_"):
                    names = set(inspect.signature(found).parameters)
                    assert not {n for n in names if re.search("file|folder|path|source", n)} - FILES, found


@pytest.mark.parametrize("name", ["hyperparams.yaml", "asr.ckpt", "tokenizer.ckpt", "anything.json"])
def test_link_out_of_the_folder_is_refused(folder: Path, name: str) -> None:
    (folder / "anything.json").touch()
    shutil.move(folder / name, folder.parent / name)
    (folder / name).symlink_to(folder.parent / name)
    with pytest.raises(ConfigError, match=rf"{name}: leads out of"):
        load(folder)
    load(folder, trust_source_code=True)


def test_link_in_a_run_folder_is_refused(run_folder: Path, tmp_path: Path) -> None:
    run = shutil.copytree(run_folder, tmp_path / "run")
    shutil.move(run / "model.ckpt", tmp_path / "model.ckpt")
    (run / "model.ckpt").symlink_to(tmp_path / "model.ckpt")
    with pytest.raises(ConfigError, match=r"model\.ckpt: leads out of"):
        Transcriber.from_hparams(run)


# Documents that grow


def laughs(kind: str) -> str:
    """A billion of one value, by aliases of lists or of mappings, or by references of text or of lists."""
    levels = range(1, 31)
    if kind == "aliases":
        return "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in levels)
    if kind == "merged aliases":
        return "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{p: *a{n - 1}, q: *a{n - 1}}}\n" for n in levels)
    if kind == "text":
        return "a0: xx\n" + "".join(f"a{n}: !ref <a{n - 1}><a{n - 1}>\n" for n in levels)
    return "a0: [x, x]\n" + "".join(f"a{n}: [!{kind} <a{n - 1}>, !{kind} <a{n - 1}>]\n" for n in levels)


@pytest.mark.parametrize("kind", ["aliases", "merged aliases", "text", "ref", "copy"])
def test_billion_laughs_are_refused_at_once(folder: Path, kind: str) -> None:
    spoil(folder, "blank_index: 0\n", f"blank_index: 0\n{laughs(kind)}")
    start = time.process_time()
    with pytest.raises(ConfigError, match=r"hyperparams\.yaml, line \d+: contains itself, or is larger than"):
        load(folder)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("chain", [True, False])
def test_many_references_are_refused_at_once(folder: Path, chain: bool) -> None:
    lines = "".join(f"k{n}: !ref <k{n + 1 if chain else 4000}>\n" for n in range(4000))
    spoil(folder, "blank_index: 0\n", f"blank_index: 0\n{lines}k4000: 1\n")
    start = time.process_time()
    with pytest.raises(ConfigError, match=r"hyperparams\.yaml: 4\d\d\d references, expected at most 1000"):
        load(folder)
    assert time.process_time() - start < 10


def test_language_model_of_itself_is_refused_at_once(run_folder: Path, tmp_path: Path) -> None:
    run = shutil.copytree(run_folder, tmp_path / "run")
    yaml = run / "hyperparams.yaml"
    text = yaml.read_text()
    part = "model: !new:toolkit.models.recogniser.CTCModel\n"
    assert part in text
    own = "own: !apply:toolkit.pretrained.load_language_model [!ref <output_folder>]\n"
    yaml.write_text(text.replace(part, f"{own}{part}  lm: !ref <own>\n"))
    start = time.process_time()
    with pytest.raises(ConfigError, match="a language model cannot be made of another"):
        Transcriber.from_hparams(run, device="cpu")
    assert time.process_time() - start < 5


@pytest.mark.parametrize("value", ["&self [*self]", "&self {a: *self}"])
def test_what_contains_itself_is_refused(tmp_path: Path, value: str) -> None:
    (tmp_path / "hyperparams.yaml").write_text(f"a: 1\nb: {value}\n")
    with pytest.raises(ConfigError, match="line 2: contains itself"):
        HparamsDocument(tmp_path / "hyperparams.yaml")


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hyperparams.yaml").write_text("a: " + "[" * 20000)
    with pytest.raises(ConfigError, match="nested too deeply"):
        HparamsDocument(tmp_path / "hyperparams.yaml")


def test_large_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "hyperparams.yaml").write_text("a: 1\n" + "#" * 2_000_000)
    with pytest.raises(ConfigError, match="2000005 bytes, expected at most 2000000"):
        HparamsDocument(tmp_path / "hyperparams.yaml")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("    encoder: !ref <encoder>\n", "    encoder: 5\n", "modules.encoder: expected a torch.nn.Module, got 5"),
        ("modules:\n", "parts:\n", "declares no `modules`"),
        (
            "pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer\n",
            "pretrainer:\n",
            "expected a Pretrainer",
        ),
        ("        asr: !ref <asr_model>\n", "        asr: !ref <beam_size>\n", "how to load it into a int"),
    ],
)
def test_what_is_of_the_wrong_kind_is_named(folder: Path, before: str, after: str, message: str) -> None:
    spoil(folder, before, after)
    with pytest.raises(ConfigError, match=message):
        load(folder)


def test_text_that_only_looks_like_a_reference_to_itself_is_text(tmp_path: Path) -> None:
    (tmp_path / "hyperparams.yaml").write_text("bos: <bos>\nother: !ref <sizes[small]>\nsizes: {small: 1, large: 2}\n")
    document = HparamsDocument(tmp_path / "hyperparams.yaml")
    document.check_safe()
    assert document.build() == {"bos": "<bos>", "other": 1, "sizes": {"small": 1, "large": 2}}


# Checkpoints


class Touch:
    """Pickles as a call of ``os.mkdir``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["asr", "lm", "normalizer", "tokenizer"])
def test_code_in_a_checkpoint_is_not_run(folder: Path, tmp_path: Path, name: str) -> None:
    marker = tmp_path / "marker"
    torch.save({"count": Touch(marker)}, folder / f"{name}.ckpt")
    with pytest.raises((ModelError, TokenizerError), match=rf"{name}\.ckpt"):
        load(folder)
    assert not marker.exists()


def zip_bomb(weights: bytes) -> bytes:
    """The archive of a checkpoint, with a gigabyte of zeros that are deflated to a megabyte."""
    stream = io.BytesIO(weights)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("archive/data/bomb", "w") as bomb:
        for _ in range(64):
            bomb.write(bytes(2**24))
    return stream.getvalue()


def tar(weights: bytes) -> bytes:
    """A checkpoint in the format of torch 0.1."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("sys_info", "pickle", "tensors"):
            archive.addfile(entry := tarfile.TarInfo(name), io.BytesIO(weights[: entry.size]))
    return stream.getvalue()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "zip bomb": zip_bomb,
    "tar": tar,
    "cut": lambda weights: weights[: len(weights) // 2],
    "empty": lambda _: b"",
    "text": lambda _: b"version https://git-lfs.github.com/spec/v1\n",
    "deep pickle": lambda _: pickle.dumps(None, protocol=2)[:2] + b"(" * 100000 + b".",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_archive_that_is_no_checkpoint_is_refused(folder: Path, damage: str) -> None:
    file = folder / "asr.ckpt"
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    with pytest.raises(ModelError, match=r"asr\.ckpt"):
        load(folder)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_any_byte_may_be_wrong(folder: Path) -> None:
    """Whatever is wrong in a checkpoint, what is said of it is an error of ours."""
    file = folder / "normalizer.ckpt"
    whole, generator = file.read_bytes(), torch.Generator().manual_seed(1)
    for place in torch.randint(len(whole), (300,), generator=generator).tolist():
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        with contextlib.suppress(ModelError):
            read_plain(file)
