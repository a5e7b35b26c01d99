"""Write a data set as manifests or shards of another format.

    asr data convert data/kaldi_train manifests/train.json --to speechbrain_json
    asr data convert manifests/train.json shards --to nemo_tarred --shards 32 -j 8
    asr data convert hparams/ctc.yaml valid.jsonl.gz --key valid_data --to lhotse

OUTPUT holds the same utterances with the same samples, and is read by the type of the same name: what to write into
a recipe is printed. Manifests refer to the audio files there are; what is not a file of its own (of a tar, or a part
where the format knows none) is written to the folder OUTPUT_audio. Nothing that is there is replaced. Limits such as
max_duration count, other changes do not.
With -j, each process writes a shard. A conversion to shards that was stopped goes on with the same command,
unless its manifests have changed; shards that are older than their audio are written again. What can only be read in
order, such as a stream of HuggingFace's, is written by one process, and from the start.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
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
from toolkit.errors import ConfigError

if TYPE_CHECKING:
    from toolkit.dataio.conversion import Target, Written


def main(arguments: Sequence[str]) -> int:
    """Convert as the command line says; the exit status: 1 when utterances were left out."""
    options = parse(arguments)
    try:
        target, written = _converted(options)
    except OSError as error:  # a full disk, a name that is too long
        raise ConfigError(f"{error.filename or options.output}: {error.strerror}") from error
    print(summary(written, target))
    return 1 if written.skipped else 0


def _converted(options: argparse.Namespace) -> tuple[Target, Written]:
    """What was to be written, and what was."""
    import numpy as np

    from toolkit.dataio.conversion import Target, convert
    from toolkit.dataio.corpus import View
    from toolkit.dataio.source_files import stamp_of

    # Complains before the data is read.
    Target(options.format, options.output, options.shards).require_possible(options.workers)
    config = config_of(options)
    stamp = stamp_of(config)
    corpus = corpus_of(options, view=View.WITHIN_LIMITS, checked=not options.skip_broken)
    size = known_size(corpus)
    seconds = round(float(np.nansum(corpus.examples.lengths)), 2) if corpus.is_indexed else None
    source = {"data": config, "files": stamp, "utterances": size, "seconds": seconds}
    target = Target(options.format, options.output, options.shards, options.skip_broken, source)
    with progress(size) as report:
        return target, convert(corpus.examples, target, workers=options.workers, report=report)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command line."""
    parser = data_parser("convert", __doc__)
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="manifest to write, or folder of shards")
    formats = "speechbrain_json, speechbrain_csv, nemo, lhotse; with shards: nemo_tarred, lhotse_shar"
    parser.add_argument("--to", dest="format", required=True, metavar="FORMAT", help=formats)
    parser.add_argument("--shards", type=positive, default=1, metavar="N", help="shards to write (1)")
    add_workers(parser)
    parser.add_argument(
        "--skip-broken", action="store_true", help="leave out, and count, what cannot be read or has no words"
    )
    return parser.parse_args(arguments)


def summary(written: Written, target: Target) -> str:
    """What was written, what was left out, and how a recipe reads it."""
    lines = [f"# {written.utterances} utterances, {written.seconds / 3600:.2f} h"]
    if written.skipped:
        lines += [f"# left out: {written.skipped}", *(f"#   {reason}" for reason in written.reasons)]
        lines += ["#   ..."] if written.skipped > len(written.reasons) else []
    return "\n".join([*lines, *(f"{key}: {value}" for key, value in target.reading.items())])
