"""Manifests of mini-LibriSpeech: five hours of read books to train on, and LibriSpeech's test sets, 16 kHz.

    python mini_librispeech_prepare.py /data/LibriSpeech manifests                # a copy of the corpus
    python mini_librispeech_prepare.py /data/LibriSpeech manifests --download     # fetched into /data/LibriSpeech first
    python mini_librispeech_prepare.py /data/LibriSpeech manifests --lm-text /data/librispeech-lm-norm.txt.gz
    python mini_librispeech_prepare.py /data/LibriSpeech manifests --openrir /data/RIRS_NOISES

Reads the corpus as distributed, through lhotse.recipes (`toolkit.dataio.librispeech`)::

    train-clean-5/1088/134315/1088-134315.trans.txt     1088-134315-0000 AS YOU KNOW AND AS I HAVE ...
    train-clean-5/1088/134315/1088-134315-0000.flac     speaker, chapter, utterance

and writes train.json, valid.json (dev-clean-2), test_clean.json and test_other.json, and their words as lm_*.txt. Of a
text for language models (`toolkit.dataio.lm_text`) come lm_books.txt and lm_books_test.txt; of OpenRIR's noises
(`toolkit.dataio.openrir`) noises.jsonl and rirs.jsonl.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from toolkit.dataio.librispeech import add_options, prepare_librispeech
from toolkit.dataio.script import corpus_parser, run

SPLITS = {
    "train": ["train-clean-5"],
    "valid": ["dev-clean-2"],
    "test_clean": ["test-clean"],
    "test_other": ["test-other"],
}

# Of a text for language models: n-grams are counted in memory, a million words in half a minute.
LM_SENTENCES = 150_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare the corpus, and what else is asked for."""
    prepare_librispeech(parse(arguments), SPLITS, most_sentences=LM_SENTENCES)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = corpus_parser(__doc__, holds="train-clean-5/ and dev-clean-2/", download="openslr.org/31 and /12 (1.1 GB)")
    add_options(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(main)
