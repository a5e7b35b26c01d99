"""Say when each word of a text is spoken in an audio file.

    asr align results/ctc speech.wav "WHAT IS SAID"
    asr align results/ctc speech.wav speech.txt --output speech.TextGrid

Prints a table of words with their times in seconds and how sure each is; or writes a file of the format that its ending
names: tsv, ctm, srt, vtt, TextGrid, json, jsonl, txt. The audio may be of any kind and length.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from toolkit.errors import ConfigError, DataError
from toolkit.files import require_writable, write_atomically


def main(arguments: Sequence[str]) -> int:
    """Align as the command line says; the exit status."""
    options = parse(arguments)
    from toolkit.inference.formats import FORMATS, text_of

    form = options.format or (options.output.suffix[1:] if options.output else "tsv")
    if form not in FORMATS:
        raise ConfigError(f"format {form!r}: expected one of {', '.join(FORMATS)}")
    if options.output:
        require_writable(options.output.parent, "--output")
    text = read_text(options.text)
    from toolkit.inference.transcriber import Transcriber

    transcriber = Transcriber.from_hparams(options.model, device=options.device)
    found = text_of(transcriber.align(options.audio, text, channel=options.channel), form)
    if options.output:
        write_atomically(options.output, found)
    else:
        sys.stdout.write(found)
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        prog="asr align", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", help="a run's folder, an exported one, or a name on the hub")
    parser.add_argument("audio", type=Path, metavar="AUDIO", help="audio file")
    parser.add_argument("text", metavar="TEXT", help="what is said in it, or a .txt file that holds that")
    parser.add_argument("--output", type=Path, metavar="FILE", help="instead of printing")
    parser.add_argument("--format", metavar="FORMAT", help="by default that of the ending of --output, or tsv")
    parser.add_argument("--channel", type=int, metavar="N", help="which one to hear, from 0 on (default: their mean)")
    parser.add_argument("--device", help="cpu, cuda, cuda:0, ... (default: a GPU where there is one)")
    return parser.parse_args(arguments)


def read_text(text: str) -> str:
    """The text, or what is in the .txt file of this name."""
    if not text.endswith(".txt"):
        return text
    try:
        return Path(text).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{text}: cannot be read as text ({error})") from None
