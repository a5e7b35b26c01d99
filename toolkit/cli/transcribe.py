"""Write down what is said in audio files.

    asr transcribe results/ctc speech.wav interview.mp3
    asr transcribe results/ctc recordings/ --output transcripts.jsonl
    asr transcribe results/streaming --stream -        # what is being said: see asr transcribe --stream - --help

Prints a line a file, its path and its words with a tab between them. Files are of any container, sample rate and
channel count, half an hour long at most; folders are searched for audio. A file that cannot be read is reported, and
the exit status is then 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli.stream import main as stream
from toolkit.errors import AudioError, ConfigError, DataError

if TYPE_CHECKING:
    from toolkit.inference.transcript import Transcript

FORMATS = (".txt", ".jsonl")


def main(arguments: Sequence[str]) -> int:
    """Transcribe as the command line says; the exit status: 1 when a file could not be read."""
    if any(word.partition("=")[0] == "--stream" for word in arguments):
        return stream(arguments)
    options = parse(arguments)
    files = list(find_files(options.files))
    from toolkit.inference.transcriber import Transcriber  # torch takes seconds to load: not for --help

    transcriber = Transcriber.from_run(options.run_folder, device=options.device)
    failed: list[AudioError] = []
    found = transcriber.transcribe_files(files, batch_seconds=options.batch_seconds, on_error=failed.append)
    with open_output(options.output) as write:
        write_all(found, write, total=len(files))
    for error in failed:
        print(f"error: {error}", file=sys.stderr)
    return 1 if failed else 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        prog="asr transcribe", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN_FOLDER", help="output folder of a recogniser's training")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILES", help="audio files, and folders that hold some")
    parser.add_argument("--device", help="cpu, cuda, cuda:0, ... (default: a GPU where there is one)")
    parser.add_argument("--output", type=_output_file, metavar="FILE", help=".txt or .jsonl, instead of printing")
    parser.add_argument(
        "--batch-seconds", type=_seconds, default=60.0, metavar="SECONDS", help="of audio computed at once (60)"
    )
    return parser.parse_args(arguments)


def _output_file(text: str) -> Path:
    if Path(text).suffix not in FORMATS:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a file that ends in {' or '.join(FORMATS)}")
    return Path(text)


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < float("inf"):
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r}: expected seconds, for instance 60")


def find_files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files among the paths, and the audio in the folders, sorted.

    Raises
    ------
    DataError
        A folder holds no audio.
    """
    from toolkit.dataio.prepare import CONTAINERS

    suffixes = [suffix for suffix in CONTAINERS if suffix != ".raw"]  # nothing says what raw samples mean
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in suffixes and file.is_file())
        if not found:
            raise DataError(f"{path}: no audio in this folder; looked for {', '.join(suffixes)}")
        yield from found


@contextlib.contextmanager
def open_output(path: Path | None) -> Iterator[Callable[[Transcript], None]]:
    """What takes a transcript and prints it, or writes it to a file.

    The file appears when it is complete; until then what there is of it is in ``FILE.part``.
    """
    if path is None:
        yield print_line
        return
    form = as_json if path.suffix == ".jsonl" else as_text
    partial = path.with_name(f"{path.name}.part")
    try:
        stream = partial.open("w", encoding="utf-8", buffering=1)
    except OSError as error:
        raise ConfigError(f"--output {path}: cannot be written ({error.strerror})") from None
    with stream:
        yield lambda transcript: print(form(transcript), file=stream)
    partial.replace(path)


def print_line(transcript: Transcript) -> None:
    """Print a transcript, above the progress bar where there is one."""
    from tqdm import tqdm

    with tqdm.external_write_mode():
        print(as_text(transcript), flush=True)


def write_all(transcripts: Iterable[Transcript], write: Callable[[Transcript], None], total: int) -> None:
    """Write transcripts as they come; on a terminal, with a progress bar."""
    from tqdm import tqdm

    with tqdm(total=total, unit="file", disable=None, leave=False) as bar:  # None: on a terminal only
        for transcript in transcripts:
            write(transcript)
            bar.update()


def as_text(transcript: Transcript) -> str:
    """``path<TAB>words``."""
    return f"{transcript.file}\t{transcript.text}"


def as_json(transcript: Transcript) -> str:
    """One line of JSON with every field of the transcript."""
    return json.dumps(asdict(transcript), ensure_ascii=False)
