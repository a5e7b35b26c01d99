"""NeMo's tutorials of data loading: their cells that make and read data, with the imports changed."""

from __future__ import annotations

import collections
import json
import subprocess
import sys
import tarfile
from itertools import islice
from pathlib import Path

import lhotse
import numpy as np
import pytest
import soundfile
from lhotse import CutSet, RecordingSet, SupervisionSegment, SupervisionSet
from lhotse.audio import Recording
from lhotse.serialization import save_to_jsonl
from omegaconf import OmegaConf

from toolkit.dataio.blend import Blend, sources_of
from toolkit.dataio.cut_audio import load_cut
from toolkit.dataio.cutset import read_cutset_from_config


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def corpus(name: str, count: int, rate: int) -> dict[str, RecordingSet | SupervisionSet]:
    """What Lhotse's prepare_<corpus> makes: recordings and supervisions of files below the working folder."""
    folder = Path("data") / name
    folder.mkdir(parents=True)
    recordings, supervisions = [], []
    for number in range(count):
        path = folder / f"{name}-{number}.wav"
        soundfile.write(path, np.random.default_rng(number).normal(0, 0.1, rate // 4 + 100 * number), rate)
        recording = Recording.from_file(path)
        recordings.append(recording)
        fields = {"text": f"{name} {number}", "language": "English"}
        supervisions.append(SupervisionSegment(path.stem, recording.id, 0.0, recording.duration, **fields))
    said = SupervisionSet.from_segments(supervisions)
    return {"recordings": RecordingSet.from_recordings(recordings), "supervisions": said}


def tarred(manifest: str, folder: str, shards: int) -> None:
    """What NeMo's convert_to_tarred_audio_dataset.py writes."""
    lines = [json.loads(line) for line in Path(manifest).read_text().splitlines()]
    (Path(folder) / "sharded_manifests").mkdir(parents=True)
    everything = []
    for shard in range(shards):
        entries = []
        with tarfile.open(f"{folder}/audio_{shard}.tar", "w") as tar:
            for line in lines[shard::shards]:
                path = Path(line["audio_filepath"])
                name = str(path.with_suffix("")).replace("/", "_").replace(".", "_") + path.suffix
                tar.add(path, arcname=name)
                entries.append({**line, "audio_filepath": name, "shard_id": shard})
        save_to_jsonl(entries, f"{folder}/sharded_manifests/manifest_{shard}.json")
        everything += entries
    save_to_jsonl(everything, f"{folder}/tarred_audio_manifest.json")


@pytest.fixture
def tutorial_001() -> None:
    """Its cells up to the tarred data sets, on small corpora of noise; the tutorial has 32 shards too."""
    sizes = {"librispeech": {"train-clean-5": 40, "dev-clean-2": 5}, "yesno": {"train": 6, "test": 3}}
    for name, splits in sizes.items():
        for split, count in splits.items():
            parts = corpus(f"{name}_{split}", count, 16000 if name == "librispeech" else 8000)
            cuts = CutSet.from_manifests(**parts)
            cuts.to_file(f"data/{name}_cuts_{split}.jsonl.gz")
            prefix = "nemo" if name == "librispeech" else "yesno"
            lhotse.serialization.save_to_jsonl(
                (
                    {
                        "audio_filepath": cut.recording.sources[0].source,
                        "duration": cut.duration,
                        "text": cut.supervisions[0].text,
                        "lang": cut.supervisions[0].language,
                        "sampling_rate": cut.sampling_rate,
                    }
                    for cut in CutSet.from_file(f"data/{name}_cuts_{split}.jsonl.gz")
                ),
                f"data/{prefix}_{split}.json",
            )
    tarred("data/nemo_train-clean-5.json", "tarred", 32)
    tarred("data/yesno_train.json", "yesno_tarred", 1)


@pytest.mark.usefixtures("tutorial_001")
def test_seed_001() -> None:
    """Each of its configurations of training and validation data."""
    said = {f"librispeech_train-clean-5 {number}" for number in range(40)}
    configurations = {
        "I": {"manifest_filepath": None, "cuts_path": "data/librispeech_cuts_train-clean-5.jsonl.gz"},
        "II": {"manifest_filepath": "data/nemo_train-clean-5.json"},
        "III": {
            "manifest_filepath": "tarred/sharded_manifests/manifest__OP_0..31_CL_.json",
            "tarred_audio_filepaths": "tarred/audio__OP_0..31_CL_.tar",
        },
    }
    common = {"use_lhotse": True, "batch_size": None, "batch_duration": 300, "use_bucketing": True}
    common |= {"num_buckets": 30, "quadratic_duration": 15}
    for name, config in configurations.items():
        cuts, is_tarred = read_cutset_from_config(OmegaConf.create(config | common))
        assert is_tarred is (name == "III")
        found = list(islice(cuts, 40))
        assert {cut.supervisions[0].text for cut in found} == said
        assert {cut.supervisions[0].language for cut in found} == {"English"}
        assert all(len(load_cut(cut)) == cut.num_samples for cut in found)


@pytest.mark.usefixtures("tutorial_001")
def test_seed_001_several_data_sets() -> None:
    config = {
        "use_lhotse": True,
        "manifest_filepath": [
            ["tarred/sharded_manifests/manifest__OP_0..31_CL_.json", 0.8],
            ["yesno_tarred/tarred_audio_manifest.json", 0.2],
        ],
        "tarred_audio_filepaths": [["tarred/audio__OP_0..31_CL_.tar"], ["yesno_tarred/audio_0.tar"]],
        "shard_seed": 1,
    }  # fmt: skip
    cuts, is_tarred = read_cutset_from_config(OmegaConf.create(config))
    assert is_tarred
    blend = sources_of(cuts)
    assert isinstance(blend, Blend)
    assert ([len(source) for source in blend.sources], blend.weights) == ([40, 6], [0.8, 0.2])
    drawn = collections.Counter(cut.supervisions[0].text.split("_")[0] for cut in islice(cuts, 1000))
    assert abs(drawn["yesno"] - 200) < 3 * (1000 * 0.8 * 0.2) ** 0.5
    validation = {"manifest_filepath": ["data/nemo_dev-clean-2.json", "data/yesno_test.json"], "force_finite": True}
    cuts, is_tarred = read_cutset_from_config(OmegaConf.create(validation))
    assert not is_tarred
    assert sorted(cut.sampling_rate for cut in cuts) == [8000] * 3 + [16000] * 5


ORDER = """
from itertools import islice
from toolkit.dataio.cutset import read_cutset_from_config

plain = {"manifest_filepath": [["data/nemo_train-clean-5.json", 3], ["data/yesno_train.json", 1]], "shard_seed": 7}
tars = ["tarred/audio__OP_0..31_CL_.tar", "yesno_tarred/audio_0.tar"]
shards = [["tarred/sharded_manifests/manifest__OP_0..31_CL_.json", 1], ["yesno_tarred/tarred_audio_manifest.json", 1]]
tarred = {"manifest_filepath": shards, "tarred_audio_filepaths": tars, "shuffle": True, "shard_seed": 7}
order = [[cut.id for cut in islice(read_cutset_from_config(one)[0], 60)] for one in (plain, tarred)]
"""


@pytest.mark.usefixtures("tutorial_001")
@pytest.mark.slow
def test_a_seed_decides_the_order_in_every_process() -> None:
    here: dict[str, list[list[str]]] = {}
    exec(ORDER, here)
    there = subprocess.check_output([sys.executable, "-c", f"{ORDER}\nprint(order)"], text=True)
    assert there == f"{here['order']}\n"
    assert [len(set(order)) for order in here["order"]] == [60, 60]
