"""Hours, durations, speakers, vocabulary and tokens a second of a data set.

    asr data stats manifests/train.json
    asr data stats hparams/ctc.yaml --key test_data.test --tokenizer results/tokenizer_char/tokenizer.model
    asr data stats data/train.yaml --max-duration 20 --png train.png

No audio is opened where the manifest tells how long it is; a sample rate that it does not tell is then not known.
Utterances beyond the bounds are counted; by default these are the bounds of the YAML. Each data set of a blend is
counted once, whatever its weight.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli.data_tools.arguments import config_of, corpus_of, data_parser, known_size, progress
from toolkit.errors import ConfigError
from toolkit.files import require_writable

if TYPE_CHECKING:
    from toolkit.dataio.statistics import Bounds

# Bounds by measure: the keys of a configuration, and of the command line.
BOUNDS = {
    "seconds": ("min_duration", "max_duration"),
    "tokens": ("min_tokens", "max_tokens"),
    "tokens a second": ("min_tps", "max_tps"),
}


def main(arguments: Sequence[str]) -> int:
    """Print the statistics of the data set that the command line names; the exit status."""
    options = parse(arguments)
    bounds = bounds_of(options)
    if options.png:
        _require_png(options.png)
    from toolkit.dataio.statistics import Statistics, plot_histograms
    from toolkit.tokenizer import Tokenizer

    corpus = corpus_of(options, metadata_only=True)
    statistics = Statistics(Tokenizer(options.tokenizer).encode if options.tokenizer else None)
    with progress(known_size(corpus)) as report:
        statistics.add_all(corpus.examples, report)
    print(statistics.table(bounds))
    if options.png:
        plot_histograms(statistics.measures(), bounds, options.png)
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command line."""
    parser = data_parser("stats", __doc__)
    parser.add_argument("--tokenizer", type=Path, metavar="FILE", help="SentencePiece model, for figures of tokens")
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw histograms")
    for keys in BOUNDS.values():
        for key in keys:
            parser.add_argument(f"--{key.replace('_', '-')}", type=float, metavar="X", help="count what is beyond")
    return parser.parse_args(arguments)


def bounds_of(options: argparse.Namespace) -> dict[str, Bounds]:
    """The bounds of the command line, else of the configuration, by measure.

    Raises
    ------
    ConfigError
        They are of tokens, and no tokenizer is named; or nothing can be within.
    """
    from toolkit.dataio.statistics import Bounds

    config = config_of(options)
    bounds = {}
    for measure, keys in BOUNDS.items():
        given = {key: getattr(options, key) for key in keys if getattr(options, key) is not None}
        if given and measure != "seconds" and not options.tokenizer:
            raise ConfigError(f"--{next(iter(given)).replace('_', '-')}: counts tokens; name a --tokenizer")
        low, high = (given.get(key, config.get(key)) for key in keys)
        if low is not None or high is not None:
            bounds[measure] = Bounds(-math.inf if low is None else low, math.inf if high is None else high)
            if bounds[measure].low > bounds[measure].high:
                raise ConfigError(f"{keys[0]} is {low:g} and {keys[1]} is {high:g}: nothing is within; exchange them")
    return bounds


def _require_png(path: Path) -> None:
    if path.suffix.lower() != ".png" or path.is_dir():
        raise ConfigError(f"--png {path}: expected a file that ends in .png")
    require_writable(path.parent, "--png")
