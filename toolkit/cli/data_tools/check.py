"""Open and decode every audio file of a data set, and list the worst problems.

    asr data check manifests/train.json -j 4
    asr data check hparams/ctc.yaml --key valid_data --show 100

Looks for audio that cannot be read to its end, is longer or shorter than the manifest says, of another rate or all
zeros, for utterances without a transcript, and for ids that appear again. The exit status is 1 where there is any.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from toolkit.cli.data_tools.arguments import add_workers, corpus_of, data_parser, known_size, positive, progress


def main(arguments: Sequence[str]) -> int:
    """Check the data set that the command line names; the exit status: 1 where something is wrong."""
    options = parse(arguments)
    from toolkit.dataio.inspection import inspect_all

    corpus = corpus_of(options, checked=False)
    with progress(known_size(corpus)) as report:
        inspection = inspect_all(corpus.examples, workers=options.workers, report=report)
    print(inspection.report(options.show))
    return 1 if inspection.counts else 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command line."""
    parser = data_parser("check", __doc__)
    parser.add_argument("--show", type=positive, default=20, metavar="N", help="problems of each kind to name (20)")
    add_workers(parser)
    return parser.parse_args(arguments)
