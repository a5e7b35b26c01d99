"""Bring the YAML of a SpeechBrain model to the names and arguments of today.

    asr convert-hparams pretrained_model/hyperparams.yaml
    asr convert-hparams old.yaml --output new.yaml

Writes the new YAML and prints what was changed, line by line; the old file stays. Models load without: this shows what
is done when they do, and makes a YAML to work on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from toolkit.errors import ConfigError
from toolkit.files import require_writable, write_atomically
from toolkit.hparams import HparamsDocument


def main(arguments: Sequence[str]) -> int:
    """Convert as the command line says; the exit status."""
    options = parse(arguments)
    output = options.output or options.yaml.with_suffix(f".converted{options.yaml.suffix}")
    if output.resolve() == options.yaml.resolve():
        raise ConfigError(f"--output {output}: is the old file, which stays; name another")
    require_writable(output.parent, "--output")
    document = HparamsDocument(options.yaml)
    from toolkit.inference.translation import translate

    changes = translate(document)
    write_atomically(output, document.text())
    for change in changes:
        print(f"{options.yaml}, {change}")
    print(f"{output}: {len(changes) or 'no'} change{'s' * (len(changes) != 1)}")
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        prog="asr convert-hparams", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("yaml", type=Path, metavar="OLD.yaml", help="hyperparameter file of SpeechBrain 0.5 or 1.0")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: OLD.converted.yaml, beside it")
    return parser.parse_args(arguments)
