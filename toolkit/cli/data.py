"""Look at data sets, check and convert them, and plan their batches.

    asr data check manifests/train.json
    asr data convert data/kaldi_train shards --to nemo_tarred --shards 32 -j 8

DATA is a manifest (.json, .jsonl, .csv, .jsonl.gz), a folder (of audio, Kaldi's, or shards), a YAML of a data set with
the keys of a recipe's train_data, or a recipe's YAML itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.cli.main import Program

COMMANDS = {
    "stats": "hours, durations, speakers, vocabulary, tokens a second, as a table and as histograms",
    "check": "open and decode every audio file, and list the worst problems",
    "convert": "write any data set as manifests or shards of another format",
    "bins": "duration bins that pad least, as YAML",
    "batch-size": "the largest batch of each bucket whose training step fits in memory, as YAML",
}

EXAMPLES = "asr data check --help shows the options of a command."


def main(arguments: Sequence[str]) -> int:
    """Run the command of the data tools that the arguments name; the exit status."""
    return Program("asr data", __doc__, COMMANDS, "toolkit.cli.data_tools", EXAMPLES).run(arguments)
