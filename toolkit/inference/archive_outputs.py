"""Where transcripts go as they are made; what is there already is the record of what is done."""

from __future__ import annotations

import contextlib
import glob
import json
import mmap
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from toolkit.errors import ConfigError
from toolkit.files import replacing, require_writable, write_atomically
from toolkit.inference.formats import text_of
from toolkit.inference.transcript import Transcript


class LinesFile:
    """A file of all transcripts, in the order of the archive once all is done.

    Until then they are in ``FILE.part``, in the order in which they were made, or ``FILE.N.part`` of process N, a line
    each; where its text has more or fewer lines, that is ``{"file": "a.wav", "lines": "..."}``. A process that is
    killed may leave half a line, which does not count.

    Parameters
    ----------
    path
        The file.
    form
        One of `toolkit.inference.formats.STREAMS`.
    resume
        Whether what is there of an earlier run stays.
    rank
        Of this process, where several write.

    Attributes
    ----------
    done : set of str
        Ids of what an earlier run transcribed.

    Raises
    ------
    ConfigError
        The file cannot be written, or what there is of an earlier run would be lost.
    """

    def __init__(self, path: Path, form: str, *, resume: bool = False, rank: int | None = None) -> None:
        require_writable(path.parent, "--output")
        self.path, self.form, self.resume = path, form, resume
        self.part = path.with_name(f"{path.name}.part" if rank is None else f"{path.name}.{rank}.part")
        if not resume and (parts := self._parts()):
            raise ConfigError(f"{parts[0]}: of a run that was stopped; go on with it by --resume, or remove the file")
        if resume and not self._in_lines and path.is_file():
            raise ConfigError(f"{path}: is finished, and {form} does not say of which recordings; --resume needs jsonl")
        self.done = {name for file in self._files() for name, _ in _lines_of(file, form)}
        path.parent.mkdir(parents=True, exist_ok=True)
        _drop_half_line(self.part)
        self.stream = self.part.open("a", encoding="utf-8", buffering=1)

    def write(self, name: str, transcript: Transcript) -> None:
        """Add a line."""
        if self.form == "txt" and ("\t" in name or "\n" in name):
            raise ConfigError(f"{name!r}: txt has no place for a tab or a line break in a name; use jsonl")
        text = text_of(transcript, self.form)
        self.stream.write(text if self._in_lines else json.dumps({"file": name, "lines": text}) + "\n")

    def close(self) -> None:
        """End writing; what was written stays."""
        self.stream.close()
        if not self.part.stat().st_size:
            self.part.unlink()

    def finish(self, order: Iterable[str]) -> None:
        """Make the file of all that was written, by whatever process: in this order, then what is not in it."""
        lines = {name: at for file in self._files() for name, at in _lines_of(file, self.form)}
        with replacing(self.path) as unfinished, unfinished.open("wb") as target, contextlib.ExitStack() as opened:
            sources = {file: opened.enter_context(file.open("rb")) for file in self._files()}
            for name in dict.fromkeys([*order, *lines]):
                if name in lines:
                    file, start = lines[name]
                    sources[file].seek(start)
                    line = sources[file].readline()
                    target.write(line if self._in_lines else json.loads(line)["lines"].encode())
        for part in self._parts():
            part.unlink()

    @property
    def _in_lines(self) -> bool:
        """Whether a transcript's text is one line, which names it."""
        return self.form in ("txt", "jsonl")

    def _files(self) -> list[Path]:
        """Where there are lines that count."""
        return [*([self.path] if self.resume and self.path.is_file() else []), *self._parts()]

    def _parts(self) -> list[Path]:
        names = glob.escape(self.path.name)
        parts = [*self.path.parent.glob(f"{names}.part"), *self.path.parent.glob(f"{names}.[0-9]*.part")]
        return sorted(part for part in parts if part.stat().st_size)


def _lines_of(file: Path, form: str) -> Iterator[tuple[str, tuple[Path, int]]]:
    """For each transcript of a file its id and where its line begins."""
    start = 0
    with file.open("rb") as stream:
        for line in stream:
            name = _name_in(line, form) if line.endswith(b"\n") else None
            if name is not None:
                yield name, (file, start)
            start += len(line)


def _name_in(line: bytes, form: str) -> str | None:
    """The id of a line's transcript; None where it is none."""
    try:
        return line.decode().partition("\t")[0] if form == "txt" else json.loads(line)["file"]
    except (ValueError, KeyError, TypeError):
        return None


def _drop_half_line(file: Path) -> None:
    """Cut a file off behind its last line break."""
    if file.exists() and file.stat().st_size:
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            whole = content.rfind(b"\n") + 1
        os.truncate(file, whole)


class Files:
    """A file a transcript, each whole or absent.

    Parameters
    ----------
    files
        By the ids of what is transcribed.
    form
        One of `toolkit.inference.formats.FORMATS`.
    resume
        Whether files that are there stay.
    """

    def __init__(self, files: Mapping[str, Path], form: str, *, resume: bool = False) -> None:
        self.files, self.form = files, form
        self.done = {name for name, file in files.items() if resume and file.is_file()}

    def write(self, name: str, transcript: Transcript) -> None:
        """Write a file."""
        write_atomically(self.files[name], text_of(transcript, self.form))

    def close(self) -> None:
        """Nothing: all files are whole."""

    def finish(self, order: Iterable[str]) -> None:
        """Nothing: files have no order."""
