"""One corpus in every format: the same utterances with the same samples and words come out of each."""

from __future__ import annotations

import gc
import gzip
import io
import json
import pickle
import shutil
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile
from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.shar import LazySharIterator

from toolkit.dataio.blend import Blend, sources_of
from toolkit.dataio.cut_audio import load_cut
from toolkit.dataio.cutset import read_cutset_from_config
from toolkit.dataio.indexed import Indexed

Maker = Callable[["Corpus"], dict[str, Any]]

WORDS = ["ONE", "TWO THREE", "ÉTÉ", "FOUR", "FIVE SIX", "SEVEN", "EIGHT"]


@dataclass(frozen=True)
class Corpus:
    """Seven utterances of 0.3 to 0.9 s in a folder ``wav``."""

    folder: Path

    @property
    def names(self) -> list[str]:
        return [f"utt-{number}" for number in range(len(WORDS))]

    @property
    def said(self) -> list[tuple[str, str]]:
        return list(zip(self.names, WORDS, strict=True))

    def wav(self, name: str) -> Path:
        return self.folder / "wav" / f"{name}.flac"

    def samples(self, name: str) -> np.ndarray:
        return soundfile.read(self.wav(name), dtype="float32")[0]

    def seconds(self, name: str) -> float:
        return len(self.samples(name)) / 16000

    def write(self, path: str, lines: Iterable[str | Mapping[str, Any]]) -> str:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        texts = (line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines)
        target.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        return str(target)

    def nemo_lines(self, **fields: Any) -> list[dict[str, Any]]:
        return [
            {"audio_filepath": f"wav/{name}.flac", "duration": self.seconds(name), "text": words, **fields}
            for name, words in self.said
        ]

    def cuts(self) -> CutSet:
        path = self.write("for_cuts.jsonl", self.nemo_lines(speaker="ann"))
        cuts = read_cutset_from_config({"manifest_filepath": path})[0]
        return CutSet([cut.with_id(name) for cut, name in zip(cuts, self.names, strict=True)])


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    (tmp_path / "wav").mkdir()
    rng = np.random.default_rng(4)
    for number in range(len(WORDS)):
        noise = rng.normal(0, 0.1, 4800 + 1600 * number)
        soundfile.write(tmp_path / "wav" / f"utt-{number}.flac", noise, 16000, subtype="PCM_16")
    return Corpus(tmp_path)


def tar(path: Path, members: Mapping[str, bytes]) -> str:
    with tarfile.open(path, "w") as file:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            file.addfile(header, io.BytesIO(content))
    return str(path)


def nemo(corpus: Corpus) -> dict[str, Any]:
    return {"type": "nemo", "manifest_filepath": corpus.write("m.jsonl", corpus.nemo_lines())}


def nemo_with_rate(corpus: Corpus) -> dict[str, Any]:
    return {"type": "nemo", "manifest_filepath": corpus.write("m.jsonl", corpus.nemo_lines(sampling_rate=16000))}


def nemo_in_shards(corpus: Corpus) -> dict[str, Any]:
    lines = corpus.nemo_lines()
    corpus.write("m_0.jsonl", [*lines[:4], {"_skipme": True, "audio_filepath": "x"}])
    corpus.write("m_1.jsonl", ["", *lines[4:], ""])
    return {"type": "nemo", "manifest_filepath": str(corpus.folder / "m__OP_0..1_CL_.jsonl")}


def nemo_tarred(corpus: Corpus) -> dict[str, Any]:
    lines = [
        line | {"audio_filepath": f"{name}.flac"} for name, line in zip(corpus.names, corpus.nemo_lines(), strict=True)
    ]
    for shard in range(3):
        corpus.write(f"manifest_{shard}.json", lines[shard::3])
        members = {
            line["audio_filepath"]: (corpus.folder / "wav" / line["audio_filepath"]).read_bytes()
            for line in lines[shard::3]
        }
        tar(corpus.folder / f"audio_{shard}.tar", members)
    paths = {"manifest_filepath": f"{corpus.folder}/manifest_{{0..2}}.json"}
    return {"type": "nemo_tarred", "tarred_audio_filepaths": f"{corpus.folder}/audio__OP_0..2_CL_.tar", **paths}


def nemo_tarred_with_one_manifest(corpus: Corpus) -> dict[str, Any]:
    config = nemo_tarred(corpus)
    shards = [(corpus.folder / f"manifest_{shard}.json").read_text().splitlines() for shard in range(3)]
    lines = [json.loads(line) | {"shard_id": shard} for shard, lines in enumerate(shards) for line in lines]
    return config | {"manifest_filepath": corpus.write("tarred_audio_manifest.json", lines)}


def speechbrain_json(corpus: Corpus) -> dict[str, Any]:
    entries = {
        name: {
            "wav": "{data_root}/" + f"wav/{name}.flac",
            "length": corpus.seconds(name),
            "words": words,
            "speaker": "ann",
        }
        for name, words in corpus.said
    }
    (corpus.folder / "pretty.json").write_text(json.dumps(entries, indent=2))
    return {
        "type": "speechbrain_json",
        "manifest_filepath": str(corpus.folder / "pretty.json"),
        "data_root": str(corpus.folder),
    }


def speechbrain_csv(corpus: Corpus) -> dict[str, Any]:
    rows = [f'{name},{corpus.seconds(name)},$data_root/wav/{name}.flac,ann,"{words}"' for name, words in corpus.said]
    path = corpus.write("m.csv", ["ID,duration,wav,spk_id,wrd", *rows])
    return {"type": "speechbrain_csv", "manifest_filepath": path, "data_root": str(corpus.folder)}


def lhotse(corpus: Corpus) -> dict[str, Any]:
    corpus.cuts().to_file(corpus.folder / "cuts.jsonl.gz")
    return {"type": "lhotse", "cuts_path": str(corpus.folder / "cuts.jsonl.gz")}


def lhotse_yaml(corpus: Corpus) -> dict[str, Any]:
    corpus.cuts().to_file(corpus.folder / "cuts.yaml")
    return {"type": "lhotse", "cuts_path": str(corpus.folder / "cuts.yaml")}


def lhotse_shar(corpus: Corpus) -> dict[str, Any]:
    (corpus.folder / "shar").mkdir()
    corpus.cuts().to_shar(corpus.folder / "shar", fields={"recording": "flac"}, shard_size=3)
    return {"type": "lhotse_shar", "shar_path": str(corpus.folder / "shar")}


def kaldi(corpus: Corpus) -> dict[str, Any]:
    corpus.write("kaldi/wav.scp", [f"{name} {corpus.wav(name)}" for name in corpus.names])
    texts = [f"{name} {words}" for name, words in corpus.said]
    corpus.write("kaldi/text", reversed(texts))
    corpus.write("kaldi/utt2spk", [f"{name} ann" for name in corpus.names])
    return {"type": "kaldi", "data_dir": str(corpus.folder / "kaldi")}


def audio_folder(corpus: Corpus) -> dict[str, Any]:
    for name, words in corpus.said[:3]:
        corpus.wav(name).with_suffix(".txt").write_text(f"{words}\n", encoding="utf-8")
    corpus.write("wav/a.trans.txt", [f"{name} {words}" for name, words in corpus.said[3:]])
    return {"type": "audio_folder", "audio_dir": str(corpus.folder / "wav")}


def rows(corpus: Corpus, *, embedded: bool) -> datasets.Dataset:
    audio = [
        {"bytes": corpus.wav(name).read_bytes(), "path": None} if embedded else str(corpus.wav(name))
        for name in corpus.names
    ]
    columns = {"id": corpus.names, "audio": audio, "sentence": WORDS, "speaker": ["ann"] * len(WORDS)}
    return datasets.Dataset.from_dict(columns).cast_column("audio", datasets.Audio(sampling_rate=16000))


def hf_saved(corpus: Corpus) -> dict[str, Any]:
    rows(corpus, embedded=False).save_to_disk(corpus.folder / "hf")
    return {"type": "hf_dataset", "path": str(corpus.folder / "hf"), "text_field": "sentence"}


def hf_parquet(corpus: Corpus) -> dict[str, Any]:
    rows(corpus, embedded=True).to_parquet(corpus.folder / "rows.parquet")
    return {
        "type": "hf_dataset",
        "path": "parquet",
        "data_files": str(corpus.folder / "rows.parquet"),
        "text_field": "sentence",
    }


def hf_streaming(corpus: Corpus) -> dict[str, Any]:
    return hf_parquet(corpus) | {"streaming": True}


def name_of(cut: Cut) -> str:
    return Path(cut.id.replace(".flac", "")).name


INDEXED = [
    nemo, nemo_with_rate, nemo_in_shards, nemo_tarred, nemo_tarred_with_one_manifest, speechbrain_json, speechbrain_csv,
    lhotse, lhotse_yaml, lhotse_shar, kaldi, audio_folder, hf_saved, hf_parquet,
]  # fmt: skip
TARRED = [nemo_tarred, nemo_tarred_with_one_manifest, lhotse_shar]


@pytest.fixture(autouse=True)
def _caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf_cache"))


def check(cuts: Iterable[Cut], corpus: Corpus) -> None:
    by_name = {name_of(cut): cut for cut in cuts}
    assert sorted(by_name) == corpus.names
    for name, words in corpus.said:
        cut = by_name[name]
        np.testing.assert_array_equal(load_cut(cut).numpy(), corpus.samples(name))
        assert (cut.supervisions[0].text, cut.duration) == (words, pytest.approx(corpus.seconds(name)))
        assert (cut.sampling_rate, len(cut.supervisions)) == (16000, 1)


@pytest.mark.parametrize("make", [*INDEXED, hf_streaming], ids=lambda make: make.__name__)
def test_what_went_in_comes_out(corpus: Corpus, make: Maker) -> None:
    cuts, is_tarred = read_cutset_from_config({"input_cfg": [make(corpus)], "force_finite": True})
    assert is_tarred is (make in [*TARRED, hf_streaming])
    check(cuts, corpus)
    check(pickle.loads(pickle.dumps(cuts)), corpus)


@pytest.mark.parametrize("make", INDEXED, ids=lambda make: make.__name__)
def test_any_example_at_once_and_lengths_before_any(corpus: Corpus, make: Maker) -> None:
    config = {"input_cfg": [make(corpus)]}
    for _ in range(2):  # the second time from the caches
        source = sources_of(read_cutset_from_config(config | {"force_finite": True})[0])
        assert isinstance(source, Indexed)
        assert len(source) == len(WORDS)
        for number in (5, 0, 6):
            assert source[number].duration == pytest.approx(source.lengths[number])
        assert (source.pieces is not None) is (make in TARRED)
    endless = sources_of(read_cutset_from_config(config)[0])
    assert isinstance(endless, Blend) is (make in TARRED)


def first(config: dict[str, Any], count: int) -> tuple[str, ...]:
    """Names of the first utterances."""
    cuts = read_cutset_from_config(config)[0]
    return tuple(name_of(cut).split("_repeat")[0] for cut in islice(cuts, count))


@pytest.mark.parametrize("make", TARRED, ids=lambda make: make.__name__)
def test_shards_are_shuffled_by_their_seed_and_repeated(corpus: Corpus, make: Maker) -> None:
    config = {"input_cfg": [make(corpus)], "shuffle": True}
    orders = set()
    for seed in range(8):
        names = first(config | {"shard_seed": seed}, 21)
        assert names == first(config | {"shard_seed": seed}, 21)
        assert all(sorted(names[start : start + 7]) == corpus.names for start in (0, 7, 14))
        orders.add(names)
    assert len(orders) > 4
    assert len({first(config | {"shuffle": False}, 21) for _ in range(3)}) == 1


@pytest.mark.parametrize("make", TARRED, ids=lambda make: make.__name__)
def test_a_slice_of_each_shard(corpus: Corpus, make: Maker) -> None:
    config = {"input_cfg": [make(corpus)], "slice_length": 2}
    counts, choices = ((2, 2, 1), 4) if make is lhotse_shar else ((2, 2, 2), 2)
    drawn = {first(config, sum(counts)) for _ in range(40)}
    assert len(drawn) == choices
    assert {name for names in drawn for name in names} == set(corpus.names)
    # A pass that ends gives all of each.
    assert sorted(first(config | {"force_finite": True}, 8)) == corpus.names


@pytest.mark.parametrize("make", [nemo, nemo_tarred, lhotse, lhotse_shar, kaldi], ids=lambda make: make.__name__)
def test_metadata_without_audio(corpus: Corpus, make: Maker) -> None:
    config = {"input_cfg": [make(corpus)], "metadata_only": True}
    if make is kaldi:
        corpus.write("kaldi/reco2dur", [f"{name} {corpus.seconds(name)}" for name in corpus.names])
    shutil.rmtree(corpus.folder / "wav")
    for tar_file in corpus.folder.rglob("*.tar"):
        tar_file.unlink()
    cuts = read_cutset_from_config(config)[0]
    assert sorted((name_of(cut), cut.supervisions[0].text) for cut in cuts) == corpus.said
    assert sorted(cut.duration for cut in cuts) == pytest.approx([0.3 + 0.1 * number for number in range(7)])


def test_lengths_of_cuts_that_lhotse_joined(corpus: Corpus) -> None:
    first, second, *_ = corpus.cuts()
    joined = [first.pad(2.0), first.append(second), second.mix(first.perturb_speed(0.9), offset_other_by=0.3), first]
    CutSet(joined).to_file(corpus.folder / "joined.jsonl")
    source = sources_of(read_cutset_from_config({"cuts_path": str(corpus.folder / "joined.jsonl")})[0])
    np.testing.assert_allclose(source.lengths, [cut.duration for cut in joined])
    assert [cut.id for cut in source] == [cut.id for cut in joined]


# Lhotse leaves its files open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_lhotse_itself_can_still_read_a_folder_that_was_indexed(corpus: Corpus) -> None:
    config = lhotse_shar(corpus)
    assert len(first({"input_cfg": [config]}, 7)) == 7
    assert len(list(LazySharIterator(in_dir=config["shar_path"]))) == 7
    gc.collect()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_what_lhotse_alone_can_read_is_a_stream(corpus: Corpus) -> None:
    folder = Path(lhotse_shar(corpus)["shar_path"])
    for path in sorted(folder.glob("*.tar")):
        path.with_suffix(".tar.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    fields = {
        "cuts": f"{folder}/cuts.{{000000..000002}}.jsonl.gz",
        "recording": f"{folder}/recording.{{000000..000002}}.tar.gz",
    }
    item = {"type": "lhotse_shar", "shar_path": fields}
    cuts, is_tarred = read_cutset_from_config({"input_cfg": [item], "force_finite": True})
    assert is_tarred
    assert not isinstance(sources_of(cuts), Indexed)
    check(cuts, corpus)
    gc.collect()


@pytest.mark.parametrize("layout", ["nemo", "speechbrain", "lhotse"])
def test_a_line_of_a_manifest_takes_a_few_bytes_of_memory(corpus: Corpus, layout: str) -> None:
    """A place, a size and a few numbers are kept: a million lines are 50 MB, however long they are."""
    count, text = 2000, "WORD " * 100
    if layout == "nemo":
        line = corpus.nemo_lines()[0] | {"text": text}
        path = corpus.write("long.jsonl", [line] * count)
    elif layout == "speechbrain":
        entry = json.dumps({"wav": "wav/utt-0.flac", "length": corpus.seconds("utt-0"), "words": text})
        path = corpus.write("long.json", ["{", ",\n".join(f'"u{number}": {entry}' for number in range(count)), "}"])
    else:
        (cut, *_) = corpus.cuts()
        cut.supervisions[0].text = text
        CutSet([cut.with_id(f"u{number}") for number in range(count)]).to_file(corpus.folder / "long.jsonl.gz")
        path = str(corpus.folder / "long.jsonl.gz")
    cuts = read_cutset_from_config({"cuts_path" if layout == "lhotse" else "manifest_filepath": path})[0]
    assert len(cuts) == count
    assert cuts[count - 1].supervisions[0].text.strip() == text.strip()
    assert len(pickle.dumps(cuts)) < 60 * count
