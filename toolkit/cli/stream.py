"""Write down what is being said.

    arecord -f S16_LE -r 16000 -c 1 -t raw | asr transcribe results/streaming --stream -
    asr transcribe results/streaming --stream speech.wav

Reads samples from standard input as they come (raw, 16 bits, one channel), or a file of any container. Prints a line
whenever the speaker pauses, and at the end: its words, or with --format jsonl also their times, from the stream's
beginning, and how sure each is. On a terminal, what is understood so far stands below, in grey what may
change.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from toolkit.inference.streaming import PartialTranscript, StreamingASR
    from toolkit.inference.transcript import Transcript

FILE_PIECE_S = 0.1
FORMATS = ("txt", "jsonl")  # those of toolkit.inference.formats that have a line a transcript


def main(arguments: Sequence[str]) -> int:
    """Transcribe what comes in; the exit status."""
    options = parse(arguments)
    from toolkit.inference.streaming import StreamingASR  # torch takes seconds to load: not for --help

    asr = StreamingASR.from_hparams(options.model, device=options.device)
    if options.chunk is not None:
        asr.context = replace(asr.context, chunk_frames=max(1, round(options.chunk / asr.frame_seconds)))
    write(asr, pieces_of(options.stream, options.sample_rate, asr), options.pause, options.format)
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        prog="asr transcribe", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", help="folder or hub name of a model that was trained in chunks")
    parser.add_argument("--stream", required=True, metavar="FILE", help="an audio file, or - for standard input")
    parser.add_argument("--sample-rate", type=_hertz, metavar="HZ", help="of standard input (default: the model's)")
    parser.add_argument("--chunk", type=_seconds, metavar="SECONDS", help="heard at once (default: as in training)")
    parser.add_argument(
        "--pause", type=_seconds, default=1.0, metavar="SECONDS", help="of silence that end a line (1); inf: none does"
    )
    parser.add_argument("--format", choices=FORMATS, default="txt", help="of a line (txt)")
    parser.add_argument("--device", help="cpu, cuda, cuda:0, ... (default: a GPU where there is one)")
    return parser.parse_args(arguments)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected seconds, for instance 0.64")
    return seconds


def _hertz(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r}: expected samples a second, for instance 16000")
    return int(text)


def write(asr: StreamingASR, pieces: Iterator[Tensor | NDArray[np.float32]], pause: float, form: str) -> None:
    """Print a line for every utterance in the pieces; between two there is a pause of so many seconds."""
    stream, shown = asr.stream(), None
    try:
        for piece in pieces:
            partial = stream.feed(piece)
            if sys.stdout.isatty() and partial != shown:
                show_partial(partial)
            shown = partial
            if partial.pause >= pause:
                print_line(stream.end_line(), form)
    finally:  # what was heard before the input ended badly
        print_line(stream.finish(), form)


def print_line(transcript: Transcript, form: str) -> None:
    """Print a transcript, where there are words, over the partial line."""
    from toolkit.inference.formats import text_of

    if sys.stdout.isatty():
        print("\r\x1b[K", end="")
    if transcript.text:
        print(text_of(transcript, form), end="", flush=True)


def show_partial(partial: PartialTranscript) -> None:
    """Show the end of what is understood so far, on one line of the terminal; what may change is dim."""
    room = shutil.get_terminal_size().columns - 1
    left_out = max(0, len(partial.text) - room)
    stable = partial.text[left_out : partial.stable]
    rest = partial.text[max(left_out, partial.stable) :]
    print(f"\r\x1b[K{stable}\x1b[2m{rest}\x1b[0m", end="", flush=True)


def pieces_of(source: str, rate: int | None, asr: StreamingASR) -> Iterator[Tensor | NDArray[np.float32]]:
    """Pieces of audio from standard input, ``-``, until it ends or Ctrl-C is pressed, or of a file."""
    from toolkit.dataio.audio import read_audio
    from toolkit.dataio.pcm import read_pcm

    if source != "-":
        for block in read_audio(source, asr.sample_rate):
            yield from block.split(round(FILE_PIECE_S * asr.sample_rate))
        return
    with contextlib.suppress(KeyboardInterrupt):  # which is how a microphone is switched off
        yield from read_pcm(sys.stdin.buffer, rate or asr.sample_rate, asr.sample_rate)
