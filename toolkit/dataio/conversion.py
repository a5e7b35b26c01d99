"""From any data set to manifests and shards that hold the same utterances.

::

    corpus = Corpus.of("train", {"input_cfg": [{"type": "kaldi", "data_dir": "data/train"}]})
    convert(corpus.examples, Target("nemo_tarred", Path("shards"), shards=32), workers=8)
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lhotse.cut import Cut

from toolkit.dataio.corpus import Attempt, attempts, leave_quietly
from toolkit.dataio.cut_audio import audio_paths
from toolkit.dataio.indexed import Indexed
from toolkit.dataio.manifest_writers import WRITERS, audio_folder, open_text
from toolkit.dataio.shard_writers import SHARDS, open_shard
from toolkit.errors import ConfigError, DataError, did_you_mean
from toolkit.files import replacing, require_writable, write_atomically

FORMATS = (*WRITERS, *SHARDS)

# By which their readers know them.
SUFFIXES = {
    "speechbrain_json": (".json",),
    "speechbrain_csv": (".csv",),
    "nemo": (".json", ".jsonl"),
    "lhotse": (".jsonl.gz", ".jsonl"),
}

_OPEN_SHARDS = 256  # at a time, of two files each; a process may have 1024 open
_NAMED = 10  # reasons that are kept of what was left out


@dataclass(frozen=True)
class Target:
    """What to write.

    Attributes
    ----------
    format
        One of `FORMATS`: the names of the data types that read it.
    output
        The manifest, or the folder of shards.
    shards
        How many; shard k has the utterances k, k + shards, k + 2 shards...
    skip_broken
        Leave out, and count, utterances that cannot be read or that the format cannot hold; else they are errors.
    source
        What it is made of, in a form that JSON can hold: a conversion of something else is not continued.
    """

    format: str
    output: Path
    shards: int = 1
    skip_broken: bool = False
    source: Any = None

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            near = did_you_mean(self.format, FORMATS)
            raise ConfigError(f"there is no format {self.format!r}{near}; there is {', '.join(FORMATS)}")
        if self.shards > 1 and self.format not in SHARDS:
            raise ConfigError(f"{self.format} has no shards; those that have are {', '.join(SHARDS)}")
        suffixes = SUFFIXES.get(self.format)
        if suffixes and not self.output.name.endswith(suffixes):
            raise ConfigError(f"{self.output}: expected a file that ends in {' or '.join(suffixes)} for {self.format}")

    def require_possible(self, workers: int = 1) -> None:
        """Nothing, where it can be written without replacing a file, be it of this data set or of another.

        Raises
        ------
        ConfigError
            The manifest or the folder of its audio is there, nothing can be written, or processes have no shards.
        """
        if workers > 1 and self.format in WRITERS:
            raise ConfigError(f"-j {workers}: one process writes a manifest; leave it out, or write shards")
        require_writable(self.output.resolve().parent, "OUTPUT")
        if self.format in SHARDS:
            require_writable(self.output, "OUTPUT")
        for path in (self.output, audio_folder(self.output)) if self.format in WRITERS else ():
            if path.exists():
                raise ConfigError(f"{path}: is there already; remove it if nothing needs it, or choose another OUTPUT")

    @property
    def reading(self) -> dict[str, str]:
        """The keys of a data set that reads it."""
        shards = f"_OP_0..{self.shards - 1}_CL_" if self.shards > 1 else "0"
        if self.format == "nemo_tarred":
            manifests, tars = self.output / f"manifest_{shards}.json", self.output / f"audio_{shards}.tar"
            return {"manifest_filepath": str(manifests), "tarred_audio_filepaths": str(tars)}
        key = {"lhotse": "cuts_path", "lhotse_shar": "shar_path"}.get(self.format, "manifest_filepath")
        return {key: str(self.output)}


@dataclass
class Written:
    """How many utterances and seconds were written, how many left out, and why the first of those."""

    utterances: int = 0
    seconds: float = 0.0
    skipped: int = 0
    reasons: list[str] = field(default_factory=list)

    def __iadd__(self, other: Written) -> Written:
        self.utterances += other.utterances
        self.seconds += other.seconds
        self.skipped += other.skipped
        self.reasons = (self.reasons + other.reasons)[:_NAMED]
        return self


class Writer(Protocol):
    """Takes utterances; a DataError leaves no trace of one."""

    def add(self, cut: Cut) -> None:
        """Write an utterance."""


Report = Callable[[int], object]


def convert(examples: Iterable[Cut], target: Target, *, workers: int = 1, report: Report | None = None) -> Written:
    """Write the utterances; ``report`` is told of each so many that are done.

    Shards that an interrupted conversion finished are kept, but for those whose audio has changed since, and unless
    ``examples`` can only be read in order: one process writes the shards of those, all in one pass.

    Raises
    ------
    DataError
        An utterance cannot be read, or none is left. Nothing but whole shards is left behind.
    ConfigError
        There is a manifest of that name, or the folder holds the shards of something else.
    """
    report = report or _silent
    target.require_possible(workers)
    if target.format in SHARDS:
        return _write_shards(examples, target, workers, report)
    with (
        _removed_on_error(audio_folder(target.output)),
        replacing(target.output) as partial,
        open_text(partial) as stream,
    ):
        writer = WRITERS[target.format](stream, target.output)
        written = _write_all(writer, attempts(examples), target, report)
        writer.finish()
        _require_some(written, target)
    return written


@contextlib.contextmanager
def _removed_on_error(folder: Path) -> Iterator[None]:
    """Leave nothing of a folder that is made meanwhile, if it does not end well."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _write_all(writer: Writer, tries: Iterable[Attempt], target: Target, report: Report) -> Written:
    written = Written()
    for build in tries:
        try:
            cut = build()
            writer.add(cut)
            written.utterances += 1
            written.seconds += cut.duration
        except DataError as error:
            if not target.skip_broken:
                raise
            written += Written(skipped=1, reasons=[str(error)])
        report(1)
    return written


def _require_some(written: Written, target: Target) -> None:
    if not written.utterances:
        why = f": {written.reasons[0]}" if written.reasons else ""
        raise DataError(f"{target.output}: no utterance is left of {written.skipped}{why}")


def _write_shards(examples: Iterable[Cut], target: Target, workers: int, report: Report) -> Written:
    note = _claim(target)
    written = Written()
    if not isinstance(examples, Indexed):
        written += _write_stream(examples, target, report)
    elif workers > 1:
        for shard in _in_processes(examples, target, workers):
            written += shard
            report(shard.utterances + shard.skipped)
    else:
        for number in range(target.shards):
            written += _write_shard(examples, target, number, report)
    _require_some(written, target)
    note.unlink()
    return written


def _write_stream(examples: Iterable[Cut], target: Target, report: Report) -> Written:
    """Write the shards of what can only be read in order, many at a time; those that are there are written again."""
    written, kind = Written(), SHARDS[target.format]
    for first in range(0, target.shards, _OPEN_SHARDS):
        numbers = range(first, min(first + _OPEN_SHARDS, target.shards))
        with contextlib.ExitStack() as stack:
            shards = {number: stack.enter_context(open_shard(kind, target.output, number)) for number in numbers}
            for place, build in enumerate(attempts(examples)):
                if shard := shards.get(place % target.shards):
                    written += _write_all(shard, [build], target, report)
    return written


def _in_processes(examples: Indexed[Cut], target: Target, workers: int) -> Iterator[Written]:
    """What was written of each shard, as they are done."""
    with ProcessPoolExecutor(workers, initializer=_Worker.take, initargs=(examples, target)) as pool:
        shards = [pool.submit(_Worker.write, number) for number in range(target.shards)]
        try:
            yield from (shard.result() for shard in as_completed(shards))
        finally:
            pool.shutdown(cancel_futures=True)


class _Worker:
    """What a process writes."""

    examples: Indexed[Cut]
    target: Target

    @classmethod
    def take(cls, examples: Indexed[Cut], target: Target) -> None:
        """Remember the utterances, which may be many, for all shards."""
        leave_quietly()
        cls.examples, cls.target = examples, target

    @classmethod
    def write(cls, number: int) -> Written:
        """Write a shard."""
        return _write_shard(cls.examples, cls.target, number, _silent)


def _silent(count: int) -> None:
    """Tell nobody."""


def _claim(target: Target) -> Path:
    """A note beside the folder of shards of what they are to be; it is there while they are not complete.

    Raises
    ------
    ConfigError
        The folder has something else.
    """
    folder = target.output
    # Not in it, as Lhotse takes every file there for a field of its cuts.
    note = folder.resolve().parent / f"{folder.resolve().name}.unfinished.json"  # `.` has no name of its own
    what = {key: getattr(target, key) for key in ("format", "shards", "skip_broken", "source")}
    mine = json.dumps(what, indent=1) + "\n"
    there = note.read_text(encoding="utf-8") if note.is_file() else None
    if there != mine and folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        known = (
            "an unfinished conversion of something else, or of files that have changed since"
            if there
            else "files already"
        )
        raise ConfigError(f"{folder}: holds {known}; remove it, or choose another folder")
    write_atomically(note, mine)
    for partial in folder.glob(".*.part.*"):  # of a conversion that was killed
        partial.unlink()
    return note


def _write_shard(examples: Indexed[Cut], target: Target, number: int, report: Report) -> Written:
    """Write a shard, unless it is there and newer than its audio; then it counts as written."""
    kind = SHARDS[target.format]
    _, manifest = kind.paths(target.output, number)
    if manifest.is_file() and not _is_older(manifest, attempts(examples, number, target.shards)):
        written = _finished(manifest, len(range(number, len(examples), target.shards)))
        report(written.utterances + written.skipped)
        return written
    with open_shard(kind, target.output, number) as shard:
        return _write_all(shard, attempts(examples, number, target.shards), target, report)


def _is_older(manifest: Path, tries: Iterable[Attempt]) -> bool:
    """Whether audio of the utterances has changed since their manifest was written."""
    written = manifest.stat().st_mtime_ns
    for build in tries:
        with contextlib.suppress(DataError, OSError):  # of what was left out, and of what is no file
            if any(path.stat().st_mtime_ns > written for path in audio_paths(build())):
                return True
    return False


def _finished(manifest: Path, tried: int) -> Written:
    """What a shard holds that was written of so many utterances before."""
    with open_text(manifest, "r") as lines:
        durations = [json.loads(line)["duration"] for line in lines]
    skipped = tried - len(durations)
    reasons = [f"{manifest}: {skipped}, when it was written before the conversion was stopped"] if skipped else []
    return Written(len(durations), sum(durations), skipped, reasons)
