"""Manifests of MediaSpeech (openslr.org/108): ten hours each of Arabic, Spanish, French and Turkish media, 16 kHz.

    python mediaspeech_prepare.py /data/mediaspeech manifests --language fr               # a copy of it
    python mediaspeech_prepare.py /data/mediaspeech manifests --language fr --download    # fetched there first

Reads the corpus as distributed, a text beside each recording::

    FR/NAME.flac
    FR/NAME.txt      nous y reviendrons dans un instant

and writes train.json, valid.json, test.json and their words as lm_*.txt.

The corpus has no official split, and does not say who speaks. Recordings were cut out of videos: those whose names
differ in the numbers at their ends only (NAME_3, NAME_12.5-14.0) are taken for parts of one, and a tenth of the hours
each are test and valid, of sources of their own (`toolkit.dataio.splits`). Where names tell fewer than MIN_SOURCES
sources, each recording is one, and the summary says so.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
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
from toolkit.dataio.script import add_spelling, corpus_parser, run, spelling_of
from toolkit.dataio.spelling import Spelling
from toolkit.dataio.splits import split_by
from toolkit.files import require_writable

URL = "https://www.openslr.org/resources/108"
LANGUAGES = ("ar", "es", "fr", "tr")

# NAME of NAME_3 and of NAME_12.5-14.0
SOURCE = re.compile(r"(.*?)(?:[-_.]+\d+)+")

# Fewer are no videos but what all names begin with.
MIN_SOURCES = 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare a language of MediaSpeech as the command line says."""
    args = parse(arguments)
    if args.download:
        name = args.language.upper()
        fetch([Archive(f"{URL}/{name}.tgz", target=name, member=name)], args.data_folder)
    prepare_mediaspeech(args.data_folder, args.manifests, spelling_of(args.language, args))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = corpus_parser(__doc__, holds="FR/ or another language's folder", download=URL)
    parser.add_argument("--language", required=True, choices=LANGUAGES, help="the language")
    add_spelling(parser)
    return parser.parse_args(arguments)


def prepare_mediaspeech(data_folder: Path, manifests: Path, spelling: Spelling) -> Dropped:
    """Write the manifests of a language and print what they hold; returns what was left out."""
    language, folder = spelling.language, data_folder / spelling.language.upper()
    require_files(data_folder, [folder.name], "MediaSpeech")
    require_writable(manifests, "MANIFESTS")
    dropped = Dropped()
    transcripts = {path.stem: read_words(path) for path in sorted(folder.rglob("*.txt"))}
    pairs = match_transcripts(transcripts, find_audio(folder, dropped), dropped)
    sources = sources_of(transcripts)

    def make_utterance(words: str, path: Path) -> Utterance:
        told = {"words": words, "source": sources[path.stem], "language": language}
        return {**describe_audio(path, data_folder), **told}

    splits = split_by("source", collect(spell(pairs, spelling, dropped), make_utterance, dropped))
    write_splits(manifests, splits, data_root=data_folder, dropped=dropped)
    print(f"{describe_splits(splits)}\n{len(set(sources.values()))} sources of {len(sources)} recordings")
    print(f"{spelling.report()}\n{dropped.summary()}")
    return dropped


def read_words(path: Path) -> str:
    """The words of a recording, whose text may have several lines."""
    return " ".join(line for _, line in read_text_lines(path))


def sources_of(names: Iterable[str]) -> dict[str, str]:
    """What each recording was cut out of, by its name; itself, where names do not tell."""
    sources = {name: match[1] if (match := SOURCE.fullmatch(name)) else name for name in names}
    return sources if len(set(sources.values())) >= MIN_SOURCES else {name: name for name in sources}


if __name__ == "__main__":
    run(main)
