"""Manifests of the Free Spoken Digit Dataset: the digits zero to nine, each spoken 50 times by six people, 8 kHz.

    python digits_prepare.py data/fsdd manifests --download           # fetched into data/fsdd first
    python digits_prepare.py /data/fsdd manifests                     # a copy of the corpus
    python digits_prepare.py /data/fsdd manifests --held-out george   # tested on a voice that training did not hear

Reads the corpus as distributed (github.com/Jakobovski/free-spoken-digit-dataset), where a file's name says it all::

    recordings/7_jackson_32.wav     digit, speaker, take

and writes train.json, valid.json, test.json and their words as lm_train.txt, lm_valid.txt, lm_test.txt. Takes 0 to 4
are the official test set, takes 5 to 9 are for validation, the others are train. With --held-out, all takes of that
speaker are the test set; train are takes 10 to 49 of the others, valid are their takes 0 to 9.
"""

from __future__ import annotations

import argparse
import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from toolkit.dataio.download import Archive, fetch
from toolkit.dataio.prepare import (
    Dropped,
    Utterance,
    collect,
    describe_audio,
    describe_splits,
    find_audio,
    require_files,
    write_splits,
)
from toolkit.dataio.script import corpus_parser, run
from toolkit.errors import DataError
from toolkit.files import require_writable

ARCHIVES = [
    Archive(
        "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/heads/master.tar.gz",
        target="recordings",
        member="free-spoken-digit-dataset-master/recordings",
    )
]

DIGITS = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")

# 7_jackson_32
TAKE = re.compile(r"(?P<digit>\d)_(?P<speaker>[a-z]+)_(?P<take>\d+)")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare the digits as the command line says."""
    args = parse(arguments)
    if args.download:
        fetch(ARCHIVES, args.data_folder)
    prepare_digits(args.data_folder, args.manifests, args.held_out)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = corpus_parser(__doc__, holds="recordings/", download="github.com/Jakobovski (a few MB)")
    parser.add_argument("--held-out", metavar="SPEAKER", help="who is heard in the test set, and there alone")
    return parser.parse_args(arguments)


def prepare_digits(data_folder: Path, manifests: Path, held_out: str | None = None) -> Dropped:
    """Write the manifests of all splits and print what they hold; returns what was left out."""
    require_files(data_folder, ["recordings"], "the Free Spoken Digit Dataset")
    require_writable(manifests, "MANIFESTS")
    dropped = Dropped()
    pairs = read_names(data_folder / "recordings", dropped)
    utterances = collect(pairs, functools.partial(make_utterance, data_folder), dropped)
    speakers = sorted({one["speaker"] for one in utterances.values()})
    if held_out is not None and held_out not in speakers:
        raise DataError(f"--held-out {held_out}: no such speaker; {data_folder} has {', '.join(speakers) or 'none'}")
    splits: dict[str, dict[str, Utterance]] = {"train": {}, "valid": {}, "test": {}}
    for name, utterance in utterances.items():
        splits[split_of(name, held_out)][name] = utterance
    write_splits(manifests, splits, data_root=data_folder, dropped=dropped)
    print(f"{describe_splits(splits)}\n{dropped.summary()}")
    return dropped


def read_names(recordings: Path, dropped: Dropped) -> Iterator[tuple[str, str, Path]]:
    """(recording, the digit's word, audio file) of every recording."""
    for name, path in find_audio(recordings, dropped).items():
        match = TAKE.fullmatch(name)
        if match is None:
            dropped.add("not named DIGIT_SPEAKER_TAKE", str(path))
        else:
            yield name, DIGITS[int(match["digit"])], path


def make_utterance(data_folder: Path, words: str, path: Path) -> Utterance:
    """The manifest's entry of one recording."""
    return {**describe_audio(path, data_folder), "words": words, "speaker": TAKE.fullmatch(path.stem)["speaker"]}


def split_of(name: str, held_out: str | None) -> str:
    """The split of a recording."""
    match = TAKE.fullmatch(name)
    is_test = int(match["take"]) < 5 if held_out is None else match["speaker"] == held_out
    return "test" if is_test else "valid" if int(match["take"]) < 10 else "train"


if __name__ == "__main__":
    run(main)
