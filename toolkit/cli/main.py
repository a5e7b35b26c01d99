"""The command ``asr``: finds the module of a command, and turns errors into one sentence and an exit status.

0: done. 1: done, but for some of the input. 2: nothing could be done, and why. 130: stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit import __version__
from toolkit.errors import ConfigError, ToolkitError, did_you_mean

# Each is a module of toolkit.cli, loaded when it is called: `asr --help` answers at once.
COMMANDS = {
    "align": "say when each word of a known text is spoken",
    "calibrate": "make the confidence of a model's words mean how often they are right",
    "check": "look for all that would stop a training, before it begins",
    "client": "have audio files transcribed by a service",
    "convert-hparams": "bring the YAML of an old SpeechBrain model to today's names",
    "data": "look at data sets, check and convert them, and plan their batches",
    "export": "make a folder that stands alone of a trained model",
    "list": "name the recipes and templates, and their experiments",
    "new": "start a recipe of your own from a template or a recipe",
    "results": "gather what trainings reached into the table of recipes/README.md",
    "score": "count the errors of what was recognised, as a text or as a page with audio",
    "serve": "answer requests for transcripts over HTTP",
    "transcribe": "write down what is said in audio files",
    "tune": "search the values of YAML keys that are best on the validation set",
}

EXAMPLES = """\
examples:
  asr new digits                                   a recipe that runs as it is, in ./digits
  asr check digits/hparams/ctc.yaml                what would stop its training, all at once
  asr transcribe digits/results/ctc speech.wav     prints: speech.wav<TAB>WHAT WAS SAID
  asr score digits/manifests/test.json out.jsonl   error rates, with confidence intervals
  asr serve digits/results/ctc                     a page, and an API, at http://localhost:8000
  asr data check digits/manifests/train.json       opens every audio file
  asr transcribe --help                            all options of a command
"""


@dataclass(frozen=True)
class Program:
    """A command that has commands: how it is called, what it is for, and its commands, modules of ``package``."""

    name: str
    description: str
    commands: Mapping[str, str]
    package: str
    examples: str

    def run(self, arguments: Sequence[str] | None) -> int:
        """Run the command that the arguments name; the exit status."""
        options = self._parse(arguments)
        if options.command not in self.commands:
            near = did_you_mean(options.command, self.commands)
            known = ", ".join(self.commands)
            raise ConfigError(f"{self.name} has no command {options.command!r}{near}; it has {known}")
        module = importlib.import_module(f"{self.package}.{options.command.replace('-', '_')}")
        return module.main(options.arguments)

    def _parse(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        commands = "".join(f"\n  {name:17}{meaning}" for name, meaning in self.commands.items())
        parser = argparse.ArgumentParser(
            prog=self.name,
            usage=f"{self.name} COMMAND ...",
            description=f"{self.description}\n\ncommands:{commands}",
            epilog=self.examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if self.name == "asr":
            parser.add_argument("--version", action="version", version=f"asr-recipes {__version__}")
        parser.add_argument("command", metavar="COMMAND", help=argparse.SUPPRESS)
        parser.add_argument("arguments", metavar="...", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
        return parser.parse_args(arguments)


ASR = Program("asr", "Speech recognition: recipes and trained models.", COMMANDS, "toolkit.cli", EXAMPLES)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status."""
    try:
        return ASR.run(arguments)
    except ToolkitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader has seen enough: `asr transcribe ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
