"""Lhotse's own manifests and shards, any cut of which can be read at once."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lhotse import CutSet, Recording
from lhotse.cut import Cut, MixedCut
from lhotse.serialization import deserialize_item
from lhotse.shar.utils import fill_shar_placeholder

from toolkit.dataio.indexed import Indexed, Lines, Listed
from toolkit.dataio.line_index import LineIndex
from toolkit.dataio.nemo_adapters import expand_sharded_filepaths
from toolkit.dataio.shards import Shards
from toolkit.dataio.tar_members import member_at, tar_index
from toolkit.dataio.unpacked import unpacked
from toolkit.dataio.utterances import locate
from toolkit.errors import ConfigError, ManifestError


def read_cuts(path: str | Path) -> Indexed[Cut]:
    """Cuts of a file: JSONL, which may be compressed, line by line; other formats of Lhotse's are read whole.

    Relative paths are of the working folder, else of the manifest's.

    Raises
    ------
    ManifestError
        There is no such file, or it is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise ManifestError(f"{path}: no such file of cuts")
    if ".jsonl" in path.suffixes:
        return Lines(_index(path), partial(_build, path.parent))
    try:
        return Listed([_resolved(cut, path.parent) for cut in CutSet.from_file(path)], lambda cut: cut.duration)
    except Exception as error:  # Lhotse raises whatever its readers of a dozen formats raise
        raise ManifestError(f"{path}: cannot be read as cuts ({error})") from error


def _index(path: Path, *, beside: bool = True) -> LineIndex:
    return LineIndex.of(unpacked(path), _seconds, name="lhotse seconds", beside=beside)


def _seconds(line: bytes) -> float | None:
    return _duration(json.loads(line)) if line.strip() else None


def _duration(data: Any) -> float:
    if not isinstance(data, dict):
        raise TypeError(f"expected a JSON object, not a {type(data).__name__}")
    if "tracks" in data:
        return max(float(track.get("offset", 0.0)) + _duration(track["cut"]) for track in data["tracks"])
    return float(data["duration"])


def _build(folder: Path, line: bytes) -> Cut:
    return _resolved(_cut(line), folder)


def _cut(line: bytes) -> Cut:
    data = json.loads(line)
    _duration(data)  # Lhotse takes any
    try:
        return deserialize_item(data)
    except Exception as error:  # whatever Lhotse raises
        raise ManifestError(f"cannot be read as a cut ({error})") from error


def _deserialize(line: bytes) -> Any:
    return deserialize_item(json.loads(line))


@functools.lru_cache(maxsize=256)
def _lines(file: str) -> LineIndex:
    return LineIndex.of(unpacked(file), lambda _: 0.0, name="lines", beside=False)


def _resolved(cut: Cut, folder: Path) -> Cut:
    """The cut itself, with its files found."""
    for part in [track.cut for track in cut.tracks] if isinstance(cut, MixedCut) else [cut]:
        if getattr(part, "recording", None) is not None:
            for source in part.recording.sources:
                if source.type == "file":
                    source.source = locate(source.source, folder)
        if getattr(part, "features", None) is not None and isinstance(part.features.storage_path, str):
            part.features.storage_path = locate(part.features.storage_path, folder)
    return cut


def read_shar(fields: Mapping[str, Sequence[str]], **order: Any) -> Iterable[Cut]:
    """Cuts of Lhotse's shards: the files of each field, among them ``cuts``.

    Files that are there, and whose tars are not compressed, are indexed; all others are streams, as Lhotse reads them.

    Parameters
    ----------
    order
        Of the shards in an iteration: ``shuffle``, ``seed`` and ``slice_length``; see :class:`Shards`.
    """
    files = [file for paths in fields.values() for file in paths]
    if not all(Path(file).is_file() and file.endswith((".tar", ".jsonl", ".jsonl.gz")) for file in files):
        order = {"shuffle_shards": order["shuffle"], "seed": order["seed"], "slice_length": order["slice_length"]}
        return CutSet.from_shar(fields=fields, **order).data
    shards = [dict(zip(fields, paths, strict=True)) for paths in zip(*fields.values(), strict=True)]
    largest = [max(shard.values(), key=lambda file: Path(file).stat().st_size) for shard in shards]
    return Shards([SharShard(shard) for shard in shards], stored_in=largest, **order)


def shar_fields(path: str | Path | Mapping[str, Any], *, metadata_only: bool) -> dict[str, list[str]]:
    """The files of each field of a folder, or of a mapping of fields to patterns of files.

    Raises
    ------
    ConfigError
        There is no such folder, no cuts, or not as many files of one field as of another.
    """
    if isinstance(path, Mapping):
        fields = {name: expand_sharded_filepaths(files) for name, files in path.items()}
    else:
        fields = {}
        for file in sorted(Path(path).glob("*.*")):
            fields.setdefault(file.name.split(".")[0], []).append(str(file))
    if "cuts" not in fields:
        raise ConfigError(f"shar_path: {path}: no folder with cuts.*.jsonl.gz, and no mapping with 'cuts'")
    if metadata_only:
        fields = {"cuts": fields["cuts"]}
    counts = {name: len(files) for name, files in fields.items()}
    if len(set(counts.values())) > 1:
        raise ConfigError(f"shar_path: {path}: not as many files of each field: {counts}")
    return fields


class SharShard(Indexed[Cut]):
    """The cuts of one shard, each with its recording, features and other fields.

    Recordings are read when they are asked for, everything else with the cut.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        self.origin = Path(files["cuts"])
        self.cuts = Lines(_index(self.origin, beside=False), _cut)
        self.lengths = self.cuts.lengths
        self.fields = {name: file for name, file in files.items() if name != "cuts"}

    def __getitem__(self, number: int) -> Cut:
        cut = self.cuts[number]
        for name, file in self.fields.items():
            value = self._text(name, file, number) if ".jsonl" in Path(file).suffixes else self._data(file, number, cut)
            if value is not None:
                setattr(cut, name, value)
        cut.shard_origin = self.origin
        return cut

    def _text(self, name: str, file: str, number: int) -> Any:
        lines = _lines(file)
        if len(lines) != len(self):
            raise ManifestError(f"{file}: holds {len(lines)} examples, but {self.origin} has {len(self)} cuts")
        return json.loads(lines.read(number)).get(name)

    def _data(self, file: str, number: int, cut: Cut) -> Any:
        """What a pair of members describes: the data, then its manifest; None where the cut has no such field."""
        index, place = tar_index(file, beside=False), 2 * number + 1
        described = index.find(f"{cut.id}.json", near=place)
        if described is None:
            if index.find(f"{cut.id}.nometa") is not None:
                return None
            raise ManifestError(f"{file}: has no member {cut.id}.json for cut {cut.id!r} of {self.origin}")
        manifest = _deserialize(member_at(index, described, cut.id).read())
        data = member_at(index, described - 1, cut.id)
        if isinstance(manifest, Recording):
            manifest.sources = [replace(data, channels=manifest.sources[0].channels)]
        else:
            kinds = [kind for kind in (".llc", ".npy") if index.find(cut.id + kind, near=described) == described - 1]
            fill_shar_placeholder(manifest, data.read(), cut.id + kinds[0])
        return manifest
