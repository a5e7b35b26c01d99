"""Manifests of the corpora that AN4 is blended with: (mini) LibriSpeech, 16 kHz, and Free Spoken Digits, 8 kHz.

    python ../AN4/an4_prepare.py /data/an4 manifests/an4
    python blend_prepare.py manifests --librispeech /data/LibriSpeech --digits /data/free-spoken-digit-dataset

Reads both as distributed (openslr.org/12 and /31; github.com/Jakobovski/free-spoken-digit-dataset)::

    train-clean-5/1088/134315/1088-134315.trans.txt     1088-134315-0000 AS YOU KNOW AND AS I HAVE ...
    train-clean-5/1088/134315/1088-134315-0000.flac
    recordings/7_jackson_32.wav                         digit, speaker, take

and writes librispeech/ and digits/ with a manifest of each split, and its words as lm_*.txt, below MANIFESTS. The
splits of LibriSpeech are its folders. Of the digits, takes 0 to 4 are the official test set, 5 to 9 are for validation.
"""

from __future__ import annotations

import argparse
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
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
from toolkit.dataio.script import run
from toolkit.errors import DataError
from toolkit.files import require_writable

LIBRISPEECH = {"train": "train-clean-5", "valid": "dev-clean-2", "test_clean": "test-clean", "test_other": "test-other"}

DIGITS = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")

# 7_jackson_32
TAKE = re.compile(r"(?P<digit>\d)_(?P<speaker>[a-z]+)_(?P<take>\d+)")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare both corpora as the command line says."""
    args = parse(arguments)
    prepare_librispeech(args.librispeech, args.manifests / "librispeech")
    prepare_digits(args.digits, args.manifests / "digits")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifests", type=Path, help="where to write the manifests")
    parser.add_argument("--librispeech", type=Path, required=True, help="the folder that holds train-clean-5/")
    parser.add_argument("--digits", type=Path, required=True, help="the folder that holds recordings/")
    return parser.parse_args(arguments)


def prepare_librispeech(data_folder: Path, manifests: Path) -> Dropped:
    """Write the manifest of each part of LibriSpeech and print what they hold; returns what was left out."""
    require_files(data_folder, LIBRISPEECH.values(), "LibriSpeech")
    require_writable(manifests, "MANIFESTS")
    dropped = Dropped()
    splits = {split: read_part(data_folder, part, dropped) for split, part in LIBRISPEECH.items()}
    return write(manifests, splits, data_folder, dropped)


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


def prepare_digits(data_folder: Path, manifests: Path) -> Dropped:
    """Write the manifests of the digits and print what they hold; returns what was left out."""
    require_files(data_folder, ["recordings"], "the Free Spoken Digit Dataset")
    require_writable(manifests, "MANIFESTS")
    dropped = Dropped()
    pairs = list(read_digits(data_folder / "recordings", dropped))
    digits = collect(pairs, functools.partial(make_digit, data_folder), dropped)
    splits: dict[str, dict[str, Utterance]] = {"train": {}, "valid": {}, "test": {}}
    for name, utterance in digits.items():
        take = int(TAKE.fullmatch(name)["take"])
        splits["test" if take < 5 else "valid" if take < 10 else "train"][name] = utterance
    return write(manifests, splits, data_folder, dropped)


def read_digits(recordings: Path, dropped: Dropped) -> Iterator[tuple[str, str, Path]]:
    """(recording, the digit's word, audio file) of every recording."""
    for name, path in find_audio(recordings, dropped).items():
        match = TAKE.fullmatch(name)
        if match is None:
            dropped.add("not named DIGIT_SPEAKER_TAKE", str(path))
        else:
            yield name, DIGITS[int(match["digit"])], path


def make_digit(data_folder: Path, words: str, path: Path) -> Utterance:
    """The manifest's entry of one digit."""
    return {**describe_audio(path, data_folder), "words": words, "speaker": TAKE.fullmatch(path.stem)["speaker"]}


def write(
    manifests: Path, splits: Mapping[str, Mapping[str, Utterance]], data_folder: Path, dropped: Dropped
) -> Dropped:
    """Write the manifests of a corpus and print what they hold."""
    write_splits(manifests, splits, data_root=data_folder)
    print(f"{manifests.name}\n{describe_splits(splits)}\n{dropped.summary()}")
    return dropped


if __name__ == "__main__":
    run(main)
