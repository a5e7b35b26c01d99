"""Members of tar files by name, and epochs over shards that read each piece once."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import Dataset

from toolkit.dataio import index_cache
from toolkit.dataio.config import DataConfig
from toolkit.dataio.epochs import EpochLoader
from toolkit.dataio.indexed import Concatenated, Lines
from toolkit.dataio.line_index import LineIndex
from toolkit.dataio.sampling import BucketSampler
from toolkit.dataio.tar_index import TarIndex
from toolkit.errors import DataError, ManifestError


def write_tar(path: Path, members: dict[str, bytes], tar_format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=tar_format) as tar:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    os.utime(path, (time.time() - 10,) * 2)
    return path


MEMBERS = {"a.wav": b"a" * 700, "folder/b.wav": b"", "x" * 150 + "é.wav": b"long name", "c.wav": b"c" * 512}


@pytest.mark.parametrize("tar_format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_members_by_name(tmp_path: Path, tar_format: int) -> None:
    path = write_tar(tmp_path / "a.tar", MEMBERS, tar_format)
    for index in (TarIndex.of(path), TarIndex.of(path), pickle.loads(pickle.dumps(TarIndex.of(path)))):
        assert len(index) == 4
        assert {name: index.read(name) for name in MEMBERS} == MEMBERS
    with pytest.raises(DataError, match=r"a\.tar: no member 'd\.wav'; make the shards again"):
        TarIndex.of(path).read("d.wav")


def test_the_second_time_no_header_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tar(tmp_path / "a.tar", MEMBERS)
    TarIndex.of(path)
    monkeypatch.setattr(tarfile, "open", None)
    assert TarIndex.of(path).read("c.wav") == MEMBERS["c.wav"]
    index_cache._places(path, "members")[0].write_bytes(b"512 700\n")
    with pytest.raises(TypeError):
        TarIndex.of(path)


def test_no_whole_tar_file(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "a.tar", MEMBERS).read_bytes()
    for content in (whole[:900], b"no tar at all" * 100):
        (tmp_path / "b.tar").write_bytes(content)
        with pytest.raises(DataError, match=r"b\.tar: not a whole tar file without compression"):
            TarIndex.of(tmp_path / "b.tar")
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "a.tar", "a")
    with pytest.raises(DataError, match="without compression"):
        TarIndex.of(tmp_path / "c.tar.gz")
    with pytest.raises(ManifestError, match="No such file"):
        TarIndex.of(tmp_path / "d.tar")
    assert len(TarIndex.of(write_tar(tmp_path / "empty.tar", {}))) == 0


def seconds(line: bytes) -> float:
    return json.loads(line)["duration"]


def build(line: bytes, tar: TarIndex) -> tuple[str, bytes]:
    name = json.loads(line)["audio_filepath"]
    return name, tar.read(name)


CONFIG = DataConfig.from_hparams("d", {"manifest_filepath": "a", "batch_duration": 20, "num_buckets": 5})


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Concatenated:
    """Twenty shards of sixty members, each of which has about six pieces."""
    monkeypatch.setattr("toolkit.dataio.tar_index.PIECE_BYTES", 10 * 1024)
    sources = []
    for shard in range(20):
        members = {f"{shard}/{number}.wav": bytes([number]) * (200 + number) for number in range(60)}
        tar = TarIndex.of(write_tar(tmp_path / f"{shard}.tar", members))
        manifest = tmp_path / f"{shard}.json"
        entries = [{"audio_filepath": name, "duration": len(content) / 100} for name, content in members.items()]
        manifest.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
        lines = LineIndex.of(manifest, seconds, "seconds")
        sources.append(Lines(lines, partial(build, tar=tar), tar.pieces(len(lines))))
    return Concatenated(sources)


class Names(Dataset):
    """The members of a batch, which workers read."""

    def __init__(self, source: Concatenated) -> None:
        self.source = source

    def __getitem__(self, drawn: tuple[int, list[int]]) -> list[str]:
        epoch, numbers = drawn
        return [f"{epoch}:{self.source[number][0]}" for number in numbers]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_over_shards_is_entered_anywhere(shards: Concatenated, workers: int) -> None:
    samplers = [BucketSampler.of(shards, CONFIG, rank=1, world_size=2) for _ in range(2)]
    whole = [f"1:{shards[number][0]}" for number in range(len(shards))]
    samplers[0].seek(1)
    expected = [[whole[number] for number in batch] for _, batch in samplers[0]]
    loader = EpochLoader(Names(shards), samplers[1], num_workers=workers)
    loader.seek(1, batches=7)
    assert list(loader) == expected[7:]


def test_an_epoch_over_shards(shards: Concatenated, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(
        "toolkit.dataio.tar_index.read_ahead", lambda path, start, size: read.append((path, start, size))
    )
    pieces = len(np.unique(shards.pieces))
    assert pieces > 32 * 2
    batches = [numbers for _, numbers in BucketSampler.of(shards, CONFIG)]
    examples = [shards[number] for batch in batches for number in batch]
    assert sorted(name for name, _ in examples) == sorted(f"{one}/{two}.wav" for one in range(20) for two in range(60))
    assert all(content[0] == int(name.split("/")[1].split(".")[0]) for name, content in examples)
    assert len(read) < 1.3 * pieces  # each once, but for the members that lie across two
    shards_of_a_window = {number // 60 for batch in batches[: len(batches) // 4] for number in batch}
    assert len(shards_of_a_window) > 10
