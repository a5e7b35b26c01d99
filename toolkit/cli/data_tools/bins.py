"""The duration bins that pad least, as YAML to paste into train_data.

    asr data bins manifests/train.json --buckets 30
    asr data bins hparams/ctc.yaml --max-duration 20
    asr data bins data/train.yaml --buckets 10 --sub-buckets 3 --tokenizer results/tokenizer/tokenizer.model

Utterances of one bin are padded to its upper end at most. In a blend each data set counts by its weight; copies at
other speeds and the limits of the YAML count too. With --sub-buckets the bins are of two lengths, seconds of audio and
tokens of text: the best ones by duration, each divided into the best ones by tokens.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli.data_tools.arguments import config_of, data_parser, known_size, positive, progress, rounded_up
from toolkit.errors import ConfigError

if TYPE_CHECKING:
    from toolkit.dataio.corpus_lengths import CorpusLengths


def main(arguments: Sequence[str]) -> int:
    """Print the bins of the data set that the command line names; the exit status."""
    options = parse(arguments)
    if (options.sub_buckets is None) != (options.tokenizer is None):
        raise ConfigError("--sub-buckets: of tokens; it needs --tokenizer, and --tokenizer needs it")
    from toolkit.dataio.corpus import Corpus, View
    from toolkit.dataio.corpus_lengths import CorpusLengths
    from toolkit.tokenizer import Tokenizer

    config = config_of(options)
    limits = {"min_duration": options.min_duration, "max_duration": options.max_duration}
    config |= {key: value for key, value in limits.items() if value is not None}
    corpus = Corpus.of(str(options.data), config, View.TRAINING, metadata_only=True)
    encode = Tokenizer(options.tokenizer).encode if options.tokenizer else None
    with progress(known_size(corpus)) as report:
        lengths = CorpusLengths.of(corpus, encode, report)
    print(describe(lengths, options.buckets or config.get("num_buckets") or 30, options.sub_buckets))
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command line."""
    parser = data_parser("bins", __doc__)
    parser.add_argument("--buckets", type=positive, metavar="N", help="bins of duration (num_buckets, or 30)")
    parser.add_argument("--sub-buckets", type=positive, metavar="N", help="bins of tokens in each of them")
    parser.add_argument("--tokenizer", type=Path, metavar="FILE", help="SentencePiece model that counts the tokens")
    parser.add_argument("--min-duration", type=float, metavar="S", help="leave out what is shorter (seconds)")
    parser.add_argument("--max-duration", type=float, metavar="S", help="leave out what is longer (seconds)")
    return parser.parse_args(arguments)


def describe(lengths: CorpusLengths, buckets: int, sub_buckets: int | None) -> str:
    """The YAML of the bins, with what they pad."""
    from toolkit.dataio.bins import duration_bins, duration_bins_2d, padded_to, padded_to_2d, padding

    seconds, weights = lengths.seconds, lengths.frequencies
    alone = padding(seconds, padded_to([], seconds), weights)
    head = f"# {len(seconds):,} utterances, {seconds.sum() / 3600:.2f} h; a single bin would pad by {alone:.1%}"
    if sub_buckets is None:
        ends = [rounded_up(end) for end in duration_bins(seconds, buckets, weights)]
        padded = padding(seconds, padded_to(ends, seconds), weights)
        lines = [f"# padding: {padded:.1%} at most", f"num_buckets: {len(ends) + 1}"]
        written = ", ".join(f"{end:g}" for end in ends)
    else:
        pairs = duration_bins_2d(seconds, lengths.tokens, buckets, sub_buckets, weights)
        pairs = [(rounded_up(end), sub) for end, sub in pairs]
        padded, padded_tokens = padded_to_2d(pairs, seconds, lengths.tokens)
        audio, tokens = padding(seconds, padded, weights), padding(lengths.tokens, padded_tokens, weights)
        lines = [f"# padding: {audio:.1%} of audio and {tokens:.1%} of tokens at most", f"num_buckets: {len(pairs)}"]
        written = ", ".join(f"[{end:g}, {sub:g}]" for end, sub in pairs)
    return "\n".join([head, *lines, "use_bucketing: true", f"bucket_duration_bins: [{written}]"])
