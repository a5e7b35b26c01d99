"""Write down what is said in audio files.

    asr transcribe results/ctc speech.wav interview.mp3
    asr transcribe results/ctc recordings/ --output transcripts.jsonl --resume
    asr transcribe results/ctc 'talks/**/*.mp4' --output subtitles --format srt
    asr transcribe results/ctc manifests/test.json --output test.txt --workers 4
    asr transcribe results/streaming --stream -        # what is being said: see asr transcribe --stream - --help

Prints a line a file, its path and its words with a tab between them. Files are of any container, sample rate and
channel count; folders are searched for audio; of a manifest (SpeechBrain's, NeMo's, Lhotse's) or a folder of data
(Kaldi's, tar shards), its segments are transcribed, named by their ids.

With --output, transcripts are kept as they are made (in FILE.part), and --resume goes on where a run was stopped; in
the end the file is in the order of the input. A file that cannot be read is reported and left out, and the exit
status is then 1.

--engine torchrun: each process that torchrun starts, on any number of machines with one file system, does its share:
  torchrun --nproc-per-node 8 -m toolkit transcribe MODEL FILES --engine torchrun --output out.jsonl
--engine ray: --workers of a Ray cluster, whose address is in RAY_ADDRESS; one that dies loses nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli.stream import main as stream
from toolkit.errors import AudioError, ConfigError, DataError

if TYPE_CHECKING:
    from toolkit.inference.archive import Item
    from toolkit.inference.archive_inputs import Archive
    from toolkit.inference.archive_outputs import Files, LinesFile
    from toolkit.inference.transcript import Transcript

    Output = LinesFile | Files | "Printed"
    Found = tuple[str, Transcript | AudioError]

VADS = ("energy", "silero")  # toolkit.inference.long_audio.DETECTORS, which takes a second to import
ENGINES = ("local", "torchrun", "ray")

# Formats that have a line a transcript, so that all are one file.
LINE_FORMATS = ("txt", "jsonl")

# Files that are sorted by length together where their transcripts are printed, in their order.
PRINTED_TOGETHER = 64


def main(arguments: Sequence[str]) -> int:
    """Transcribe as the command line says; the exit status: 1 when a file could not be read."""
    if any(word.partition("=")[0] == "--stream" for word in arguments):
        return stream(arguments)
    options = parse(arguments)
    from toolkit.inference.archive_inputs import read_archive

    archive = read_archive(options.files)
    if options.engine == "torchrun":
        return transcribe_share(archive, options)
    output = open_output(options, archive.items)
    failed = transcribe(archive, output, options)
    output.finish(archive.items)
    return 1 if failed else 0


def transcribe_share(archive: Archive, options: argparse.Namespace) -> int:
    """Transcribe the share of this process of torchrun's; the first of them puts the shares together."""
    from toolkit.inference.engines import Ranks

    ranks = Ranks.from_environment()
    with ranks.joined():
        output = open_output(options, archive.items, ranks.rank)
        ranks.wait()  # until all know what was done before
        options.device = options.device or ranks.device()
        failed = transcribe(ranks.share_of(archive), output, options)
        ranks.wait()
        if ranks.rank == 0:
            output.finish(archive.items)
        ranks.wait()  # torchrun stops all others when one reports a failure
    return 1 if failed else 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        prog="asr transcribe", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", help="folder of a model, or its name on the hub")
    parser.add_argument("files", nargs="+", metavar="FILES", help="audio files, folders, 'patterns', manifests")
    parser.add_argument("--device", help="cpu, cuda, cuda:0, ... (default: a GPU where there is one)")
    parser.add_argument(
        "--output", type=Path, metavar="PATH", help="file (.txt, .jsonl), or folder of a file each, instead of printing"
    )
    parser.add_argument("--format", help="txt, jsonl, json, srt, vtt, ctm, tsv, TextGrid (default: as --output ends)")
    parser.add_argument("--resume", action="store_true", help="leave out what --output has already")
    parser.add_argument(
        "--batch-seconds", type=_seconds, default=60.0, metavar="SECONDS", help="of audio computed at once (60)"
    )
    parser.add_argument("--channel", type=int, metavar="N", help="of files, which one to hear, from 0 (their mean)")
    parser.add_argument(
        "--vad",
        choices=VADS,
        default="energy",
        help="what finds pauses in audio over 40 s; silero: extra [vad] (energy)",
    )
    parser.add_argument("--engine", choices=ENGINES, default="local", help="who computes (local)")
    parser.add_argument("--workers", type=_positive, default=1, metavar="N", help="processes of local and ray (1)")
    options = parser.parse_args(arguments)
    if options.output is None and (options.resume or options.engine == "torchrun"):
        parser.error(f"{'--resume' if options.resume else '--engine torchrun'} needs --output")
    return options


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r}: expected seconds, for instance 60")


def _positive(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number above 0")


def open_output(options: argparse.Namespace, names: Iterable[str], rank: int | None = None) -> Output:
    """Where the transcripts of these names go.

    Raises
    ------
    ConfigError
        The file or folder cannot be written, or the format does not suit it.
    """
    from toolkit.inference.archive_outputs import Files, LinesFile, places_in

    names = list(names)
    path, form, is_file = options.output, *format_of(options)
    if form not in LINE_FORMATS and is_file and len(names) > 1:
        raise ConfigError(f"{form} is a file a recording, and there are {len(names)}: --output FOLDER --format {form}")
    if path is None:
        return Printed(form)
    if not is_file:
        return Files(places_in(path, form, names), form, resume=options.resume)
    if form in LINE_FORMATS:
        return LinesFile(path, form, resume=options.resume, rank=rank)
    return Files(dict.fromkeys(names, path), form, resume=options.resume)


def format_of(options: argparse.Namespace) -> tuple[str, bool]:
    """The format of the transcripts, and whether the output is a file (or printed) rather than a folder.

    Raises
    ------
    ConfigError
        There is no such format.
    """
    from toolkit.inference.formats import FORMATS

    suffix = options.output.suffix.removeprefix(".") if options.output else ""
    form = options.format or suffix or ("" if options.output else "txt")
    if form not in FORMATS:
        raise ConfigError(
            f"{f'--format {form}' if options.format else f'--output {options.output}'}: expected a file that ends in "
            f"{', '.join(f'.{name}' for name in FORMATS)}, or a folder and --format with one of these"
        )
    if suffix in FORMATS and suffix != form:
        raise ConfigError(f"--output {options.output} is not {form}, which --format says; leave one of them out")
    return form, options.output is None or suffix == form


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


def transcribe(archive: Archive, output: Output, options: argparse.Namespace) -> int:
    """Transcribe what is not done yet; how many recordings could not be."""
    todo = [item for name, item in archive.items.items() if name not in output.done]
    try:
        found = found_in(todo, options)
        report = Report(len(todo))
        for error in archive.broken:
            report.add_failure(error)
        for name, transcript in report.watch(found):
            if isinstance(transcript, AudioError):
                report.add_failure(transcript)
            else:
                output.write(name, transcript)
    finally:
        output.close()
    if options.output is not None:
        print(report.summary(len(output.done)), file=sys.stderr)
    return report.failed


def found_in(items: Sequence[Item], options: argparse.Namespace) -> Iterator[Found]:
    """What the engine finds, as it finds it; in the order of the items, where it is printed."""
    from toolkit.inference.archive import Worker, in_order, shards_of
    from toolkit.inference.engines import transcribe_shards

    if options.vad == "silero":
        from toolkit.inference.silero import graph_file

        graph_file()  # missing: before anything is transcribed
    worker = Worker(options.model, options.device, options.batch_seconds, options.channel, options.vad)
    together = len(items) if options.output else PRINTED_TOGETHER
    blocks = [items[start : start + together] for start in range(0, len(items), together or 1)]
    shards = [shard for block in blocks for shard in shards_of(block, options.batch_seconds, options.workers)]
    found = transcribe_shards(shards, worker, engine=options.engine, workers=options.workers)
    pairs = (pair for one in found for pair in one.items())
    return pairs if options.output else in_order(pairs, [item.id for item in items])


@dataclass
class Report:
    """How far it is: on a terminal a progress bar, and in the end a summary."""

    total: int
    failed: int = 0
    audio: float = 0.0
    wall: float = 0.0
    count: int = 0

    def watch(self, found: Iterable[Found]) -> Iterator[Found]:
        """The same, counted."""
        from tqdm import tqdm

        start = time.perf_counter()
        with tqdm(total=self.total, unit="file", disable=None, leave=False) as bar:  # None: on a terminal only
            for name, transcript in found:
                yield name, transcript
                self.wall = time.perf_counter() - start
                if not isinstance(transcript, AudioError):
                    self.count += 1
                    self.audio += transcript.duration
                bar.set_postfix_str(self.speed, refresh=False)
                bar.update()

    @property
    def speed(self) -> str:
        """Seconds of work for a second of audio."""
        return f"real-time factor {self.wall / self.audio:.4f}" if self.audio else ""

    def add_failure(self, error: DataError) -> None:
        """Say why a recording has no transcript."""
        from tqdm import tqdm

        self.failed += 1
        with tqdm.external_write_mode():
            print(f"error: {error}", file=sys.stderr)

    def summary(self, before: int) -> str:
        """One line: how many, how long, how fast."""
        parts = [f"{self.count} recordings, {self.audio:.0f} s of audio in {self.wall:.1f} s"]
        parts += [self.speed] if self.audio else []
        parts += [f"{before} were done before"] if before else []
        parts += [f"{self.failed} could not be read"] if self.failed else []
        return "; ".join(parts)
