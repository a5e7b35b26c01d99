"""Manifests of (mini) LibriSpeech; those of AN4 and the digits are made by their own recipes.

    python ../AN4/an4_prepare.py /data/an4 manifests/an4
    python ../Digits/digits_prepare.py /data/free-spoken-digit-dataset manifests/digits
    python blend_prepare.py /data/LibriSpeech manifests/librispeech

Reads the corpus as distributed (openslr.org/12 and /31)::

    train-clean-5/1088/134315/1088-134315.trans.txt     1088-134315-0000 AS YOU KNOW AND AS I HAVE ...
    train-clean-5/1088/134315/1088-134315-0000.flac

and writes a manifest of each part, and its words as lm_*.txt.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

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
    write_splits,
)
from toolkit.dataio.script import corpus_parser, run
from toolkit.errors import DataError
from toolkit.files import require_writable

LIBRISPEECH = {"train": "train-clean-5", "valid": "dev-clean-2", "test_clean": "test-clean", "test_other": "test-other"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare LibriSpeech as the command line says."""
    args = corpus_parser(__doc__, holds="train-clean-5/").parse_args(arguments)
    prepare_librispeech(args.data_folder, args.manifests)


def prepare_librispeech(data_folder: Path, manifests: Path) -> Dropped:
    """Write the manifest of each part of LibriSpeech and print what they hold; returns what was left out."""
    require_files(data_folder, LIBRISPEECH.values(), "LibriSpeech")
    require_writable(manifests, "MANIFESTS")
    dropped = Dropped()
    splits = {split: read_part(data_folder, part, dropped) for split, part in LIBRISPEECH.items()}
    write_splits(manifests, splits, data_root=data_folder, dropped=dropped)
    print(f"{describe_splits(splits)}\n{dropped.summary()}")
    return dropped


def read_part(data_folder: Path, part: str, dropped: Dropped) -> dict[str, Utterance]:
    """The utterances of one part of LibriSpeech by name, which begins with the speaker's."""
    transcripts = dict(read_transcripts(data_folder / part))
    pairs = match_transcripts(transcripts, find_audio(data_folder / part, dropped), dropped)
    return collect(pairs, functools.partial(make_utterance, data_folder), dropped)


def read_transcripts(folder: Path) -> Iterator[tuple[str, str]]:
    """(utterance, words) of every line of a part's transcripts."""
    for path in sorted(folder.rglob("*.trans.txt")):
        for number, line in read_text_lines(path):
            name, _, words = line.partition(" ")
            if not words:
                raise DataError(f"{path}: line {number} is not 'utterance WORDS': {line!r}")
            yield name, words


def make_utterance(data_folder: Path, words: str, path: Path) -> Utterance:
    """The manifest's entry of one utterance of LibriSpeech."""
    return {**describe_audio(path, data_folder), "words": words, "speaker": path.stem.split("-")[0]}


if __name__ == "__main__":
    run(main)
