"""The command ``asr``: finds the module of a command, and turns errors into one sentence and an exit status.

0: done. 1: done, but for some of the input. 2: nothing could be done, and why. 130: stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from toolkit import __version__
from toolkit.errors import ConfigError, ToolkitError, did_you_mean

# Each is a module of toolkit.cli, loaded when it is called: `asr --help` answers at once.
COMMANDS = {
    "new": "start a recipe of your own from a template",
    "transcribe": "write down what is said in audio files",
}

EXAMPLES = """\
examples:
  asr new digits                                   a recipe that runs as it is, in ./digits
  asr transcribe digits/results/ctc speech.wav     prints: speech.wav<TAB>WHAT WAS SAID
  asr transcribe --help                            all options of a command
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status."""
    try:
        return _run(arguments)
    except ToolkitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader has seen enough: `asr transcribe ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(arguments: Sequence[str] | None) -> int:
    options = _parse(arguments)
    if options.command not in COMMANDS:
        near = did_you_mean(options.command, COMMANDS)
        raise ConfigError(f"asr has no command {options.command!r}{near}; it has {', '.join(COMMANDS)}")
    return importlib.import_module(f"toolkit.cli.{options.command}").main(options.arguments)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    commands = "".join(f"\n  {name:12}{meaning}" for name, meaning in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="asr",
        usage="asr COMMAND ...",
        description=f"Speech recognition: recipes and trained models.\n\ncommands:{commands}",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"asr-recipes {__version__}")
    parser.add_argument("command", metavar="COMMAND", help=argparse.SUPPRESS)
    parser.add_argument("arguments", metavar="...", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)
