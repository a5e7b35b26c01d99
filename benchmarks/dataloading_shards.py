"""The first batch of tar shards: an index and windows of pieces, beside a buffer of ten thousand members."""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import soundfile
from dataloading_audio import RATE, VOICES, sound
from dataloading_corpus import BUCKETS, CAP, CONFIG, durations
from footprint import footprint
from lhotse import AudioSource, CutSet, MonoCut, Recording
from lhotse.dataset import AudioSamples, DynamicBucketingSampler
from side_by_side import Row

from toolkit.dataio.cut_audio import load_cuts
from toolkit.dataio.indexed import Concatenated, Lines
from toolkit.dataio.line_index import LineIndex
from toolkit.dataio.sampling import BucketSampler
from toolkit.dataio.tar_index import TarIndex

BUFFER = 10_000  # members, as NeMo's configurations have


def rows(quick: bool) -> Iterator[Row]:
    """CPU time and memory until the first batch of waveforms."""
    shards, members = (4, 150) if quick else (20, 600)
    with tempfile.TemporaryDirectory() as folder:
        tars = write_shards(Path(folder), shards, members)
        scanned, ours, peer = (footprint(function, tars) for function in (first_batch, first_batch, buffered_batch))
        if not ours.answer == scanned.answer > 10 < peer.answer:
            raise ValueError("the first batches are not whole")
        about = f"first batch of {shards} shards of {members} .wav members"
        name, goals = f"shuffle buffer of {BUFFER:,} members, Lhotse", {"goal": None, "answers_equal": None}
        yield Row(about, name, ours.seconds, peer.seconds, **goals, most=3.0, note="index present")
        yield Row(f"{about}, index built first", name, scanned.seconds, peer.seconds, **goals, most=3.0)
        yield Row(f"{about}, peak memory", name, ours.megabytes, peer.megabytes, **goals, unit="MB", most=700)


def write_shards(folder: Path, shards: int, members: int) -> list[Path]:
    """Tar files ``0.tar`` and so on, each with a manifest ``0.json`` as NeMo writes them."""
    lengths = durations(VOICES).tolist()
    voices = [encoded(number, round(length * RATE)) for number, length in enumerate(lengths)]
    for shard in range(shards):
        with tarfile.open(folder / f"{shard}.tar", "w") as tar, (folder / f"{shard}.json").open("w") as manifest:
            for number in range(members):
                voice = (shard + number) % VOICES
                header = tarfile.TarInfo(f"{shard}-{number}.wav")
                header.size = len(voices[voice])
                tar.addfile(header, io.BytesIO(voices[voice]))
                manifest.write(json.dumps({"audio_filepath": header.name, "duration": lengths[voice]}) + "\n")
        for file in folder.glob(f"{shard}.*"):
            os.utime(file, (time.time() - 60,) * 2)  # an index of a file of this moment is not kept
    return [folder / f"{shard}.tar" for shard in range(shards)]


def encoded(seed: int, samples: int) -> bytes:
    """A .wav file."""
    file = io.BytesIO()
    soundfile.write(file, sound(seed, samples), RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def make_cut(name: str, length: float, audio: bytes) -> MonoCut:
    """The cut of a member, which is in memory."""
    recording = Recording(name, [AudioSource("memory", [0], audio)], RATE, round(length * RATE), length)
    return MonoCut(name, 0.0, length, 0, [], recording=recording)


def first_batch(tars: Sequence[Path]) -> int:
    """Utterances of our first batch, from the paths."""
    source = Concatenated([shard(tar) for tar in tars])
    _, numbers = next(iter(BucketSampler.of(source, CONFIG)))
    return len(load_cuts([source[number] for number in numbers])[0])


def shard(path: Path) -> Lines[MonoCut]:
    """The cuts of one tar file and its manifest."""
    lines, tar = LineIndex.of(path.with_suffix(".json"), seconds, "seconds"), TarIndex.of(path)
    return Lines(lines, partial(read_member, tar), tar.pieces(len(lines)))


def seconds(line: bytes) -> float:
    """Of a line of the manifest."""
    return json.loads(line)["duration"]


def read_member(tar: TarIndex, line: bytes) -> MonoCut:
    """The cut of a line of the manifest."""
    entry = json.loads(line)
    return make_cut(entry["audio_filepath"], entry["duration"], tar.read(entry["audio_filepath"]))


def buffered_batch(tars: Sequence[Path]) -> int:
    """Utterances of the first batch that Lhotse makes of a buffer."""
    cuts = CutSet(Stream(tars)).shuffle(buffer_size=BUFFER)
    sampler = DynamicBucketingSampler(
        cuts, max_duration=CAP, num_buckets=BUCKETS, shuffle=True, seed=0, rank=0, world_size=1
    )
    return len(AudioSamples()(next(iter(sampler)))[0])


class Stream:
    """Tar files from the first member to the last, as NeMo's iterator reads them."""

    def __init__(self, tars: Sequence[Path]) -> None:
        self.tars = tars

    def __iter__(self) -> Iterator[MonoCut]:
        for path in self.tars:
            entries = map(json.loads, path.with_suffix(".json").read_text().splitlines())
            lengths = {entry["audio_filepath"]: entry["duration"] for entry in entries}
            with tarfile.open(path, "r|") as tar:
                for member in tar:
                    yield make_cut(member.name, lengths[member.name], tar.extractfile(member).read())
