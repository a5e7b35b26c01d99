"""Folders that would like to do something else than recognise speech. MARKER is a file that an attack would make."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import shutil
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from published_models import SIZES, Published, make_folder, noises

from toolkit.checkpoints import read_plain
from toolkit.errors import ConfigError, ModelError, TokenizerError
from toolkit.hparams import HparamsDocument
from toolkit.inference.transcriber import Transcriber

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


# Paths


@pytest.mark.parametrize(
    "path", ["../outside/lm.ckpt", "OUTSIDE/lm.ckpt", "model/../../outside/lm.ckpt", "link/lm.ckpt"]
)
def test_path_out_of_the_folder_is_refused(folder: Path, path: str) -> None:
    outside = folder.parent / "outside"
    outside.mkdir()
    shutil.move(folder / "lm.ckpt", outside / "lm.ckpt")
    (folder / "link").symlink_to(outside)
    (folder / "model").mkdir()
    paths = f"    paths: {{lm: {path.replace('OUTSIDE', str(outside))}}}\n"
    spoil(folder, "        tokenizer: !ref <tokenizer>\n", f"        tokenizer: !ref <tokenizer>\n{paths}")
    with pytest.raises(ConfigError, match=r"lm\.ckpt: leads out of .*trust_source_code=True"):
        load(folder)
    assert load(folder, trust_source_code=True).transcribe(noises(1))


@pytest.mark.parametrize("name", ["hyperparams.yaml", "asr.ckpt", "tokenizer.ckpt"])
def test_link_out_of_the_folder_is_refused(folder: Path, name: str) -> None:
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


@pytest.mark.parametrize("value", ["&self [*self]", "&self {a: *self}"])
def test_what_contains_itself_is_refused(tmp_path: Path, value: str) -> None:
    (tmp_path / "hyperparams.yaml").write_text(f"a: 1\nb: {value}\n")
    with pytest.raises(ConfigError, match="line 2: contains itself"):
        HparamsDocument(tmp_path / "hyperparams.yaml")


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hyperparams.yaml").write_text("a: " + "[" * 20000)
    with pytest.raises(ConfigError, match="nested too deeply"):
        HparamsDocument(tmp_path / "hyperparams.yaml")


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
