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
from lhotse.testing.dummies import dummy_recording
from omegaconf import OmegaConf

from toolkit.dataio.blend import Blend, sources_of
from toolkit.dataio.config import multi_configs
from toolkit.dataio.cut_audio import load_cut
from toolkit.dataio.cutset import read_cutset_from_config
from toolkit.dataio.text_adapters import NeMoMultimodalConversation, SourceTargetTextExample


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


def test_seed_000_cells_12_to_14() -> None:
    """The data of each of its groups, as its loader reads them."""
    d = Path("_tutorial_data")
    (d / "asr_shar").mkdir(parents=True)
    cut = dummy_recording(0, duration=17.11, with_data=True).to_cut()
    cut.supervisions = [
        SupervisionSegment(id=cut.id, recording_id=cut.id, start=0.0, duration=cut.duration, text="Welcome to Lhotse!")
    ]
    cut.context = "Repeat after me"
    CutSet([cut.save_audio(d / "rec.flac")]).to_shar(d / "asr_shar", fields={"recording": "flac"})
    (d / "src.txt").write_text("A")
    (d / "tgt.txt").write_text("B")
    save_to_jsonl(
        [
            {
                "id": "convo-1",
                "conversations": [
                    {"from": "user", "value": "tell me what you hear", "type": "text"},
                    {"from": "user", "value": str(d / "rec.flac"), "duration": cut.duration, "type": "audio"},
                    {"from": "assistant", "value": "somebody just welcomed me to a himalayan mountain", "type": "text"},
                ],
            }
        ],
        d / "conv.jsonl",
    )
    buffers = {"concurrent_bucketing": False, "bucket_buffer_size": 50, "shuffle_buffer_size": 50}
    cfg = OmegaConf.create(
        {
            "multi_config": True,
            "sampler_fusion": "round_robin",
            "shuffle": True,
            "num_workers": 0,
            "seed": 0,
            "shard_seed": "trng",
            "asr": {
                "input_cfg": [{"type": "lhotse_shar", "shar_path": d / "asr_shar"}],
                "min_duration": 0.5,
                "max_duration": 40,
                "use_bucketing": True,
                "bucket_duration_bins": [5, 10, 20, 40],
                "bucket_batch_size": [4, 3, 2, 1],
                "prompt_format": "llama2",
                **buffers,
            },
            "nmt": {
                "input_cfg": [{"type": "txt_pair", "source_paths": d / "src.txt", "target_paths": d / "tgt.txt"}],
                "use_multimodal_sampling": True,
                "min_tokens": 1,
                "max_tokens": 32,
                "measure_total_length": False,
                "use_bucketing": True,
                "bucket_duration_bins": [[16, 16], [16, 32], [32, 16], [32, 32]],
                "bucket_batch_size": [4, 3, 2, 1],
                "prompt_format": "llama2",
                **buffers,
            },
            "chat": {
                "input_cfg": [
                    {
                        "type": "multimodal_conversation",
                        "manifest_filepath": d / "conv.jsonl",
                        "audio_locator_tag": "[audio]",
                    }
                ],
                "use_multimodal_sampling": True,
                "min_tokens": 1,
                "max_tokens": 1024,
                "measure_total_length": True,
                "token_equivalent_duration": 0.08,
                "use_bucketing": True,
                "bucket_duration_bins": [128, 256, 512, 1024],
                "bucket_batch_size": [4, 3, 2, 1],
                "prompt_format": "llama2",
                **buffers,
            },
        }
    )
    whole, groups = multi_configs("train_ds", cfg)
    assert (whole.sampler_fusion, list(groups)) == ("round_robin", ["asr", "nmt", "chat"])
    assert {(group.shuffle, group.seed, group.shard_seed) for group in groups.values()} == {(True, 0, "trng")}
    speech, pair, conversation = (list(islice(read_cutset_from_config(group)[0], 11))[10] for group in groups.values())
    assert (speech.id, speech.duration, speech.context) == ("dummy-recording-0000_repeat10", 17.11, "Repeat after me")
    assert speech.shard_origin == Path("_tutorial_data/asr_shar/cuts.000000.jsonl.gz")
    assert (speech.recording.id, speech.recording.num_samples) == ("rec", 273760)
    assert load_cut(speech).shape == (273760,)
    assert isinstance(pair, SourceTargetTextExample)
    assert (pair.source.text, pair.target.text) == ("A", "B")
    assert isinstance(conversation, NeMoMultimodalConversation)
    assert (conversation.token_equivalent_duration, len(conversation.turns)) == (0.08, 3)
    assert conversation.list_cuts()[0].duration == 17.11


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
