"""Manifests of YesNo: 60 recordings of one man who says yes (KEN) or no (LO) eight times in Hebrew, 8 kHz.

    python yesno_prepare.py data/waves_yesno manifests --download   # fetched into data/waves_yesno first
    python yesno_prepare.py /data/waves_yesno manifests             # a copy of the corpus

Reads the corpus as distributed (openslr.org/1), where a file's name is its transcript, 1 for yes and 0 for no::

    0_1_0_1_1_1_0_0.wav     LO KEN LO KEN KEN KEN LO LO

and writes train.json, valid.json, test.json and their words as lm_train.txt, lm_valid.txt, lm_test.txt. In the order of
their names every second recording is for testing, as in lhotse.recipes.yesno, and of the others every fifth is for
validation; one that cannot be read keeps its place in that order. Lhotse's own preparation goes no further than an
assertion where one file is missing; hence these lines.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from toolkit.dataio.download import Archive, fetch
from toolkit.dataio.prepare import (
    Dropped,
    Utterance,
    collect,
    content_of,
    describe_audio,
    describe_splits,
    find_audio,
    write_splits,
)
from toolkit.dataio.script import corpus_parser, run
from toolkit.errors import DataError
from toolkit.files import require_writable

# The address in lhotse.recipes.yesno; there is no checksum.
ARCHIVES = [Archive("http://www.openslr.org/resources/1/waves_yesno.tar.gz", member="waves_yesno")]

RECORDINGS = 60
WORDS = {"0": "LO", "1": "KEN"}

# 0_1_0_1_1_1_0_0
NAME = re.compile(r"[01](_[01]){7}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare YesNo as the command line says."""
    parser = corpus_parser(__doc__, holds="0_0_0_0_1_1_1_1.wav and so on", download=f"{ARCHIVES[0].url} (5 MB)")
    args = parser.parse_args(arguments)
    if args.download:
        fetch(ARCHIVES, args.data_folder)
    prepare_yesno(args.data_folder, args.manifests)


def prepare_yesno(data_folder: Path, manifests: Path) -> Dropped:
    """Write the manifests of all splits and print what they hold; returns what was left out."""
    require_writable(manifests, "MANIFESTS")
    dropped = Dropped()
    pairs = list(read_names(data_folder, dropped))
    if not pairs:
        looked_for = "0_0_0_0_1_1_1_1.wav and the like"
        raise DataError(f"{data_folder} is not YesNo: looked for {looked_for}; {content_of(data_folder)}")
    utterances = collect(pairs, functools.partial(make_utterance, data_folder), dropped)
    splits: dict[str, dict[str, Utterance]] = {"train": {}, "valid": {}, "test": {}}
    for place, (name, _, _) in enumerate(pairs):
        if name in utterances:
            splits["test" if place % 2 else "valid" if place % 10 == 0 else "train"][name] = utterances[name]
    write_splits(manifests, splits, data_root=data_folder, dropped=dropped)
    if len(pairs) != RECORDINGS:
        print(f"{len(pairs)} recordings, YesNo has {RECORDINGS}: train, valid and test are others than those of all")
    print(f"{describe_splits(splits)}\n{dropped.summary()}")
    return dropped


def read_names(data_folder: Path, dropped: Dropped) -> Iterator[tuple[str, str, Path]]:
    """(recording, words, audio file) of every recording."""
    for name, path in find_audio(data_folder, dropped).items():
        if NAME.fullmatch(name):
            yield name, " ".join(WORDS[sign] for sign in name.split("_")), path
        else:
            dropped.add("not named by eight 0 or 1", str(path))


def make_utterance(data_folder: Path, words: str, path: Path) -> Utterance:
    """The manifest's entry of one recording; the corpus does not say who the speaker is."""
    return {**describe_audio(path, data_folder), "words": words, "speaker": "anonymous"}


if __name__ == "__main__":
    run(main)
