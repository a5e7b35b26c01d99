"""Manifests of AN4, Carnegie Mellon's census database: 948 + 130 spoken names, numbers and commands, 16 kHz.

    python an4_prepare.py /data/an4 manifests              # a copy of the corpus
    python an4_prepare.py /data/an4 manifests --download   # fetched into /data/an4 first

Reads the corpus as distributed, in any of its containers (.sph, .raw of either byte order, .wav, .flac)::

    etc/an4_train.transcription     <s> U M N Y H SIX </s> (an255-fash-b)
    etc/an4_test.transcription      RUBOUT G M E F THREE NINE (an406-fcaw-b)
    wav/an4_clstk/fash/an255-fash-b.sph
    wav/an4test_clstk/fcaw/an406-fcaw-b.sph

and writes train.json, valid.json, test.json and their words as lm_train.txt, lm_valid.txt, lm_test.txt. Headerless .raw
files, which training cannot read, are copied to FLAC below MANIFESTS/audio. Runs again in seconds.

The validation set is VALID_SPEAKERS, eight whole speakers of the training set; the rest is train. A speaker is a
folder, and no speaker is on two sides: the names spelled in the census utterances differ between all folders (msmn
alone has none), so that a digit (mdcs, mdcs2) tells people with the same initials apart. Other files of etc/
(`an4_test.transcription253239`, `...257575`) are not used.
"""

from __future__ import annotations

import argparse
import functools
import re
from collections.abc import Sequence
from pathlib import Path

from toolkit.dataio.download import Archive, fetch
from toolkit.dataio.prepare import (
    Dropped,
    Utterance,
    collect,
    convert_raw,
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

ARCHIVE = Archive("http://www.speech.cs.cmu.edu/databases/an4/an4_sphere.tar.gz", member="an4")

# Every seventh woman (f...) and every eleventh man (m...) of the training set in alphabetical order, from the sixth
# and the fifth on, where no word of theirs is missing from the rest: 104 utterances, 593 words, 3 women and 5 men (the
# test set has 3 and 7).
VALID_SPEAKERS = ("fjam", "fmjc", "ftmj", "mcen", "mema", "mkdb", "mrab", "mtcv")

SAMPLE_RATE = 16000

# <s> U M N Y H SIX </s> (an255-fash-b)
LINE = re.compile(r"(?P<words>.*?)\s*\((?P<name>[^()\s]+)\)")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare AN4 as the command line says."""
    args = parse(arguments)
    if args.download:
        fetch([ARCHIVE], args.data_folder)
    prepare_an4(args.data_folder, args.manifests, args.valid_speakers)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = corpus_parser(__doc__, holds="etc/ and wav/", download=f"{ARCHIVE.url} (64 MB)")
    parser.add_argument("--valid-speakers", nargs="+", default=VALID_SPEAKERS, metavar="SPEAKER", help="held out")
    return parser.parse_args(arguments)


def prepare_an4(data_folder: Path, manifests: Path, valid_speakers: Sequence[str] = VALID_SPEAKERS) -> Dropped:
    """Write the manifests of all splits and print what they hold; returns what was left out."""
    require_files(data_folder, ["etc/an4_train.transcription", "etc/an4_test.transcription", "wav"], "AN4")
    require_writable(manifests, "MANIFESTS")
    dropped = Dropped()
    read = functools.partial(read_part, data_folder, manifests, dropped=dropped)
    train, test = read("train", "an4_clstk"), read("test", "an4test_clstk")
    unknown = set(valid_speakers) - {one["speaker"] for one in train.values()}
    if unknown:
        raise DataError(f"--valid-speakers: {', '.join(sorted(unknown))}: no folder of that name in wav/an4_clstk")
    valid = {name: one for name, one in train.items() if one["speaker"] in valid_speakers}
    splits = {"train": {name: one for name, one in train.items() if name not in valid}, "valid": valid, "test": test}
    write_splits(manifests, splits, data_root=data_folder, dropped=dropped)
    print(f"{describe_splits(splits)}\n{dropped.summary()}")
    return dropped


def read_part(data_folder: Path, manifests: Path, part: str, folder: str, *, dropped: Dropped) -> dict[str, Utterance]:
    """The utterances of the official train or test part, by name."""
    transcripts = read_transcripts(data_folder / f"etc/an4_{part}.transcription", dropped)
    pairs = match_transcripts(transcripts, find_audio(data_folder / "wav" / folder, dropped), dropped)
    return collect(pairs, functools.partial(make_utterance, data_folder, manifests), dropped)


def read_transcripts(path: Path, dropped: Dropped) -> dict[str, str]:
    """Words by utterance; of several lines for one, the first is taken, and the others are counted."""
    transcripts: dict[str, str] = {}
    for number, line in read_text_lines(path):
        match = LINE.fullmatch(line)
        if match is None:
            raise DataError(f"{path}: line {number} is not 'WORDS (utterance)': {line!r}")
        if match["name"] in transcripts:
            dropped.add("with another transcript", f"{path}, line {number}: {line}")
            continue
        transcripts[match["name"]] = " ".join(word for word in match["words"].split() if word not in ("<s>", "</s>"))
    return transcripts


def make_utterance(data_folder: Path, manifests: Path, words: str, path: Path) -> Utterance:
    """The manifest's entry of one utterance; its speaker is the name of its folder."""
    speaker = path.parent.name
    if path.suffix.lower() == ".raw":
        path = convert_raw(path, manifests / "audio" / speaker / f"{path.stem}.flac", SAMPLE_RATE)
    return {**describe_audio(path, data_folder, manifests), "words": words, "speaker": speaker}


if __name__ == "__main__":
    run(main)
