"""From a YAML's data sets to batches, resumed anywhere, with any number of workers."""

from __future__ import annotations

import collections
import copy
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from lhotse import CutSet
from omegaconf import OmegaConf

from toolkit.dataio import data_types, loaders
from toolkit.dataio.batches import Batch
from toolkit.dataio.loaders import load_split, load_splits
from toolkit.dataio.manifests import write_manifest
from toolkit.errors import AudioError, ConfigError, DataError, ManifestError


class Letters:
    """A tokenizer of letters."""

    def encode(self, text: str) -> list[int]:
        return [ord(letter) - 64 for letter in text if letter != " "]


def samples(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(0, 0.1, 1600 + 160 * (number % 7)).astype(np.float32)


@pytest.fixture
def hparams(tmp_path: Path) -> dict[str, object]:
    """Twenty utterances of 0.1 to 0.16 s for each of train, valid and test."""
    utterances = {}
    for number in range(20):
        wav = samples(number)
        soundfile.write(tmp_path / f"{number}.wav", wav, 16000, subtype="FLOAT")
        words = "A B" * (number % 3 + 1)
        utterances[f"u{number}"] = {"wav": f"{number}.wav", "length": len(wav) / 16000, "words": words}
    write_manifest(tmp_path / "all.json", utterances)
    data = {"manifest_filepath": str(tmp_path / "all.json"), "batch_duration": 0.5, "num_buckets": 3}
    train = data | {"shuffle": True, "seed": 3}
    return {"train_data": train, "valid_data": data, "test_data": {"clean": data}, "tokenizer": Letters()}


def same(one: Batch, other: Batch) -> bool:
    """Whether they hold the same; resampling rounds otherwise with the one thread that a worker process has."""
    alike = one.wavs.shape == other.wavs.shape and torch.allclose(one.wavs, other.wavs, rtol=0, atol=1e-6)
    return one.id == other.id and alike and torch.equal(one.token_ids, other.token_ids)


def test_batches_hold_the_audio_words_and_tokens_of_the_manifest(hparams: dict[str, object]) -> None:
    train, valid, tests = load_splits(hparams)
    assert list(tests) == ["clean"]
    for loader in (train, valid, tests["clean"]):
        batches = list(loader)
        assert sorted(name for batch in batches for name in batch.id) == sorted(f"u{number}" for number in range(20))
        for batch in batches:
            assert batch.wavs.shape == (len(batch), batch.samples.max())
            for row, name in enumerate(batch.id):
                wav, number = torch.from_numpy(samples(int(name[1:]))), int(name[1:])
                assert batch.samples[row] == len(wav)
                torch.testing.assert_close(batch.wavs[row, : len(wav)], wav, rtol=0, atol=0)
                assert not batch.wavs[row, len(wav) :].any()
                assert batch.words[row] == "A B" * (number % 3 + 1)
                assert batch.token_ids[row, : batch.token_counts[row]].tolist() == [1, 2] * (number % 3 + 1)
                assert not batch.token_ids[row, batch.token_counts[row] :].any()
    assert [batch.id for batch in valid] == [batch.id for batch in tests["clean"]]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_epoch_has_the_same_batches(hparams: dict[str, object], tmp_path: Path, workers: int) -> None:
    augmented = {"perturb_speed": True, "noise_path": str(tmp_path), "rir_enabled": True, "rir_path": str(tmp_path)}
    hparams["train_data"] |= augmented
    reference = load_split("train_data", hparams)
    epochs = [list(reference) for _ in range(3)]
    assert not same(epochs[0][0], epochs[1][0])
    hparams["train_data"] |= {"num_workers": workers}
    resumed = load_split("train_data", copy.deepcopy(hparams))
    resumed.seek(1, batches=4)
    rest = list(resumed)
    assert len(rest) == len(epochs[1]) - 4 > 3
    assert all(same(one, other) for one, other in zip(rest, epochs[1][4:], strict=True))
    # The epoch after it, and one that is broken off and entered again.
    assert all(same(one, other) for one, other in zip(resumed, epochs[2], strict=True))
    resumed.seek(0)
    next(iter(resumed))
    resumed.seek(0, batches=1)
    assert all(same(one, other) for one, other in zip(resumed, epochs[0][1:], strict=True))


def test_skipped_batches_are_not_read(hparams: dict[str, object], tmp_path: Path) -> None:
    loader = load_split("train_data", hparams)
    first, *rest = [batch.id for batch in loader]
    for name in first:
        (tmp_path / f"{name[1:]}.wav").unlink()
    loader.seek(0, batches=1)
    assert [batch.id for batch in loader] == rest


def test_speed_copies_are_three_times_the_data(hparams: dict[str, object]) -> None:
    hparams["train_data"] |= {"perturb_speed": True}
    loader = load_split("train_data", hparams)
    batches = list(loader)
    assert len(batches) == len(loader)
    names = [name for batch in batches for name in batch.id]
    assert len(names) == len(set(names)) == 60
    total = sum(batch.samples.sum().item() for batch in batches)
    plain = sum(len(samples(number)) for number in range(20))
    assert total == pytest.approx(plain * (1 + 1 / 0.9 + 1 / 1.1), rel=1e-3)


def test_ranks_share_training_but_not_evaluation_data(
    hparams: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {"train": [], "valid": []}
    counts = set()
    for rank in range(2):
        monkeypatch.setattr(loaders, "rank_and_world_size", lambda rank=rank: (rank, 2))
        train, valid, _ = load_splits(hparams)
        counts.add(len(list(train)))
        train.seek(0)
        seen["train"] += [name for batch in train for name in batch.id]
        seen["valid"].append([name for batch in valid for name in batch.id])
    assert len(counts) == 1
    assert len(seen["train"]) == len(set(seen["train"])) == 20
    assert seen["valid"][0] == seen["valid"][1]
    assert len(seen["valid"][0]) == 20


@pytest.mark.parametrize("told", [True, False])
def test_audio_of_another_rate_and_of_two_channels(hparams: dict[str, object], tmp_path: Path, told: bool) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(800) / 8000)
    soundfile.write(tmp_path / "0.wav", np.stack([tone, np.zeros(800)], axis=1), 8000)
    known = {"sample_rate": 8000, "num_samples": 800, "channels": 2} if told else {}
    write_manifest(tmp_path / "one.json", {"u0": {"wav": "0.wav", "length": 0.1, "words": "A"} | known})
    hparams["valid_data"] |= {"manifest_filepath": str(tmp_path / "one.json")}
    [batch] = load_split("valid_data", hparams)
    expected = 0.25 * np.sin(2 * np.pi * 440 * np.arange(1600) / 16000)
    np.testing.assert_allclose(batch.wavs[0, 100:1500], expected[100:1500], atol=0.01)


def test_rate_and_seed_are_those_of_the_yaml(hparams: dict[str, object]) -> None:
    del hparams["train_data"]["seed"]
    orders = []
    for seed in (3, 3, 4):
        loader = load_split("train_data", hparams | {"sample_rate": 8000, "seed": seed})
        orders.append([batch.id for batch in loader])
        assert all(batch.samples.max() <= 1281 for batch in loader)  # 0.16 s
    assert orders[0] == orders[1] != orders[2]
    for key, value in (("sample_rate", 16000), ("seed", 5)):
        hparams["valid_data"] |= {key: value}
        with pytest.raises(ConfigError, match=rf"valid_data\.{key}: {value}, but the YAML's {key} is 3; leave it out"):
            load_split("valid_data", hparams | {key: 3})


def test_rate_and_seed_are_those_of_the_yaml_for_a_data_set_in_a_file(
    hparams: dict[str, object], tmp_path: Path
) -> None:
    file = tmp_path / "valid.yaml"
    OmegaConf.save(hparams["valid_data"], file)
    [*_, batch] = load_split("valid_data", hparams | {"valid_data": str(file), "sample_rate": 8000})
    assert batch.samples.min() == 800
    OmegaConf.save(hparams["valid_data"] | {"sample_rate": 8000}, file)
    with pytest.raises(ConfigError, match=r"valid_data\.sample_rate: 8000, but the YAML's sample_rate is 16000"):
        load_split("valid_data", hparams | {"valid_data": str(file), "sample_rate": 16000})


def test_every_augmentation_of_two_channels(hparams: dict[str, object], tmp_path: Path) -> None:
    noises = tmp_path / "noises"
    noises.mkdir()
    for name, rate in (("a", 8000), ("b", 48000)):
        soundfile.write(noises / f"{name}.wav", np.random.default_rng(rate).normal(0, 0.1, (4000, 2)), rate)
    soundfile.write(tmp_path / "0.wav", np.random.default_rng(0).normal(0, 0.1, (8000, 2)), 8000)
    write_manifest(tmp_path / "one.json", {"u0": {"wav": "0.wav", "length": 1.0, "words": "A"}})
    always = {"noise_path": str(noises), "noise_mix_prob": 1.0}
    always |= {"rir_enabled": True, "rir_path": str(noises), "rir_prob": 1.0}
    hparams["train_data"] |= {"manifest_filepath": str(tmp_path / "one.json"), "perturb_speed": True} | always
    batches = list(load_split("train_data", hparams))
    assert sorted(count for batch in batches for count in batch.samples.tolist()) == [14545, 16000, 17778]
    assert all(batch.wavs.isfinite().all() and batch.wavs.std() > 0.03 for batch in batches)


def test_durations_outside_are_left_out(hparams: dict[str, object]) -> None:
    hparams["valid_data"] |= {"min_duration": 0.11, "max_duration": 0.13}
    names = {name for batch in load_split("valid_data", hparams) for name in batch.id}
    assert names == {f"u{number}" for number in range(20) if 1 <= number % 7 <= 3}
    hparams["valid_data"] |= {"min_duration": 1.0, "max_duration": 2.0}
    with pytest.raises(DataError, match=r"valid_data: none of 20 examples is left; left out: 20 by min_duration"):
        load_split("valid_data", hparams)


def test_too_many_tokens_a_second_are_left_out(hparams: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.dataio.parts.MOST_MEASURED", 0)  # epochs are planned whatever it costs
    hparams["valid_data"] |= {"max_tps": 30}
    names = {name for batch in load_split("valid_data", hparams) for name in batch.id}
    rates = {f"u{number}": 2 * (number % 3 + 1) / (len(samples(number)) / 16000) for number in range(20)}
    assert names == {name for name, rate in rates.items() if rate <= 30}
    assert 5 < len(names) < 20


def folder_of_one(tmp_path: Path) -> dict[str, object]:
    """A data set of one utterance without words, of another type."""
    (tmp_path / "more").mkdir()
    soundfile.write(tmp_path / "more/x.wav", samples(6), 16000, subtype="FLOAT")
    return {"type": "audio_folder", "audio_dir": str(tmp_path / "more")}


def test_data_sets_of_several_types_by_weight(hparams: dict[str, object], tmp_path: Path) -> None:
    first = {"type": "speechbrain_json", "manifest_filepath": str(tmp_path / "all.json"), "weight": 2}
    group = [first, folder_of_one(tmp_path) | {"weight": 1}]
    hparams["train_data"] |= {"manifest_filepath": None, "input_cfg": group}
    batches = [batch.id for batch in load_split("train_data", hparams)]
    assert all(len(set(batch)) == len(batch) for batch in batches)  # the second x of a batch is x_repeat1
    counts = collections.Counter(name.split("_")[0] for batch in batches for name in batch)
    assert counts["x"] == 7  # a third of an epoch of as many as there are
    assert set(counts.values()) <= {1, 7}
    # Evaluation hears each once.
    hparams["valid_data"] |= {"manifest_filepath": None, "input_cfg": group}
    names = [name for batch in load_split("valid_data", hparams) for name in batch.id]
    assert sorted(names) == sorted(["x", *(f"u{number}" for number in range(20))])


def test_short_utterances_are_joined(hparams: dict[str, object]) -> None:
    joined = {"concatenate_samples": True, "concatenate_gap_seconds": 0.01, "concatenate_duration_factor": 2.5}
    hparams["valid_data"] |= joined | {"db_norm": None, "batch_duration": 1.0}
    batches = list(load_split("valid_data", hparams))
    names = [name for batch in batches for one in batch.id for name in one.split("+")]
    assert sorted(names) == sorted(f"u{number}" for number in range(20))
    assert any("+" in one for batch in batches for one in batch.id)
    for batch in batches:
        for row, ids in enumerate(batch.id):
            numbers = [int(name[1:]) for name in ids.split("+")]
            parts = [part for number in numbers for part in (np.zeros(160, np.float32), samples(number))][1:]
            torch.testing.assert_close(batch.wavs[row, : batch.samples[row]], torch.from_numpy(np.concatenate(parts)))
            assert batch.words[row] == " ".join("A B" * (number % 3 + 1) for number in numbers)


def test_several_samplers_are_not_for_recipes(hparams: dict[str, object]) -> None:
    several = {"multi_config": True, "speech": hparams["train_data"]}
    with pytest.raises(ConfigError, match=r"train_data\.multi_config: the data of a recipe has one sampler; blend"):
        load_split("train_data", hparams | {"train_data": several})


def test_what_has_no_index_has_no_epochs(hparams: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.dataio.data_types._TYPES", dict(data_types._TYPES))
    data_types.data_type_parser("stream")(lambda _: (CutSet(iter([])), True))
    hparams["train_data"] |= {"manifest_filepath": None, "input_cfg": [{"type": "stream"}]}
    with pytest.raises(ConfigError, match="train_data: some of its data can only be read from its beginning"):
        load_split("train_data", hparams)


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        ({"batch_size": 2}, "train_data: expected utterances with audio, not TextExample"),
        ({"batch_duration": 2}, "train_data.batch_duration: TextExample has no duration"),
    ],
)
def test_texts_are_no_utterances(hparams: dict[str, object], tmp_path: Path, batch: dict[str, int], said: str) -> None:
    (tmp_path / "a.txt").write_text("A\n")
    item = {"type": "txt", "paths": str(tmp_path / "a.txt")}
    hparams["train_data"] |= {"manifest_filepath": None, "input_cfg": [item], "batch_duration": None} | batch
    with pytest.raises(ConfigError, match=said):
        load_split("train_data", hparams)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(("data", "said"), [(b"", "is empty"), (b"no audio" * 99, "not audio")])
def test_unreadable_audio_names_utterance_and_file(
    hparams: dict[str, object], tmp_path: Path, workers: int, data: bytes, said: str
) -> None:
    hparams["train_data"] |= {"num_workers": workers}
    loader = load_split("train_data", hparams)
    (tmp_path / "7.wav").write_bytes(data)
    message = None
    try:
        list(loader)
    except AudioError as error:  # pytest.raises would keep the loader alive, and end its workers by their time limit
        message = str(error)
    assert message.startswith(f"utterance 'u7': {tmp_path}/7.wav: ")
    assert said in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("told", [False, True])
def test_what_cannot_be_read_is_left_out_and_counted_where_the_yaml_says_so(
    hparams: dict[str, object], tmp_path: Path, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    rate = {"sampling_rate": 16000} if told else {}  # without it, to build an utterance needs its header
    seconds = [len(samples(number)) / 16000 for number in range(6)]
    lines = [{"audio_filepath": f"{n}.wav", "duration": length, "text": "A"} | rate for n, length in enumerate(seconds)]
    (tmp_path / "m.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    data = {"manifest_filepath": str(tmp_path / "m.jsonl"), "batch_size": 4, "fault_tolerant": True}
    (tmp_path / "1.wav").unlink()
    (tmp_path / "2.wav").write_bytes(b"no audio" * 99)
    soundfile.write(tmp_path / "3.wav", np.zeros(160), 16000)
    loader = load_split("valid_data", hparams | {"valid_data": data})
    names = [Path(name).name for batch in loader for name in batch.id]
    assert sorted(names) == ["0.wav", "4.wav", "5.wav"]
    assert "left out (3 so far): " in caplog.text
    for file in ("0", "4", "5"):
        soundfile.write(tmp_path / f"{file}.wav", np.zeros(160), 16000)
    with pytest.raises(DataError, match=r"\.wav"):
        list(loader)
    soundfile.write(tmp_path / "0.wav", samples(0), 16000)
    with pytest.raises(DataError, match=r"\.wav"):
        list(load_split("valid_data", hparams | {"valid_data": data | {"fault_tolerant": False}}))


def test_audio_shorter_than_its_manifest_says(hparams: dict[str, object], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "7.wav", np.zeros(8000), 16000)
    write_manifest(tmp_path / "all.json", {"u7": {"wav": "7.wav", "length": 0.5, "words": "A"}})
    loader = load_split("valid_data", hparams)
    soundfile.write(tmp_path / "7.wav", np.zeros(4000), 16000)
    with pytest.raises(AudioError, match=r"utterance 'u7': .*7\.wav: not what the manifest says: "):
        list(loader)


def test_what_the_yaml_lacks(hparams: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"the YAML has no train_data \(did you mean 'trian_data'\?\)"):
        load_splits({"trian_data": {}})
    with pytest.raises(ConfigError, match="test_data: expected the name and the data of each test"):
        load_splits(hparams | {"test_data": "test.json"})
    with pytest.raises(ConfigError, match=r"test_data\.clean\.shufle: unknown key \(did you mean 'shuffle'\?\)"):
        load_splits(hparams | {"test_data": {"clean": hparams["valid_data"] | {"shufle": True}}})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "an4_prepare.py").touch()
    missing = {"manifest_filepath": "manifests/train.json", "batch_size": 1}
    with pytest.raises(ManifestError, match=r"make it with: python an4_prepare\.py DATA_FOLDER manifests"):
        load_splits(hparams | {"train_data": missing})


def test_a_batch_moves_as_one(hparams: dict[str, object]) -> None:
    batch = next(iter(load_split("valid_data", hparams)))
    moved = batch.to("meta")
    assert {tensor.device.type for tensor in (moved.wavs, moved.samples, moved.token_ids, moved.token_counts)} == {
        "meta"
    }
    assert (moved.id, moved.words) == (batch.id, batch.words)
    assert batch.wavs.device.type == "cpu"
