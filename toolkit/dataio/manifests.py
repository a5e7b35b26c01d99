"""Manifests: the contract between data preparation and training.

A manifest is a JSON object, one utterance a line where we write it::

    {
    "an251-fash-b": {"wav": "{data_root}/wav/an4_clstk/fash/an251-fash-b.flac", "length": 1.1, "words": "YES",
                     "speaker": "fash", "sample_rate": 16000, "num_samples": 17600},
    ...
    }

or a CSV file of SpeechBrain's, whose columns ``ID``, ``duration``, ``wrd`` and ``spk_id`` are the same things by other
names. :mod:`toolkit.dataio.manifest_entries` says what the fields mean. ``{data_root}`` stands for the folder named in
``data_root.txt`` beside the manifest, so that a corpus can move without its manifests.

When a manifest of one utterance a line is first read, every line is checked and its place remembered; later, only the
lines that are asked for are read. A JSON file of another layout is read whole.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.dataio.containers import AudioInfo
from toolkit.dataio.indexed import Indexed, Listed, Mapped
from toolkit.dataio.line_index import LineIndex, damaged, keeps_damage
from toolkit.dataio.manifest_entries import OPTIONAL, REQUIRED, ROOT_FILE, Folders, audio_info, check_entry
from toolkit.dataio.manifest_layouts import CsvLayout, Entry, JsonLayout, OtherLayoutError
from toolkit.errors import ManifestError
from toolkit.files import write_atomically

if TYPE_CHECKING:
    from lhotse import CutSet
    from lhotse.cut import Cut


def read_manifest(path: str | Path, data_root: str | Path | None = None, *, prepare_hint: str | None = None) -> CutSet:
    """Cuts of a manifest, one for each utterance, in its order, with ids, words and speakers.

    Parameters
    ----------
    path
        The JSON or CSV file.
    data_root
        What ``{data_root}`` stands for; by default the content of ``data_root.txt`` beside the manifest.
    prepare_hint
        The command that makes the manifest, for the message when it is missing.

    Raises
    ------
    ManifestError
        Names the file, the utterance and the field of the first damage; within
        :func:`~toolkit.dataio.line_index.damage_kept`, when the damaged utterance is asked for.
    """
    from lhotse import CutSet  # with torch it takes three seconds: preparing a corpus does without

    path = Path(path)
    if not path.exists():
        raise ManifestError(f"{path}: no such manifest; make it with: {prepare_hint or _guess_hint(path)}")
    source = _source(path, Folders.of(path, data_root))
    if not len(source):
        raise ManifestError(f"{path}: the manifest holds no utterance")
    if not keeps_damage():
        # An index says nothing of the audio: where that has moved, most likely all of it has.
        source[0], source[len(source) - 1]
    return CutSet(source)


def write_manifest(
    path: str | Path, utterances: Mapping[str, Mapping[str, Any]], data_root: str | Path | None = None
) -> None:
    """A manifest at ``path``, whole or not at all, after the same checks as reading it.

    ``data_root`` is remembered in ``data_root.txt`` beside it; all manifests of a folder share it.
    """
    path = Path(path)
    folders = Folders.of(path, data_root)
    if not utterances:
        raise ManifestError(f"{path}: the manifest holds no utterance")
    with _naming(path):
        for name, entry in utterances.items():
            check_entry(name, entry)
            folders.find(name, entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    if data_root is not None:
        write_atomically(path.parent / ROOT_FILE, f"{Path(data_root).resolve()}\n")
    lines = (f"{json.dumps(name)}: {json.dumps(entry, ensure_ascii=False)}" for name, entry in utterances.items())
    write_atomically(path, "{\n" + ",\n".join(lines) + "\n}\n")


def _guess_hint(path: Path) -> str:
    """The command of the preparation script in the working folder: a recipe is run from inside its own."""
    scripts = sorted(Path().glob("*_prepare.py"))
    return f"python {scripts[0] if scripts else '<dataset>_prepare.py'} DATA_FOLDER {path.parent}"


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors of utterances name their manifest."""
    try:
        yield
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}") from error


def _source(path: Path, folders: Folders) -> Indexed[Cut]:
    try:
        layout = (CsvLayout if path.suffix.lower() == ".csv" else JsonLayout)(path)
        layout.check_end()
        return _Lines(path, layout, folders)
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror})") from error
    except OtherLayoutError:
        with _naming(path):
            entries = layout.whole()
            if keeps_damage():
                return Mapped(Listed(list(entries), _length), partial(_checked_cut, path, folders))
            return _listed(entries, folders)


class _Lines(Indexed["Cut"]):
    """Utterances of one line each."""

    def __init__(self, path: Path, layout: JsonLayout | CsvLayout, folders: Folders) -> None:
        self.index = LineIndex.of(path, _Measure(layout, folders), layout.name)
        self.layout, self.folders = layout, folders
        self.lengths = self.index.lengths

    def __getitem__(self, number: int) -> Cut:
        line = self.index.read(number)
        try:
            name, entry = self.layout.parse(line)
        except ValueError as error:
            raise damaged(self.index.where(number), line, error) from error
        if np.isnan(self.lengths[number]):
            return _checked_cut(self.index.path, self.folders, (name, entry))
        info = AudioInfo(*self.index.measures[number, 1:].astype(int).tolist())
        with _naming(self.index.path):
            return _cut(name, entry, info, self.folders.find(name, entry))


class _Measure:
    """Seconds, rate, samples and channels of the utterance of a line, which is checked and may not come again."""

    def __init__(self, layout: JsonLayout | CsvLayout, folders: Folders) -> None:
        self.layout, self.folders = layout, folders
        self.seen: set[int] = set()

    def __call__(self, line: bytes) -> tuple[float, ...] | None:
        parsed = self.layout.parse_next(line)
        if parsed is None:
            return None
        name, entry = parsed
        if hash(name) in self.seen:
            raise _twice(name)
        self.seen.add(hash(name))
        check_entry(name, entry)
        info = audio_info(name, entry, self.folders.find(name, entry))
        return info.length, info.sample_rate, info.num_samples, info.channels


def _listed(entries: Iterable[Entry], folders: Folders) -> Listed[Cut]:
    """Utterances of a manifest that is read whole."""
    cuts: dict[str, Cut] = {}
    for name, entry in entries:
        if name in cuts:
            raise _twice(name)
        cuts[name] = _checked(name, entry, folders)
    return Listed(list(cuts.values()), lambda cut: cut.duration)


def _length(named: Entry) -> float:
    """Seconds that an entry says; NaN where it is damaged."""
    try:
        check_entry(*named)
    except ManifestError:
        return math.nan
    return named[1]["length"]


def _checked_cut(path: Path, folders: Folders, named: Entry) -> Cut:
    """The utterance of an entry of which nothing is known."""
    with _naming(path):
        return _checked(*named, folders)


def _checked(name: str, entry: Any, folders: Folders) -> Cut:
    check_entry(name, entry)
    wav = folders.find(name, entry)
    return _cut(name, entry, audio_info(name, entry, wav), wav)


def _twice(name: str) -> ManifestError:
    return ManifestError(f"utterance {name!r} appears twice; ids must be unique")


def _cut(name: str, entry: Mapping[str, Any], info: AudioInfo, wav: str) -> Cut:
    from toolkit.dataio.utterances import Utterance, file_source  # it imports lhotse

    custom = {key: value for key, value in entry.items() if key not in REQUIRED and key not in OPTIONAL}
    fields = {"text": entry["words"], "speaker": entry.get("speaker"), "language": entry.get("language")}
    return Utterance(name, file_source(wav), info, custom=custom, **fields).cut()
