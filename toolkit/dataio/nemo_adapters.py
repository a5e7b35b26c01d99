"""NeMo's manifests as Lhotse cuts, under NeMo's names.

A line of a manifest is ``{"audio_filepath": "an4/a.flac", "duration": 2.3, "text": "YES"}``, possibly with ``lang``,
``speaker``, ``sampling_rate`` (which saves opening the file), ``offset``, where in the file the utterance begins, and
``id``, in the place of which NeMo has the path.
All fields are in the ``custom`` of the cut. Lines marked ``_skipme`` are no utterances.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lhotse import AudioSource
from lhotse.cut import Cut

from toolkit.dataio.containers import AudioInfo, read_header
from toolkit.dataio.indexed import Lines, Selected
from toolkit.dataio.line_index import LineIndex
from toolkit.dataio.manifest_entries import Folders
from toolkit.dataio.shards import Shards
from toolkit.dataio.tar_members import TarMember, find_member
from toolkit.dataio.utterances import NOMINAL_RATE, Utterance, file_source, locate
from toolkit.errors import ConfigError, ManifestError

logger = logging.getLogger(__name__)

Paths = str | Path | Sequence[str | Path]

AUDIO_FIELDS = ("audio_filepath", "audio_file", "audio_filename")

# NeMo's brackets for shells and option parsers that give braces a meaning; only ranges: (copy) is part of a name.
_OTHER_BRACKETS = re.compile(r"(?:_OP_|[(\[<])(\d+\.\.\d+)(?:_CL_|[)\]>])")
# The first innermost group: {0..31}, {1..9..2} or {dev,test}; {data_root} is not one.
_GROUP = re.compile(r"\{(\d+)\.\.(\d+)(?:\.\.([1-9]\d*))?\}|\{([^{}]*,[^{}]*)\}")


def expand_sharded_filepaths(sharded_filepaths: str | Path | Sequence[str | Path]) -> list[str]:
    """The files that one pattern or several stand for, in order.

    ``{0..31}``, ``_OP_0..31_CL_``, ``(0..31)``, ``[0..31]`` and ``<0..31>`` are ranges, zero-padded as their ends are
    (``{000..127}``), and ``{dev,test}`` is a choice.

    Raises
    ------
    ConfigError
        No text, or a list of something else.
    """
    if isinstance(sharded_filepaths, (str, Path)):
        # Of nested groups the inner one is expanded first, and repeats what stands beside it.
        return list(dict.fromkeys(_expand(_OTHER_BRACKETS.sub(r"{\1}", str(sharded_filepaths)))))
    if not isinstance(sharded_filepaths, Sequence) or not all(
        isinstance(one, (str, Path)) for one in sharded_filepaths
    ):
        raise ConfigError(
            f"expected a path such as shard_{{0..31}}.jsonl or a list of paths, not {sharded_filepaths!r}"
        )
    return [path for one in sharded_filepaths for path in expand_sharded_filepaths(one)]


def _expand(pattern: str) -> Iterator[str]:
    group = _GROUP.search(pattern)
    if group is None:
        yield pattern
        return
    first, last, step, choices = group.groups()
    values = choices.split(",") if choices is not None else _count(first, last, int(step or 1))
    for value in values:
        yield from _expand(pattern[: group.start()] + value + pattern[group.end() :])


def _count(first: str, last: str, step: int) -> Iterator[str]:
    """Numbers up or down from ``first`` to ``last``, as wide as the wider of the two when either is zero-padded."""
    padded = any(end.startswith("0") and len(end) > 1 for end in (first, last))
    width = max(len(first), len(last)) if padded else 0
    up = int(first) <= int(last)
    numbers = range(int(first), int(last) + (1 if up else -1), step if up else -step)
    return (str(number).zfill(width) for number in numbers)


@dataclass(frozen=True)
class NeMoFields:
    """Where a manifest keeps what, where ``{data_root}`` of its paths is, and whether its audio is there at all."""

    text_field: str = "text"
    lang_field: str = "lang"
    metadata_only: bool = False
    data_root: str | None = None


class LazyNeMoIterator(Shards):
    """Cuts of NeMo manifests, whose audio is in files.

    Paths are of the working folder, else of the manifest's; or they begin with ``{data_root}``, as SpeechBrain's may.

    Parameters
    ----------
    path
        A manifest, a pattern of such, or a list.
    fields
        Where they keep what.
    order
        Of the manifests in an iteration; see :class:`Shards`.
    """

    def __init__(self, path: Paths, fields: NeMoFields | None = None, **order: Any) -> None:
        manifests = [Path(one) for one in expand_sharded_filepaths(path)]
        fields = fields or NeMoFields()
        folders = [Folders.of(manifest, fields.data_root) for manifest in manifests]
        builders = [_Builder(fields, partial(_file, one)) for one in folders]
        pairs = zip(manifests, builders, strict=True)
        super().__init__([Lines(_index(manifest), build) for manifest, build in pairs], **order)


class LazyNeMoTarredIterator(Shards):
    """Cuts of NeMo manifests, whose audio is in tar files.

    Parameters
    ----------
    manifest_path, tar_paths
        As many manifests as tars; or one manifest, whose ``shard_id`` are the numbers in the names of the tars.
    fields
        Where the manifests keep what.
    skip_missing
        Leave out, and count, entries without a member of their tar; else they are an error once they are read.
    order
        Of the tars in an iteration; see :class:`Shards`.
    """

    def __init__(
        self,
        manifest_path: Paths,
        tar_paths: Paths,
        fields: NeMoFields | None = None,
        *,
        skip_missing: bool = False,
        **order: Any,
    ) -> None:
        manifests, tars = expand_sharded_filepaths(manifest_path), expand_sharded_filepaths(tar_paths)
        if len(manifests) not in (1, len(tars)):
            counts = f"{len(tars)} tars for {len(manifests)} manifests"
            raise ConfigError(f"tarred_audio_filepaths: {counts}; expected as many, or one manifest")
        parts = _parts(manifests, tars)
        if skip_missing:
            parts = [(index, _present(index, numbers, tar)) for (index, numbers), tar in zip(parts, tars, strict=True)]
        fields = fields or NeMoFields()
        super().__init__(
            [
                Selected(Lines(index, _Builder(fields, partial(_member, tar))), numbers)
                for (index, numbers), tar in zip(parts, tars, strict=True)
            ],
            stored_in=tars,
            **order,
        )


class _Builder:
    """From a line of a manifest to a cut, whose audio ``find`` finds."""

    def __init__(self, fields: NeMoFields, find: Callable[[str], AudioSource]) -> None:
        self.fields, self.find = fields, find

    def __call__(self, line: bytes) -> Cut:
        entry = _entry(line)
        name, length, offset = _audio_field(entry), float(entry["duration"]), entry.get("offset")
        source = self.find(name)
        part = name if offset is None else f"{name}-{round(offset * 100):06d}-{round(length * 100):06d}"
        utterance = Utterance(
            str(entry.get("id", part)),
            source,
            self._info(entry, source),
            start=offset or 0.0,
            length=length,
            text=entry.get(self.fields.text_field),
            speaker=entry.get("speaker"),
            language=entry.get(self.fields.lang_field),
            custom=entry,
        )
        return utterance.cut()

    def _info(self, entry: dict[str, Any], source: AudioSource) -> AudioInfo:
        """What the entry says of its audio; where that goes on after the utterance, what its header says."""
        rate, offset = entry.get("sampling_rate"), entry.get("offset")
        if self.fields.metadata_only or (rate and offset is None):
            rate = rate or NOMINAL_RATE
            return AudioInfo(rate, round((float(entry["duration"]) + (offset or 0.0)) * rate))
        return source.probe() if isinstance(source, TarMember) else read_header(source.source)


def _index(manifest: str | Path) -> LineIndex:
    """Seconds and number of the shard of each line."""
    return LineIndex.of(manifest, _measure, name="nemo seconds and shard")


def _measure(line: bytes) -> tuple[float, float] | None:
    line = line.strip()
    if not line:
        return None
    entry = _entry(line)
    return None if entry.get("_skipme") else (float(entry["duration"]), float(entry.get("shard_id", math.nan)))


def _entry(line: bytes) -> dict[str, Any]:
    """What a line says, which is an utterance or to be skipped."""
    entry = json.loads(line)
    if not isinstance(entry, dict):
        raise TypeError(f"expected a JSON object, not a {type(entry).__name__}")
    if entry.get("_skipme"):
        return entry
    _audio_field(entry)
    if not 0 < float(entry["duration"]) < math.inf:
        raise ValueError(f"'duration' is {entry['duration']!r}; expected seconds above 0")
    return entry


def _audio_field(entry: dict[str, Any]) -> str:
    name = next((entry[field] for field in AUDIO_FIELDS if field in entry), None)
    if name is None:
        raise KeyError(AUDIO_FIELDS[0])
    return str(name)


def _file(folders: Folders, name: str) -> AudioSource:
    return file_source(locate(folders.rooted(name), folders.own))


def _member(tar: str, name: str) -> TarMember:
    """The member of that name; NeMo puts a file that several utterances are of into the tar once, without ``-sub1``."""
    member = _find_member(tar, name)
    if member is None:
        raise ManifestError(
            f"{tar}: has no member {name!r}, which its manifest names; make the tar again, or leave such entries out "
            "with skip_missing_manifest_entries: true"
        )
    return member


def _find_member(tar: str, name: str) -> TarMember | None:
    return find_member(tar, name) or find_member(tar, re.sub(r"-sub\d+", "", name))


def _parts(manifests: list[str], tars: list[str]) -> list[tuple[LineIndex, np.ndarray]]:
    """For each tar, its manifest and which entries of it."""
    indexes = [_index(manifest) for manifest in manifests]
    if len(tars) == len(indexes):
        return [(index, np.arange(len(index))) for index in indexes]
    (index,) = indexes
    digits = [re.findall(r"\d+", Path(tar).stem) for tar in tars]
    numbers = [float(found[-1]) if found else math.nan for found in digits]
    # Damage that is kept has no number: it is found with the first tar.
    ids = np.where(np.isnan(index.lengths), numbers[0], index.measures[:, -1])
    elsewhere = len(ids) - int(np.isin(ids, numbers).sum())
    if elsewhere == len(ids):
        raise ManifestError(f"{index.path}: no 'shard_id' is the number of one of {len(tars)} tars, such as {tars[0]}")
    if elsewhere:
        logger.warning("%s: %d of %d entries are of other tars", index.path, elsewhere, len(ids))
    return [(index, np.flatnonzero(ids == number)) for number in numbers]


def _present(index: LineIndex, numbers: np.ndarray, tar: str) -> np.ndarray:
    """The entries whose audio is in the tar."""
    names, damaged = Lines(index, lambda line: _audio_field(json.loads(line))), np.isnan(index.lengths)
    kept = numbers[[bool(damaged[number]) or _find_member(tar, names[number]) is not None for number in numbers]]
    if len(kept) < len(numbers):
        logger.warning(
            "%s: %d of %d entries have no member in %s", index.path, len(numbers) - len(kept), len(numbers), tar
        )
    return kept
