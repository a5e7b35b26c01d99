"""Have a service (`asr serve`) write down what is said in audio files.

    asr client speech.wav interview.mp3                              # of the service on this machine
    asr client recordings/ --url http://gpu1:8000 --output transcripts.jsonl --resume
    asr client 'talks/**/*.mp4' --url https://asr.example.org --output subtitles --format srt --concurrency 16
    ASR_API_KEY=... asr client speech.wav --url https://asr.example.org --model an4-small

Prints a line a file, its path and its words with a tab between them, or writes what `asr transcribe` writes: the same
formats, the same names of files. Files are sent as they are, read while they are sent, and some at a time, so that the
service computes them together. Where it has no room (429) it is asked again when it says; what breaks on the way is
sent again a few times.

With --output, transcripts are kept as they come (in FILE.part), and --resume goes on where a run was stopped, with the
same model; in the end the file is in the order of the input. A file that is refused is reported, with the reason, and
left out, and the exit status is then 1, or 2 where all are, or where there is no service (any more).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from toolkit.cli.transcripts import Report, add_output, open_output, positive, seconds
from toolkit.errors import ConfigError, MissingDependencyError

if TYPE_CHECKING:
    from toolkit.cli.transcripts import Output
    from toolkit.inference.archive_inputs import Archive
    from toolkit.serving.client import Client

URL = "http://localhost:8000"


def main(arguments: Sequence[str]) -> int:
    """Transcribe as the command line says; the exit status: 1 when some files were refused, 2 when all were."""
    options = parse(arguments)
    client = client_of(options)
    from toolkit.inference.archive_places import Model

    archive = read_files(options.files)
    model = client.served()
    output = open_output(options, archive.items.values(), lambda: Model.at(*model))
    report = send(archive, output, replace(client, model=model.name))
    if options.output is not None:
        print(report.summary(), file=sys.stderr)
    if report.status < 2:
        output.finish(archive.items)
    return report.status


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        prog="asr client", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", metavar="FILES", help="audio files, folders, 'patterns'")
    parser.add_argument("--url", default=URL, help=f"of the service ({URL})")
    parser.add_argument(
        "--api-key", metavar="KEY", help="better in the environment, as ASR_API_KEY, where others do not see it"
    )
    parser.add_argument("--model", metavar="NAME", help="at the service (its first one)")
    add_output(parser)
    parser.add_argument("--concurrency", type=positive, default=8, metavar="N", help="files on their way at a time (8)")
    parser.add_argument(
        "--timeout", type=seconds, default=600.0, metavar="SECONDS", help="of a file, until it is answered (600)"
    )
    options = parser.parse_args(arguments)
    if options.output is None and options.resume:
        parser.error("--resume needs --output")
    return options


def client_of(options: argparse.Namespace) -> Client:
    """What sends files.

    Raises
    ------
    MissingDependencyError
        httpx is not installed.
    """
    try:
        from toolkit.serving.client import Client
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"asr client needs {error.name}: pip install 'asr-recipes[serve]'") from error
    key = options.api_key or os.environ.get("ASR_API_KEY")
    return Client(options.url, key, options.model, options.concurrency, options.timeout)


def read_files(sources: Sequence[str]) -> Archive:
    """The files that the sources stand for.

    Raises
    ------
    ConfigError
        One of them is a manifest, whose segments nobody can send.
    """
    from toolkit.inference.archive_inputs import read_archive

    archive = read_archive(sources)
    for item in archive.items.values():
        if not isinstance(item.audio, str):
            raise ConfigError(
                f"{item.id}: is of a manifest; a service takes audio files, folders or 'patterns' of them"
            )
    return archive


def send(archive: Archive, output: Output, client: Client) -> Report:
    """Have transcribed what is not done yet; how it went."""
    from toolkit.cli.transcripts import Printed
    from toolkit.inference.archive import in_order

    todo = [name for name in archive.items if name not in output.done]
    report = Report(len(archive.items), len(archive.items) - len(todo))
    for error in archive.broken:
        report.add_failure(error)
    with closing(output), closing(client.transcribe(todo)) as found:
        report.write(in_order(found, todo) if isinstance(output, Printed) else found, output)
    return report
