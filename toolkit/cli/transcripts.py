"""What commands that transcribe share: where transcripts go, and how far it is."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from toolkit.inference.archive import Item
    from toolkit.inference.archive_outputs import Files, LinesFile
    from toolkit.inference.archive_places import Model
    from toolkit.inference.transcript import Transcript

    Output = LinesFile | Files | "Printed"
    Found = tuple[str, Transcript | ToolkitError]


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where transcripts go."""
    parser.add_argument(
        "--output", type=Path, metavar="PATH", help="file (.txt, .jsonl), or folder of a file each, instead of printing"
    )
    parser.add_argument("--format", help="txt, jsonl, json, srt, vtt, ctm, tsv, TextGrid (default: as --output ends)")
    parser.add_argument("--resume", action="store_true", help="leave out what --output has already")


def seconds(text: str) -> float:
    """A duration of the command line."""
    with contextlib.suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r}: expected seconds, for instance 60")


def positive(text: str) -> int:
    """A number of things of the command line."""
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number above 0")


def open_output(
    options: argparse.Namespace, items: Collection[Item], model: Callable[[], Model], rank: int | None = None
) -> Output:
    """Where the transcripts of these items go; what is kept is of one model.

    Raises
    ------
    ConfigError
        The file or folder cannot be written, the format does not suit it, or it has transcripts of another model.
    """
    from toolkit.inference.archive_places import Place

    place = Place.of(options.output, options.format)
    if place.path is None:
        place.check(items)
        return Printed(place.form)
    output = place.open(items, resume=options.resume, rank=rank)
    try:
        place.keep_to(model(), output.done)
    except ToolkitError:
        output.close()
        raise
    return output


@dataclass(frozen=True)
class Printed:
    """Transcripts on standard output, above the progress bar where there is one."""

    form: str
    done: frozenset[str] = frozenset()

    def write(self, name: str, transcript: Transcript) -> None:  # noqa: ARG002
        """Print a transcript."""
        from tqdm import tqdm

        from toolkit.inference.formats import text_of

        with tqdm.external_write_mode():
            print(text_of(transcript, self.form), end="", flush=True)

    def close(self) -> None:
        """Nothing to close."""

    def finish(self, order: Iterable[str]) -> None:
        """Nothing: all is printed."""


@dataclass
class Report:
    """How far it is: on a terminal a progress bar, and in the end a summary; of ``total``, some were done before."""

    total: int
    before: int
    failed: int = 0
    audio: float = 0.0
    wall: float = 0.0
    count: int = 0

    def write(self, found: Iterable[Found], output: Output) -> None:
        """Write what was found, as it comes, and say of the others why there is nothing."""
        for name, result in self._watch(found):
            if isinstance(result, ToolkitError):
                self.add_failure(result)
            else:
                output.write(name, result)

    def _watch(self, found: Iterable[Found]) -> Iterator[Found]:
        """The same, counted."""
        from tqdm import tqdm

        start = time.perf_counter()
        options = {"disable": None, "leave": False}  # None: on a terminal only
        with tqdm(total=self.total, initial=self.before, unit="file", **options) as bar:
            for name, result in found:
                yield name, result
                self.wall = time.perf_counter() - start
                if not isinstance(result, ToolkitError):
                    self.count += 1
                    self.audio += result.duration
                bar.set_postfix_str(self.speed, refresh=False)
                bar.update()

    @property
    def speed(self) -> str:
        """Seconds of work for a second of audio."""
        return f"real-time factor {self.wall / self.audio:.4f}" if self.audio else ""

    @property
    def status(self) -> int:
        """0: all is done. 1: some. 2: nothing, for there was nothing that could be read."""
        return 0 if not self.failed else 1 if self.count or self.before else 2

    def add_failure(self, error: ToolkitError) -> None:
        """Say why a recording has no transcript."""
        from tqdm import tqdm

        self.failed += 1
        with tqdm.external_write_mode():
            print(f"error: {error}", file=sys.stderr)

    def summary(self) -> str:
        """One line: how many, how long, how fast."""
        parts = [f"{self.count} recordings, {self.audio:.0f} s of audio in {self.wall:.1f} s"]
        parts += [self.speed] if self.audio else []
        parts += [f"{self.before} were done before"] if self.before else []
        parts += [f"{self.failed} could not be transcribed"] if self.failed else []
        return "; ".join(parts)
