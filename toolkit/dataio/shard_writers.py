"""Shards: tar files of audio with their manifests, as NeMo and as Lhotse lay them out.

A shard is there when its manifest is: that is written last.
"""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from lhotse import AudioSource
from lhotse.cut import Cut

from toolkit.dataio.exact_audio import audio_file
from toolkit.dataio.manifest_writers import Place, cut_line, file_name, moved, nemo_line, open_text
from toolkit.files import replacing


class NeMoShard:
    """``audio_0.tar`` with a member an utterance, and ``manifest_0.json`` with a line, which has a ``shard_id``."""

    def __init__(self, number: int, tar: tarfile.TarFile, manifest: TextIO) -> None:
        self.number, self.tar, self.manifest = number, tar, manifest
        self._names: set[int] = set()

    @staticmethod
    def paths(folder: Path, number: int) -> tuple[Path, Path]:
        """The tar and the manifest."""
        return folder / f"audio_{number}.tar", folder / f"manifest_{number}.json"

    def add(self, cut: Cut) -> None:
        """Write an utterance."""
        audio = audio_file(cut)
        name = f"{file_name(cut.id)}{audio.suffix}"
        if hash(name) in self._names:  # of a blend of data sets with the same ids
            name = f"{file_name(cut.id)}%{len(self._names)}{audio.suffix}"
        self._names.add(hash(name))
        _add_member(self.tar, name, audio.content)
        self.manifest.write(nemo_line(cut, Place(name, audio.info), shard_id=self.number))


class SharShard:
    """``recording.000000.tar`` with the audio and a manifest of each utterance, and ``cuts.000000.jsonl.gz``."""

    def __init__(self, number: int, tar: tarfile.TarFile, manifest: TextIO) -> None:
        self.number, self.tar, self.manifest = number, tar, manifest

    @staticmethod
    def paths(folder: Path, number: int) -> tuple[Path, Path]:
        """The tar and the manifest."""
        return folder / f"recording.{number:06d}.tar", folder / f"cuts.{number:06d}.jsonl.gz"

    def add(self, cut: Cut) -> None:
        """Write an utterance."""
        audio = audio_file(cut)
        placed = moved(cut, AudioSource("shar", list(range(audio.info.channels)), ""), audio.info)
        _add_member(self.tar, f"{cut.id}{audio.suffix}", audio.content)
        _add_member(self.tar, f"{cut.id}.json", json.dumps(placed.recording.to_dict()).encode())
        self.manifest.write(cut_line(placed))


def _add_member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size = len(content)
    tar.addfile(header, io.BytesIO(content))


@contextlib.contextmanager
def open_shard(kind: type[NeMoShard | SharShard], folder: Path, number: int) -> Iterator[NeMoShard | SharShard]:
    """A shard to write to; its files appear at the end, and none of them after an error."""
    tar_path, manifest_path = kind.paths(folder, number)
    with (
        replacing(manifest_path) as manifest_partial,
        replacing(tar_path) as tar_partial,
        tarfile.open(tar_partial, "w") as tar,
        open_text(manifest_partial) as manifest,
    ):
        yield kind(number, tar, manifest)


SHARDS = {"nemo_tarred": NeMoShard, "lhotse_shar": SharShard}
