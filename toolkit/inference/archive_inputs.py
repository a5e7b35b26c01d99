"""What there is to transcribe: files, folders, patterns and manifests as the items of an archive."""

from __future__ import annotations

import glob
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.dataio.containers import AUDIO_SUFFIXES, header_seconds
from toolkit.errors import AudioError, DataError
from toolkit.inference.archive import Item

# Video, whose sound FFmpeg reads; in a folder of a corpus it would not be looked for.
SUFFIXES = (*AUDIO_SUFFIXES, ".webm", ".mp4", ".mkv", ".mov", ".aac", ".wma", ".amr", ".aiff", ".aif", ".au")

MANIFESTS = (".json", ".jsonl", ".csv", ".jsonl.gz")


@dataclass
class Archive:
    """Items by their id, in the order in which they were named, and why there are no more."""

    items: dict[str, Item] = field(default_factory=dict)
    broken: list[DataError] = field(default_factory=list)

    def add(self, item: Item) -> None:
        """Add an item; a file that was named before is the same item.

        Raises
        ------
        DataError
            Two segments have one id.
        """
        before = self.items.setdefault(item.id, item)
        if before is not item and before != item:
            raise DataError(f"{item.id!r} is the id of two recordings; transcribe their manifests one at a time")


def read_archive(sources: Iterable[str]) -> Archive:
    """The recordings that the sources stand for; what cannot be read of them is among the broken.

    Parameters
    ----------
    sources
        Audio files; folders of such; patterns such as ``talks/**/*.mp3``; manifests and folders of data, of any format
        that recipes read, with their segments.

    Raises
    ------
    DataError
        A folder holds no audio, a pattern matches nothing, or a manifest is damaged as a whole.
    """
    archive = Archive()
    for source in sources:
        for found in _find(source):
            if isinstance(found, Item):
                archive.add(found)
            else:
                archive.broken.append(found)
    return archive


def _find(source: str) -> Iterator[Item | DataError]:
    path = Path(source)
    if path.is_dir():
        yield from _of_folder(path)
    elif path.name.lower().endswith(MANIFESTS):
        yield from _of_manifest(path)
    elif path.exists() or not glob.has_magic(source):
        yield _of_file(source, path.parent)
    else:
        folder = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
        yield from (_of_file(file, folder) for file in _matching(source))


def _of_file(path: str | Path, folder: Path) -> Item | AudioError:
    """The file, or why it is none, as one of a folder."""
    try:
        return Item(str(path), str(path), header_seconds(path) or math.inf, str(Path(path).relative_to(folder)))
    except AudioError as error:
        return error


def _of_folder(folder: Path) -> Iterator[Item | DataError]:
    if any(any(folder.glob(name)) for name in ("wav.scp", "audio_*.tar", "cuts*.jsonl*")):  # Kaldi's, NeMo's, Lhotse's
        yield from _of_manifest(folder)
        return
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise DataError(f"{folder}: no audio in this folder; looked for {', '.join(SUFFIXES)}")
    yield from (_of_file(file, folder) for file in found)


def _matching(pattern: str) -> list[str]:
    # pathlib cannot have an absolute pattern
    found = sorted(path for path in glob.glob(pattern, recursive=True) if Path(path).is_file())  # noqa: PTH207
    if not found:
        raise DataError(f"{pattern}: no file matches this pattern")
    return found


def _of_manifest(path: Path) -> Iterator[Item | DataError]:
    from toolkit.dataio.corpus import Corpus, attempts, config_of_path  # with lhotse it takes two seconds

    for build in attempts(Corpus.of(str(path), config_of_path(path), checked=False).examples):
        try:
            cut = build()
        except DataError as error:
            yield error
        else:
            yield Item(cut.id, cut, cut.duration, cut.id)
