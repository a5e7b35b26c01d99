"""Write down what is said in audio files.

    asr transcribe results/ctc speech.wav interview.mp3
    asr transcribe results/ctc recordings/ --output transcripts.jsonl --resume
    asr transcribe results/ctc 'talks/**/*.mp4' --output subtitles --format srt
    asr transcribe results/ctc manifests/test.json --output test.txt --workers 4
    asr transcribe results/streaming --stream -        # what is being said: see asr transcribe --stream - --help

Prints a line a file, its path and its words with a tab between them. Files are of any container, sample rate and
channel count; folders are searched for audio; of a manifest (SpeechBrain's, NeMo's, Lhotse's) or a folder of data
(Kaldi's, tar shards), its segments are transcribed, named by their ids.

With --output, transcripts are kept as they are made (in FILE.part), and --resume goes on where a run was stopped, with
the same model and options (.FILE.model.json says which); in the end the file is in the order of the input. In a folder
of output, files lie as in the folder or pattern that they are of. A file that cannot be read is reported and left out,
and the exit status is then 1, or 2 where none can be read.

--engine torchrun: each process that torchrun starts, on any number of machines with one file system, does its share:
  torchrun --nproc-per-node 8 -m toolkit transcribe MODEL FILES --engine torchrun --output out.jsonl
--engine ray: --workers of a Ray cluster, whose address is in RAY_ADDRESS; one that dies loses nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from toolkit.cli.stream import main as stream
from toolkit.cli.transcripts import Report, add_output, open_output, positive, seconds
from toolkit.errors import ConfigError

if TYPE_CHECKING:
    from toolkit.cli.transcripts import Output
    from toolkit.inference.archive_inputs import Archive

VADS = ("energy", "silero")  # toolkit.inference.long_audio.DETECTORS, which takes a second to import
ENGINES = ("local", "torchrun", "ray")

# Formats that have a place for more than one text.
NBEST_FORMATS = ("json", "jsonl")


def main(arguments: Sequence[str]) -> int:
    """Transcribe as the command line says; the exit status: 1 when some files could not be read, 2 when none could."""
    if any(word.partition("=")[0] == "--stream" for word in arguments):
        return stream(arguments)
    options = parse(arguments)
    from toolkit.inference.archive_inputs import read_archive

    archive = read_archive(options.files)
    if options.engine == "torchrun":
        return transcribe_share(archive, options)
    output = open_transcripts(options, archive)
    report = transcribe(archive, output, options)
    if report.status < 2:
        output.finish(archive.items)
    return report.status


def transcribe_share(archive: Archive, options: argparse.Namespace) -> int:
    """Transcribe the share of this process of torchrun's; the first of them puts the shares together."""
    from toolkit.inference.engines import Ranks, own_device

    ranks = Ranks.from_environment()
    with ranks.joined():
        output = open_transcripts(options, archive, ranks.rank)
        ranks.wait()  # until all know what was done before
        options.device = options.device or own_device(ranks.local_rank)
        report = transcribe(ranks.share_of(archive), output, options)
        ranks.wait()
        if ranks.rank == 0:
            output.finish(archive.items)
        ranks.wait()  # torchrun stops all others when one reports a failure
    return min(report.status, 1)  # where this share cannot be read, others may be


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        prog="asr transcribe", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", help="folder of a model, or its name on the hub")
    parser.add_argument("files", nargs="+", metavar="FILES", help="audio files, folders, 'patterns', manifests")
    parser.add_argument("--device", help="cpu, cuda, cuda:0, ... (default: a GPU where there is one)")
    add_output(parser)
    parser.add_argument(
        "--batch-seconds", type=seconds, default=60.0, metavar="SECONDS", help="of audio computed at once (60)"
    )
    parser.add_argument("--channel", type=int, metavar="N", help="of files, which one to hear, from 0 (their mean)")
    parser.add_argument("--nbest", type=positive, metavar="N", help="texts of each, in json and jsonl (the model's)")
    parser.add_argument(
        "--vad",
        choices=VADS,
        default="energy",
        help="what finds pauses in audio over 40 s; silero: extra [vad] (energy)",
    )
    parser.add_argument("--engine", choices=ENGINES, default="local", help="who computes (local)")
    parser.add_argument("--workers", type=positive, default=1, metavar="N", help="processes of local and ray (1)")
    options = parser.parse_args(arguments)
    if options.output is None and (options.resume or options.engine == "torchrun"):
        parser.error(f"{'--resume' if options.resume else '--engine torchrun'} needs --output")
    return options


def open_transcripts(options: argparse.Namespace, archive: Archive, rank: int | None = None) -> Output:
    """Where the transcripts of an archive go.

    Raises
    ------
    ConfigError
        As `open_output` does, or there are to be more texts than the format has a place for.
    """
    from toolkit.inference.archive_places import Model, Place

    if options.nbest and (form := Place.of(options.output, options.format).form) not in NBEST_FORMATS:
        raise ConfigError(f"--nbest: {form} has one text of a recording; use --format {' or '.join(NBEST_FORMATS)}")
    return open_output(options, archive.items.values(), partial(Model.of, options.model, asked(options)), rank)


def asked(options: argparse.Namespace) -> str:
    """The options that make other transcripts of the same recordings, where they are not the usual ones."""
    chosen = {"channel": options.channel, "nbest": options.nbest, "vad": options.vad}
    return " ".join(f"--{name} {value}" for name, value in chosen.items() if value not in (None, VADS[0]))


def transcribe(archive: Archive, output: Output, options: argparse.Namespace) -> Report:
    """Transcribe what is not done yet; how it went."""
    from toolkit.inference.archive import Worker
    from toolkit.inference.engines import transcribe_items

    todo = [item for name, item in archive.items.items() if name not in output.done]
    report = Report(len(archive.items), len(archive.items) - len(todo))
    if options.vad == "silero":
        from toolkit.inference.silero import graph_file

        graph_file()  # missing: before anything is transcribed
    worker = Worker(
        options.model, options.device, options.batch_seconds, options.channel, nbest=options.nbest, vad=options.vad
    )
    how = {"engine": options.engine, "workers": options.workers, "ordered": options.output is None}
    try:
        found = transcribe_items(todo, worker, **how)
        for error in archive.broken:
            report.add_failure(error)
        report.write(found, output)
    finally:
        output.close()
    if options.output is not None:
        print(report.summary(), file=sys.stderr)
    return report
