"""Where the transcripts of an archive are kept: in one file, or in a folder that is laid out as the recordings are."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from toolkit.errors import ConfigError
from toolkit.files import require_writable, write_atomically
from toolkit.inference.archive import Item
from toolkit.inference.archive_inputs import SUFFIXES
from toolkit.inference.archive_outputs import Files, LinesFile
from toolkit.inference.formats import FORMATS, STREAMS, ctm_name
from toolkit.inference.sources import find_folder

# What a model's answers follow from, whoever made its folder.
MODEL_FILES = ("*.yaml", "*.bin", "*.ckpt", "*.safetensors", "*.onnx", "*.model", "save/*/*.ckpt", "lm/*")
MODEL_FILES += ("AM_MODELS/*/model/*", "LM_MODELS/*/*", "ASR_INFERENCE/*/*")  # of a ServiceFolder


@dataclass(frozen=True)
class Place:
    """What ``--output`` and ``--format`` mean together.

    Attributes
    ----------
    path
        A file, or a folder of a file a recording; None where transcripts are printed.
    form
        One of `toolkit.inference.formats.FORMATS`.
    is_file
        Whether it is not a folder.
    """

    path: Path | None
    form: str
    is_file: bool

    @classmethod
    def of(cls, path: Path | None, form: str | None) -> Place:
        """By the format, or where none is given, by how the path ends.

        Raises
        ------
        ConfigError
            There is no such format, or the path has another.
        """
        suffix = path.suffix.removeprefix(".") if path else ""
        found = form or suffix or ("" if path else "txt")
        if found not in FORMATS:
            raise ConfigError(
                f"{f'--format {form}' if form else f'--output {path}'}: expected a file that ends in "
                f"{', '.join(f'.{name}' for name in FORMATS)}, or a folder and --format with one of these"
            )
        if suffix in FORMATS and suffix != found:
            raise ConfigError(f"--output {path} is not {found}, which --format says; leave one of them out")
        return cls(path, found, path is None or suffix == found)

    def check(self, items: Collection[Item]) -> None:
        """Raise a ConfigError unless the transcripts of so many recordings can be one file, where it is to be one."""
        if not self.is_file or len(items) < 2:
            return
        if self.form not in STREAMS:
            raise ConfigError(
                f"{self.form} is a file a recording, and there are {len(items)}: --output FOLDER --format {self.form}"
            )
        if self.form == "ctm":
            _check_different({item.id: ctm_name(item.id) for item in items}, "have one name in a ctm, {}; use jsonl")

    def open(self, items: Collection[Item], *, resume: bool = False, rank: int | None = None) -> LinesFile | Files:
        """Where to write the transcripts of these items.

        Raises
        ------
        ConfigError
            The file or folder cannot be written, or two recordings would have one file.
        """
        self.check(items)
        if not self.is_file:
            return Files(places_in(self.path, self.form, items), self.form, resume=resume)
        if self.form in STREAMS:
            return LinesFile(self.path, self.form, resume=resume, rank=rank)
        return Files({item.id: self.path for item in items}, self.form, resume=resume)

    def keep_to(self, model: Model, done: Collection[str]) -> None:
        """Remember whose transcripts these are, in ``.FILE.model.json`` or ``FOLDER/.model.json``.

        Raises
        ------
        ConfigError
            Some are done, by another model or with other options; names both.
        """
        if self.is_file and self.form not in STREAMS:
            return
        record = self.path.with_name(f".{self.path.name}.model.json") if self.is_file else self.path / ".model.json"
        before = Model(**json.loads(record.read_text())) if record.is_file() else None
        if done and before and before != model:
            raise ConfigError(
                f"--output {self.path}: {len(done)} transcripts are of {before}, the others would be of {model}; "
                "go on with the first, or name another output"
            )
        if before != model:
            write_atomically(record, json.dumps(asdict(model)) + "\n")


@dataclass(frozen=True)
class Model:
    """A model at one time: its folder, which of one from the hub has the revision, and when it was last changed.

    Of one that a service has, ``folder`` is its name there. ``options`` are what it was asked for on the command line.
    """

    folder: str
    changed: str
    options: str = ""

    @classmethod
    def of(cls, source: str, options: str = "") -> Model:
        """The model of this folder or hub name."""
        folder = find_folder(source).resolve()
        files = [file for pattern in MODEL_FILES for file in folder.glob(pattern)]
        return cls.at(str(folder), max((file.stat().st_mtime for file in files), default=0.0), options)

    @classmethod
    def at(cls, folder: str, changed: float, options: str = "") -> Model:
        """The model that was changed so many seconds after 1970."""
        return cls(folder, datetime.fromtimestamp(changed).isoformat(sep=" ", timespec="seconds"), options)

    def __str__(self) -> str:
        return f"{self.folder} as of {self.changed}{f' with {self.options}' if self.options else ''}"


def places_in(folder: Path, form: str, items: Iterable[Item]) -> dict[str, Path]:
    """By the ids of items: ``folder/a/b.srt`` for one whose place is ``a/b.wav``.

    Raises
    ------
    ConfigError
        The folder cannot be written, or two files would have one name.
    """
    require_writable(folder, "--output")
    places = {item.id: folder / f"{_inner(item.place)}.{form}" for item in items}
    _check_different(places, f"would both be written to {{}} of --output {folder}; name the folder that holds them")
    return places


def _inner(place: str) -> str:
    """A place without the suffix of audio, and without a way out of the folder that it is put in."""
    inner = Path(os.path.normpath(f"/./{place}")[1:])
    return str(inner.with_suffix("") if inner.suffix.lower() in SUFFIXES else inner)


def _check_different(values: dict[str, object], what: str) -> None:
    """Raise a ConfigError when two names have one value."""
    names: dict[object, str] = {}
    for name, value in values.items():
        if names.setdefault(value, name) != name:
            raise ConfigError(f"{names[value]} and {name} {what.format(value)}")
