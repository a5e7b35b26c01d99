"""Manifests of LibriSpeech: 100, 460 or 960 hours of read books to train on, 16 kHz.

    python librispeech_prepare.py /data/LibriSpeech manifests                           # a copy of the corpus
    python librispeech_prepare.py /data/LibriSpeech manifests --hours 100 --download    # fetched into it first
    python librispeech_prepare.py /data/LibriSpeech manifests --lm-text /data/librispeech-lm-norm.txt.gz
    python librispeech_prepare.py /data/LibriSpeech manifests --openrir /data/RIRS_NOISES

Reads the corpus as distributed, through lhotse.recipes (`toolkit.dataio.librispeech`)::

    train-clean-100/103/1240/103-1240.trans.txt     103-1240-0000 CHAPTER ONE MISSUS RACHEL LYNDE ...
    train-clean-100/103/1240/103-1240-0000.flac     speaker, chapter, utterance

and writes train.json, and dev_clean.json, dev_other.json, test_clean.json and test_other.json, and their words as
lm_*.txt. Of a text for language models (`toolkit.dataio.lm_text`) come lm_books.txt and lm_books_test.txt; of
OpenRIR's noises (`toolkit.dataio.openrir`) noises.jsonl and rirs.jsonl.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from toolkit.dataio.librispeech import add_options, prepare_librispeech
from toolkit.dataio.script import corpus_parser, run

TRAIN = {
    100: ["train-clean-100"],
    460: ["train-clean-100", "train-clean-360"],
    960: ["train-clean-100", "train-clean-360", "train-other-500"],
}

TESTS = {
    "dev_clean": ["dev-clean"],
    "dev_other": ["dev-other"],
    "test_clean": ["test-clean"],
    "test_other": ["test-other"],
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare the corpus, and what else is asked for."""
    args = parse(arguments)
    prepare_librispeech(args, {"train": TRAIN[args.hours], **TESTS})


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    holds = "train-clean-100/ ... test-other/"
    parser = corpus_parser(__doc__, holds=holds, download="openslr.org/12 (60 GB; with --hours 100: 8 GB)")
    parser.add_argument("--hours", type=int, choices=TRAIN, default=960, help="how much of the training set (960)")
    add_options(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(main)
