"""Open and decode every audio file of a data set, and list the worst problems.

    asr data check manifests/train.json -j 4
    asr data check hparams/ctc.yaml --key valid_data --show 100

Looks for audio that cannot be read to its end, is longer or shorter than the manifest says, of another rate or all
zeros, for utterances without a transcript, and for ids that appear again. The exit status is 1 where there is any.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli.data_tools.arguments import (
    add_workers,
    config_of,
    corpus_of,
    data_parser,
    known_size,
    positive,
    progress,
)

if TYPE_CHECKING:
    from lhotse.cut import Cut


def main(arguments: Sequence[str]) -> int:
    """Check the data set that the command line names; the exit status: 1 where something is wrong."""
    options = parse(arguments)
    from toolkit.dataio.inspection import inspect_all

    examples, size = _examples(options)
    with progress(size) as report:
        inspection = inspect_all(examples, workers=options.workers, report=report)
    print(inspection.report(options.show))
    return 1 if inspection.counts else 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command line."""
    parser = data_parser("check", __doc__)
    parser.add_argument("--show", type=positive, default=20, metavar="N", help="problems of each kind to name (20)")
    add_workers(parser)
    return parser.parse_args(arguments)


def _examples(options: argparse.Namespace) -> tuple[Iterable[Cut], int | None]:
    """All utterances; those of a manifest of SpeechBrain's also where reading it would stop at the first damage."""
    from toolkit.dataio.audio_types import is_nemo
    from toolkit.dataio.manifests import read_unchecked

    config = config_of(options)
    path = config.get("manifest_filepath")
    if isinstance(path, str) and Path(path).is_file() and not is_nemo(path):
        examples = read_unchecked(path, config.get("data_root"))
        return examples, len(examples)
    corpus = corpus_of(options)
    return corpus.examples, known_size(corpus)
