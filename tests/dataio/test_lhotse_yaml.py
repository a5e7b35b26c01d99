"""Every sampler, batch and transform of templates/lhotse.yaml is built and yields what Lhotse documents."""

from __future__ import annotations

import math
import random
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from lhotse import CutSet, Fbank, MonoCut, NumpyFilesWriter, Recording, RecordingSet, SupervisionSegment
from lhotse.cut.text import TextExample
from lhotse.dataset import DynamicCutSampler, IterableDatasetWrapper, K2SpeechRecognitionDataset
from lhotse.dataset.dataloading import make_worker_init_fn
from lhotse.lazy import LazyTxtIterator
from torch.utils.data import DataLoader

from toolkit.dataio.lhotse_repairs import PerturbTempo, StatelessSampler
from toolkit.errors import ConfigError
from toolkit.hparams import REPLACED, HparamsDocument

RATE = 16000
TEMPLATE = Path(__file__).parents[2] / "templates/lhotse.yaml"
# Lhotse warns of sets that are in memory and of small ones; its filter banks were written for NumPy 1.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array_wrap__"),
    pytest.mark.filterwarnings("ignore:You are using Dynamic"),
    pytest.mark.filterwarnings("ignore:Your 'buffer_size' setting"),
]


def make_recording(folder: Path, name: str, seconds: float, pitch: float = 300.0) -> Recording:
    rng = np.random.default_rng(len(name))
    times = np.arange(round(seconds * RATE)) / RATE
    soundfile.write(
        folder / f"{name}.wav", 0.3 * np.sin(2 * np.pi * pitch * times) + 0.01 * rng.normal(size=len(times)), RATE
    )
    return Recording.from_file(folder / f"{name}.wav")


def make_cuts(folder: Path, prefix: str, count: int) -> CutSet:
    rng = random.Random(3)
    cuts = []
    for number in range(count):
        seconds = round(rng.uniform(0.5, 4.0), 1)
        cut = make_recording(folder, f"{prefix}{number}", seconds).to_cut()
        cut.id = f"utt{number}"
        cut.supervisions = [SupervisionSegment(cut.id, cut.recording_id, 0.0, cut.duration, text=f"ÑU {number}")]
        cuts.append(cut)
    return CutSet.from_cuts(cuts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lhotse")
    cuts = make_cuts(folder, "a", 40)
    cuts = cuts.compute_and_store_features(Fbank(), folder / "features", storage_type=NumpyFilesWriter)
    cuts.to_file(folder / "cuts.jsonl")
    make_cuts(folder, "b", 40).to_file(folder / "other.jsonl")
    CutSet.from_cuts([make_recording(folder, "noise", 5.0, 1000.0).to_cut()]).to_file(folder / "noise.jsonl")
    decay = np.exp(-np.arange(RATE // 4) / 800.0) * np.random.default_rng(0).normal(size=RATE // 4)
    soundfile.write(folder / "rir.wav", np.concatenate([[1.0], 0.3 * decay]), RATE)
    RecordingSet.from_recordings([Recording.from_file(folder / "rir.wav")]).to_file(folder / "rirs.jsonl")
    return folder


@pytest.fixture(scope="module")
def hparams(folder: Path) -> dict[str, Any]:
    document = HparamsDocument(TEMPLATE)
    files = {"cuts_file": "cuts", "other_cuts_file": "other", "noise_file": "noise", "rir_file": "rirs"}
    document.override({key: str(folder / f"{name}.jsonl") for key, name in files.items()})
    return document.build()


SAMPLERS = ["simple", "bucketing", "dynamic", "dynamic_bucketing", "by_seconds", "by_examples_of_a_bucket", "by_tokens"]


def test_every_entry_of_the_file_is_tested(hparams: dict[str, Any]) -> None:
    assert set(hparams["samplers"]) == {*SAMPLERS, "pairs", "round_robin", "zip", "stateless"}
    assert set(hparams["reports"]) == {"pessimistic_batches", "padding"}
    assert set(hparams["batches"]) == set(INPUT_SHAPES)
    assert set(hparams["cut_transforms"]) == {
        *("concatenate", "mix", "padding", "speed", "tempo", "volume", "reverberation")
    }
    assert set(hparams["signal_transforms"]) == {"spec_augment", "mvn", "smoothing", "dereverberation"}


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_give_every_cut_once(hparams: dict[str, Any], name: str) -> None:
    batches = list(hparams["samplers"][name])
    assert sorted(cut.id for batch in batches for cut in batch) == sorted(cut.id for cut in hparams["cuts"])
    assert len(batches) > 5


def test_samplers_of_two_sets(hparams: dict[str, Any]) -> None:
    pairs = list(hparams["samplers"]["pairs"])
    assert sum(len(ours) for ours, _ in pairs) == 40
    for ours, others in pairs:
        assert [cut.id for cut in ours] == [cut.id for cut in others]
        assert {cut.recording_id[0] for cut in ours} == {"a"}
        assert {cut.recording_id[0] for cut in others} == {"b"}
    sources = ["".join(sorted({cut.recording_id[0] for cut in batch})) for batch in hparams["samplers"]["round_robin"]]
    assert sources[:4] == ["a", "b", "a", "b"]
    assert {cut.recording_id[0] for cut in next(iter(hparams["samplers"]["zip"]))} == {"a", "b"}


def test_texts_as_in_lhotses_documentation(folder: Path, hparams: dict[str, Any]) -> None:
    (folder / "data.txt").write_text("".join(f"{'x' * length}\n" for length in (3, 30, 5, 28, 4, 31)))

    def tokenize(example: TextExample) -> TextExample:
        example.tokens = np.frombuffer(example.text.encode("utf-8"), np.int8)
        return example

    examples = CutSet(LazyTxtIterator(folder / "data.txt")).map(tokenize, apply_fn=None)
    batches = [[example.num_tokens for example in batch] for batch in hparams["text_sampler"](examples)]
    assert sorted(length for batch in batches for length in batch) == [3, 4, 5, 28, 30, 31]
    assert len(batches) == 3


INPUT_SHAPES = {"stored_features": (None, 80), "audio": (None,), "features": (None, 80)}


@pytest.mark.parametrize("name", INPUT_SHAPES)
def test_batches(hparams: dict[str, Any], name: str) -> None:
    cuts = CutSet.from_cuts(list(hparams["cuts"])[:3])
    batch = hparams["batches"][name][cuts]
    longest = max(cut.num_samples for cut in cuts)
    assert batch["inputs"].shape[0] == 3
    assert batch["inputs"].shape[2:] == INPUT_SHAPES[name][1:]
    assert batch["inputs"].shape[1] == (longest if name == "audio" else round(longest / 160))
    assert sorted(batch["supervisions"]["text"]) == sorted(cut.supervisions[0].text for cut in cuts)


@pytest.mark.parametrize("name", ["audio", "features"])
@pytest.mark.filterwarnings("ignore:Failed to read")
def test_what_cannot_be_read_is_left_out(hparams: dict[str, Any], name: str, tmp_path: Path) -> None:
    first = next(iter(hparams["cuts"]))
    gone = make_recording(tmp_path, "gone", 2.0).to_cut()
    gone.supervisions = [SupervisionSegment("gone", gone.recording_id, 0.0, gone.duration, text="GONE")]
    (tmp_path / "gone.wav").unlink()
    batch = hparams["batches"][name][CutSet.from_cuts([first, gone])]
    assert batch["supervisions"]["text"] == [first.supervisions[0].text]
    assert len(batch["inputs"]) == 1


@pytest.fixture
def tones(tmp_path: Path) -> CutSet:
    """One, two and four seconds of 300 Hz."""
    return CutSet.from_cuts(make_recording(tmp_path, f"t{seconds}", seconds).to_cut() for seconds in (1.0, 2.0, 4.0))


def pitch(audio: np.ndarray) -> float:
    """The frequency of a tone in Hz."""
    return float(np.abs(np.fft.rfft(audio[0] * np.hanning(audio.shape[1]))).argmax() * RATE / audio.shape[1])


@pytest.mark.parametrize(("name", "keeps_pitch"), [("speed", False), ("tempo", True)])
def test_speed_and_tempo(hparams: dict[str, Any], tones: CutSet, name: str, keeps_pitch: bool) -> None:
    for before, after in zip(tones, hparams["cut_transforms"][name](tones), strict=True):
        factor = min((0.9, 1.1), key=lambda one: abs(before.duration / one - after.duration))
        assert after.duration == pytest.approx(before.duration / factor, abs=1e-4)
        audio = after.load_audio()
        assert audio.shape == (1, after.num_samples)
        assert pitch(audio) == pytest.approx(300 * (1 if keeps_pitch else factor), abs=2)
        assert np.abs(audio[:, RATE // 10 : -RATE // 10]).max() == pytest.approx(0.33, abs=0.05)


def test_padding_volume_and_concatenation(hparams: dict[str, Any], tones: CutSet) -> None:
    transforms = hparams["cut_transforms"]
    assert [cut.duration for cut in transforms["padding"](tones)] == pytest.approx([1.3, 2.3, 4.3])
    for before, after in zip(tones, transforms["volume"](tones), strict=True):
        scale = after.load_audio()[0, 1000] / before.load_audio()[0, 1000]
        assert 0.125 <= scale <= 2.0
        np.testing.assert_allclose(after.load_audio(), scale * before.load_audio(), atol=1e-3)
    joined = list(transforms["concatenate"](tones))
    assert len(joined) < 3
    assert sum(cut.duration for cut in joined) == pytest.approx(7.0 + 0.1 * (3 - len(joined)))


def test_noise_and_rooms(hparams: dict[str, Any], tones: CutSet) -> None:
    for name in ("mix", "reverberation"):
        after = {
            cut.supervisions[0].id if cut.supervisions else cut.id: cut
            for cut in hparams["cut_transforms"][name](tones)
        }
        assert len(after) == 3
        for before, changed in zip(tones, after.values(), strict=True):
            speech = before.load_audio()
            audio = changed.load_audio()[:, : speech.shape[1]]
            assert audio.shape == speech.shape
            ratio = 10 * np.log10((speech**2).sum() / ((audio - speech) ** 2).sum())
            assert (9.5 < ratio < 20.5) if name == "mix" else (ratio < 20)


def test_signal_transforms(hparams: dict[str, Any]) -> None:
    torch.manual_seed(0)
    features, transforms = torch.randn(4, 300, 80) + 5, hparams["signal_transforms"]
    masked = transforms["spec_augment"].train()(features.clone())
    assert masked.shape == features.shape
    # Masked places all hold one value; no other value is there twice, as good as never.
    assert all(0.01 < one.flatten().unique(return_counts=True)[1].max() / one.numel() < 0.9 for one in masked)
    transforms["mvn"].norm_means.fill_(5.0)
    assert torch.allclose(transforms["mvn"](features), features - 5, atol=1e-4)
    audio = torch.zeros(2, 4000)
    assert transforms["smoothing"](audio).std() == pytest.approx(0.1, rel=0.1)


def test_dereverberation(hparams: dict[str, Any]) -> None:
    pytest.importorskip("nara_wpe", reason="Lhotse's DereverbWPE needs `pip install nara-wpe`")
    audio = torch.randn(2, 16000)
    assert hparams["signal_transforms"]["dereverberation"](audio).shape == audio.shape


def test_transforms_in_a_batch(hparams: dict[str, Any]) -> None:
    dataset = K2SpeechRecognitionDataset(
        cut_transforms=[hparams["cut_transforms"][name] for name in ("tempo", "volume", "padding")],
        input_strategy=hparams["batches"]["features"].input_strategy,
        input_transforms=[hparams["signal_transforms"]["spec_augment"].train()],
    )
    loader = DataLoader(dataset, sampler=hparams["samplers"]["dynamic_bucketing"], batch_size=None)
    batches = list(loader)
    assert sum(len(batch["inputs"]) for batch in batches) == 40
    assert all(torch.isfinite(batch["inputs"]).all() for batch in batches)


def test_tempo_is_restored_from_a_manifest(tones: CutSet, tmp_path: Path) -> None:
    stereo = tmp_path / "stereo.wav"
    soundfile.write(stereo, np.random.default_rng(0).uniform(-0.3, 0.3, (RATE, 2)), RATE)
    cuts = CutSet.from_cuts([*tones, Recording.from_file(stereo).to_cut()])
    changed = PerturbTempo([0.8], p=1.0)(PerturbTempo(1.25, p=1.0, preserve_id=True)(cuts))
    changed.to_file(tmp_path / "changed.jsonl")
    for before, after, written in zip(cuts, changed, CutSet.from_file(tmp_path / "changed.jsonl"), strict=True):
        assert after.duration == pytest.approx(before.duration, abs=1e-3)
        np.testing.assert_array_equal(written.load_audio(), after.load_audio())
    left, right = after.load_audio()
    assert not np.array_equal(left, right)
    padded = PerturbTempo(0.8, p=1.0)(CutSet.from_cuts([cuts[0].pad(2.0)]))[0]
    assert padded.load_audio().shape == (1, round(2.0 / 0.8 * RATE))


def test_risky_batches_and_padding(hparams: dict[str, Any]) -> None:
    batches, scores = hparams["reports"]["pessimistic_batches"](hparams["samplers"]["by_seconds"])
    longest = max(cut.duration for cut in hparams["cuts"])
    assert scores["single_longest_cut"] == longest
    assert max(cut.duration for cut in batches["single_longest_cut"]) == longest
    assert "padding" in hparams["reports"]["padding"](hparams["samplers"]["by_seconds"])


def test_stateless_sampler(hparams: dict[str, Any], folder: Path) -> None:
    def drawn(**values: object) -> list[list[str]]:
        given = {"cuts_paths": folder / "cuts.jsonl", "max_duration": 12.0, **values}
        return [[cut.id for cut in batch] for batch in islice(StatelessSampler(**given), 30)]

    (folder / "cuts.jsonl.idx").write_bytes(b"\x00\x01 somebody else's")
    batches = list(islice(hparams["samplers"]["stateless"], 30))
    assert all(cut.supervisions[0].text.startswith("ÑU") for batch in batches for cut in batch)
    assert max(len(batch) * max(cut.duration for cut in batch) for batch in batches) < 12 + 1e-6
    assert drawn() == drawn() != drawn(base_seed=1)
    scaled = [(folder / "cuts.jsonl", 1.0), (str(folder / "other.jsonl"), 3.0)]
    sampler = StatelessSampler(scaled, max_cuts=10).map(lambda batch: batch.map(mark))
    cuts = [cut for batch in islice(sampler, 60) for cut in batch]
    share = sum(cut.recording_id.startswith("b") for cut in cuts) / len(cuts)
    assert abs(share - 0.75) < 3 * math.sqrt(0.75 * 0.25 / len(cuts))
    assert all(cut.marked for cut in cuts)


def mark(cut: MonoCut) -> MonoCut:
    cut.marked = True
    return cut


def test_stateless_sampler_of_nothing(folder: Path) -> None:
    with pytest.raises(ConfigError, match="max_duration: missing; give it or max_cuts"):
        StatelessSampler(folder / "cuts.jsonl")
    with pytest.raises(ConfigError, match="max_duration: expected more than 0"):
        StatelessSampler(folder / "cuts.jsonl", max_duration=-1)
    (folder / "empty.jsonl").write_text("\n")
    with pytest.raises(ConfigError, match=r"cuts_paths: .*empty\.jsonl: no cuts to draw"):
        StatelessSampler(folder / "empty.jsonl", max_cuts=1)


class Ids(torch.utils.data.Dataset):
    def __getitem__(self, cuts: CutSet) -> list[str]:
        return [cut.id for cut in cuts]


@pytest.mark.parametrize("kind", ["trng", "randomized", "stateless"])
def test_each_worker_and_rank_has_its_own_order(hparams: dict[str, Any], kind: str) -> None:
    def first_batches(rank: int) -> list[tuple[str, ...]]:
        sampler = hparams["samplers"]["stateless"]
        if kind != "stateless":
            lazy = hparams["lazy_cuts"].repeat()
            sampler = DynamicCutSampler(
                lazy, max_cuts=10, shuffle=True, seed=kind, shuffle_buffer_size=40, rank=0, world_size=1
            )
        loader = DataLoader(
            IterableDatasetWrapper(Ids(), sampler),
            batch_size=None,
            num_workers=2,
            worker_init_fn=make_worker_init_fn(rank=rank, world_size=2, seed=3),
        )
        return [tuple(batch) for batch in islice(loader, 2)]

    of_rank_0, of_rank_1 = first_batches(0), first_batches(1)
    assert len({*of_rank_0, *of_rank_1}) == 4
    assert (first_batches(0) == of_rank_0) == (kind != "trng")


@pytest.mark.parametrize("name", REPLACED)
def test_what_lhotse_lost_is_named_with_its_replacement(tmp_path: Path, name: str) -> None:
    package = "lhotse.dataset.collation" if name == "maybe_pad" else "lhotse.dataset"
    file = tmp_path / "hparams.yaml"
    file.write_text(f"one:\n  - !name:{package}.{name}\n    p: 1\n")
    with pytest.raises(ConfigError, match=rf"hparams.yaml: {package}.{name} .*; use (toolkit|lhotse|the method)"):
        HparamsDocument(file).build()
