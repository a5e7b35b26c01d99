"""Trained models by name: folders, paths, the hub's cache, and classes of a user's own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from huggingface_hub.utils import filter_repo_objects

from toolkit.errors import ConfigError, ExperimentError, ModelError
from toolkit.hparams import HparamsDocument, reference
from toolkit.inference.pretrained import Pretrained
from toolkit.inference.sources import find_folder
from toolkit.inference.transcriber import Transcriber

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Loudness(Pretrained):
    """A user's own interface."""

    MODULES_NEEDED = ("model",)
    HPARAMS_NEEDED = ("sample_rate",)

    def loudness(self, path: Path) -> float:
        wav = self.load_audio(path)
        encoded, _ = self.mods.model.encode(wav[None], torch.tensor([len(wav)]))
        return float(encoded.abs().mean())


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of several lengths."""
    folder, generator = tmp_path_factory.mktemp("recordings"), np.random.default_rng(3)
    paths = [folder / f"{samples}.wav" for samples in (20000, 9000, 31000)]
    for path in paths:
        soundfile.write(path, 0.1 * generator.standard_normal(int(path.stem)), 16000)
    return paths


@pytest.fixture
def hub(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of huggingface_hub with the run as `someone/small`, of which there are a branch and its commit."""
    repository = tmp_path / "hub/models--someone--small"
    snapshot = repository / "snapshots" / COMMIT
    for number, file in enumerate(sorted(path for path in run_folder.rglob("*") if path.is_file())):
        blob, link = repository / f"blobs/{number:064x}", snapshot / file.relative_to(run_folder)
        for path in (blob, link):
            path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, blob)
        link.symlink_to(blob)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return repository


@pytest.mark.usefixtures("hub")
def test_folder_path_and_hub_name_are_one_model(run_folder: Path) -> None:
    wav = torch.randn(20000, generator=torch.Generator().manual_seed(1))
    sources = [{"source": run_folder}, {"source": str(run_folder)}, {"source": "someone/small"}]
    sources += [{"source": "someone/small", "revision": revision} for revision in ("main", COMMIT)]
    found = [Transcriber.from_hparams(device="cpu", **source).transcribe([wav])[0].text for source in sources]
    assert len(set(found)) == 1
    assert found[0]


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("source", [{"source": "someone/big"}, {"source": "someone/small", "revision": "v2"}])
def test_what_the_cache_has_not_got_is_refused_offline(source: dict[str, str]) -> None:
    with pytest.raises(ExperimentError, match=rf"{source['source']}: no such folder here, the hub's cache has no"):
        Transcriber.from_hparams(**source)


@pytest.mark.parametrize(
    ("weights", "wanted"),
    [
        (["model.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        (["pytorch_model.bin"], ["pytorch_model.bin"]),
        (["asr.ckpt", "lm.ckpt", "language_model/4gram.bin"], ["asr.ckpt", "lm.ckpt", "language_model/4gram.bin"]),
    ],
)
def test_weights_are_downloaded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: list[str], wanted: list[str]
) -> None:
    """Repositories have them for every library there is."""
    files = [*weights, "tf_model.h5", "flax_model.msgpack", "rust_model.ot", "training_args.bin", "runs/events.1"]
    files += ["config.json", "README.md", "optimizer.pt"]

    def snapshot(name: str, *, ignore_patterns: list[str], **_: Any) -> str:
        assert name == "someone/large"
        for file in filter_repo_objects(files, ignore_patterns=ignore_patterns):
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).touch()
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    downloaded = {str(file.relative_to(tmp_path)) for file in find_folder("someone/large").rglob("*") if file.is_file()}
    assert downloaded == {*wanted, "config.json"}


@pytest.mark.parametrize("source", ["no/such/folder", "../nowhere", "owner/name/file"])
def test_what_is_neither_folder_nor_name_is_refused(source: str) -> None:
    with pytest.raises(ExperimentError, match=f"{source}: no such folder"):
        Transcriber.from_hparams(source)


def test_file_is_not_taken_for_a_folder(run_folder: Path) -> None:
    with pytest.raises(ExperimentError, match="a file; name the folder"):
        Transcriber.from_hparams(run_folder / "hyperparams.yaml")


def test_yaml_of_another_name_and_overrides(run_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run_folder, tmp_path / "run")
    (folder / "hyperparams.yaml").rename(folder / "other.yaml")
    with pytest.raises(ConfigError, match=r"no key 'sample_rat' to override.*did you mean"):
        Transcriber.from_hparams(folder, "other.yaml", overrides={"sample_rat": 8000})
    for overrides in ({"sample_rate": 8000}, "sample_rate: 8000\nn_mels: !ref <seed> * 16\n"):
        transcriber = Transcriber.from_hparams(folder, "other.yaml", None, overrides, "cpu")
        assert transcriber.sample_rate == transcriber.hparams.sample_rate == 8000
    for wrong in ("8000", "a: [", "- 1"):
        with pytest.raises(ConfigError, match=r"overrides: (expected values|not valid YAML)"):
            Transcriber.from_hparams(folder, "other.yaml", overrides=wrong)


def test_interface_of_ones_own(run_folder: Path, recordings: list[Path]) -> None:
    loudness = Loudness.from_hparams(run_folder, device="cpu")
    assert loudness.loudness(recordings[0]) > 0
    assert not loudness.mods.model.training
    assert not any(parameter.requires_grad for parameter in loudness.parameters())
    assert loudness.load_audio(recordings[0]).dim() == 1


class Features(Pretrained):
    """The example of `Pretrained`: parts of a model, which its YAML declares by themselves or not."""

    MODULES_NEEDED = ("features", "encoder")


def test_interface_of_a_part_has_the_weights_of_the_model(run_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(run_folder, tmp_path / "run")
    document = HparamsDocument(folder / "hyperparams.yaml")
    for part in ("features", "encoder"):
        document.data[part] = document.data["model"][part]
        document.data["model"][part] = reference(f"<{part}>")
    (folder / "hyperparams.yaml").write_text(document.text())
    parts = Features.from_hparams(folder, device="cpu")
    wav, samples = torch.randn(1, 9000), torch.tensor([9000])
    encoded, _ = Transcriber.from_hparams(run_folder, device="cpu").model.encode(wav, samples)
    torch.testing.assert_close(parts.mods.encoder(*parts.mods.features(wav, samples))[0], encoded)
    with pytest.raises(ConfigError, match="declares no features, encoder"):
        Features.from_hparams(run_folder)


def test_what_an_interface_lacks_is_listed() -> None:
    class Task(Loudness):
        MODULES_NEEDED = ("encoder", "searcher")

    with pytest.raises(ConfigError, match=r"Task needs the modules encoder, searcher; missing: encoder, searcher"):
        Task({"encodr": torch.nn.ReLU()}, {"sample_rate": 16000})
    with pytest.raises(ConfigError, match=r"missing: sample_rate.*there are: none"):
        Task({"encoder": torch.nn.ReLU(), "searcher": torch.nn.ReLU()})


def test_speechbrains_methods_agree_with_files(run_folder: Path, recordings: list[Path]) -> None:
    transcriber = Transcriber.from_hparams(run_folder, device="cpu")
    texts = [transcriber.transcribe_file(path) for path in recordings]
    assert texts == [one.text for one in transcriber.transcribe_files(recordings)]
    wavs = [transcriber.load_audio(path) for path in recordings]
    padded = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)
    shares = torch.tensor([len(wav) / padded.shape[1] for wav in wavs])
    found, tokens = transcriber.transcribe_batch(padded, shares)
    assert found == texts
    assert [transcriber.tokenizer.decode(row) for row in tokens] == texts
    assert transcriber(padded, shares) == (found, tokens)
    assert transcriber.encode_batch(padded, shares).shape[0] == len(wavs)


@pytest.mark.parametrize(
    "content", ["rank: x\nunixtime: 1\n", "rank: 1\n", "a: [", "!!python/object/apply:os.abort []"]
)
def test_damaged_record_of_a_checkpoint_is_named(run_folder: Path, tmp_path: Path, content: str) -> None:
    folder = Path(shutil.copytree(run_folder, tmp_path / "run"))
    checkpoint = folder / "save/CKPT+1"
    checkpoint.mkdir(parents=True)
    (folder / "model.ckpt").rename(checkpoint / "model.ckpt")
    (checkpoint / "CKPT.yaml").write_text(content)
    with pytest.raises(ExperimentError, match=r"CKPT\+1/CKPT\.yaml: damaged"):
        Transcriber.from_hparams(folder)


def test_model_that_is_none_is_an_error_of_the_folder(run_folder: Path) -> None:
    with pytest.raises(ModelError, match=f"{run_folder}: cannot be loaded; AttributeError"):
        Transcriber.from_hparams(run_folder, overrides={"model": 1})
