"""Manifests of LJSpeech 1.1: 24 hours of books read aloud by one woman, 22,050 Hz.

    python ljspeech_prepare.py data/LJSpeech-1.1 manifests --download   # fetched into data/LJSpeech-1.1 first
    python ljspeech_prepare.py /data/LJSpeech-1.1 manifests             # a copy of the corpus

Reads the corpus as distributed (keithito.com/LJ-Speech-Dataset)::

    metadata.csv       LJ001-0007|the earliest book printed ... of about 1455,|the earliest book printed ... fifty-five,
    wavs/LJ001-0007.wav

and writes train.json, valid.json, test.json and their words as lm_train.txt, lm_valid.txt, lm_test.txt. Words are the
third column, in which numbers are written out, in small letters without punctuation; the table that is printed says
which characters were left out. There is no official split; this is ESPnet's: of the 13,100 utterances in the order of
their names the last 500 are held out, 250 for validation and then 250 to test. They are of the last book, and of the
same voice as the others: a recogniser learns this voice, and no other. Lhotse's preparation has no splits.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from pathlib import Path

from toolkit.dataio.download import Archive, fetch
from toolkit.dataio.prepare import (
    Dropped,
    Utterance,
    collect,
    describe_audio,
    describe_splits,
    find_audio,
    match_transcripts,
    read_text_lines,
    require_files,
    spell,
    write_splits,
)
from toolkit.dataio.script import corpus_parser, run
from toolkit.dataio.spelling import Spelling
from toolkit.errors import DataError
from toolkit.files import require_writable

# The checksum is torchaudio's.
ARCHIVES = [
    Archive(
        "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
        member="LJSpeech-1.1",
        checksum="sha256:be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
    )
]

HELD_OUT = 250  # utterances for validation, and as many to test


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare LJSpeech as the command line says."""
    args = parse(arguments)
    if args.download:
        fetch(ARCHIVES, args.data_folder)
    prepare_ljspeech(args.data_folder, args.manifests)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = corpus_parser(__doc__, holds="metadata.csv and wavs/", download="data.keithito.com (2.6 GB)")
    return parser.parse_args(arguments)


def prepare_ljspeech(data_folder: Path, manifests: Path, held_out: int = HELD_OUT) -> Dropped:
    """Write the manifests of all splits and print what they hold; returns what was left out."""
    require_files(data_folder, ["metadata.csv", "wavs"], "LJSpeech")
    require_writable(manifests, "MANIFESTS")
    dropped, spelling = Dropped(), Spelling("en")
    texts = read_metadata(data_folder / "metadata.csv")
    names = sorted(texts)  # of all utterances, so that a file that is missing moves no other to another split
    ends = {"train": names[: -2 * held_out], "valid": names[-2 * held_out : -held_out], "test": names[-held_out:]}
    pairs = match_transcripts(texts, find_audio(data_folder / "wavs", dropped), dropped)
    utterances = collect(spell(pairs, spelling, dropped), functools.partial(make_utterance, data_folder), dropped)
    splits = {split: {name: utterances[name] for name in part if name in utterances} for split, part in ends.items()}
    write_splits(manifests, splits, data_root=data_folder, dropped=dropped)
    print(f"{describe_splits(splits)}\n{dropped.summary()}\n{spelling.report()}")
    return dropped


def read_metadata(path: Path) -> dict[str, str]:
    """The text of each utterance in which numbers are written out."""
    texts = {}
    for number, line in read_text_lines(path):
        fields = line.split("|")
        if len(fields) != 3:
            raise DataError(f"{path}: line {number} is not 'utterance|text|text with numbers written out': {line!r}")
        texts[fields[0]] = fields[2]
    return texts


def make_utterance(data_folder: Path, words: str, path: Path) -> Utterance:
    """The manifest's entry of one utterance."""
    return {**describe_audio(path, data_folder), "words": words, "speaker": "LJ"}


if __name__ == "__main__":
    run(main)
