"""Manifests of Multilingual LibriSpeech (openslr.org/94): audiobooks of LibriVox in eight languages, 16 kHz.

    python mls_prepare.py /data/mls manifests --language de               # a copy of the corpus
    python mls_prepare.py /data/mls manifests --language de --download    # fetched into /data/mls first
    python mls_prepare.py /data/mls manifests --language de --opus        # the smaller edition, in Opus

Reads the corpus as distributed, in either edition (mls_german, mls_german_opus), and its text for language models::

    mls_german/train/transcripts.txt      4800_10003_000000<TAB>es war einmal ein könig
    mls_german/train/audio/4800/10003/4800_10003_000000.flac
    mls_german/train/limited_supervision/9hr/handles.txt      4800_10003_000000
    mls_german/train/limited_supervision/1hr/0/handles.txt    ... to 5: ten minutes each
    mls_lm_german/data.txt                es war einmal ein könig

and writes train.json, valid.json (dev), test.json, the official subsets train_10h.json and train_1h.json, their words
as lm_*.txt, and lm_books.txt: a million lines of data.txt, evenly spread.

Lhotse's prepare_mls is not used: it reads all languages at once, into memory (English has ten million utterances), and
Opus by a program, ffmpeg.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from toolkit.dataio.download import Archive, fetch
from toolkit.dataio.prepare import Dropped, read_text_lines, require_files
from toolkit.dataio.script import add_spelling, corpus_parser, run, spelling_of
from toolkit.dataio.segments import Segment, spell, write_segments
from toolkit.dataio.spelling import Spelling
from toolkit.errors import DataError
from toolkit.files import replacing, require_writable

URL = "https://dl.fbaipublicfiles.com/mls"

LANGUAGES = {
    "de": "german",
    "en": "english",
    "es": "spanish",
    "fr": "french",
    "it": "italian",
    "nl": "dutch",
    "pl": "polish",
    "pt": "portuguese",
}

PARTS = {"train": "train", "valid": "dev", "test": "test"}

# The hour is six times ten minutes, and the ten hours are nine and that one.
SUBSETS = {"train_10h": ("9hr/handles.txt", "1hr/*/handles.txt"), "train_1h": ("1hr/*/handles.txt",)}

# The books of a language may be gigabytes, and an n-gram model is counted in memory.
BOOK_SENTENCES = 1_000_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare a language of MLS as the command line says."""
    args = parse(arguments)
    name, spelling = LANGUAGES[args.language], spelling_of(args.language, args)
    corpus, books = args.data_folder / f"mls_{name}{'_opus' * args.opus}", args.data_folder / f"mls_lm_{name}"
    if args.download:
        folders = (corpus.name, books.name)
        fetch([Archive(f"{URL}/{one}.tar.gz", target=one, member=one) for one in folders], args.data_folder)
    if books.is_dir():
        require_files(books, ["data.txt"], "the books of Multilingual LibriSpeech")
    prepare_mls(corpus, args.manifests, spelling)
    if books.is_dir():
        write_books(books / "data.txt", args.manifests / "lm_books.txt", spelling, sentences=args.book_sentences)
    else:
        print(f"lm_books.txt is not written: there is no {books}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = corpus_parser(__doc__, holds="mls_german/ or another language's folder", download=URL)
    parser.add_argument("--language", required=True, choices=LANGUAGES, help="the language")
    parser.add_argument("--opus", action="store_true", help="the edition in Opus rather than FLAC")
    told = "of the books' text, for language models (default: %(default)s)"
    parser.add_argument("--book-sentences", type=int, default=BOOK_SENTENCES, metavar="N", help=told)
    add_spelling(parser)
    return parser.parse_args(arguments)


def prepare_mls(corpus: Path, manifests: Path, spelling: Spelling) -> Dropped:
    """Write the manifests of a language and print what they hold; returns what was left out."""
    wanted = [*(f"{part}/transcripts.txt" for part in PARTS.values()), "train/limited_supervision/9hr/handles.txt"]
    require_files(corpus.parent, [f"{corpus.name}/{name}" for name in wanted], "Multilingual LibriSpeech")
    require_writable(manifests, "MANIFESTS")
    dropped, language = Dropped(), spelling.language
    splits = {split: spell(read_part(corpus / part, language), spelling, dropped) for split, part in PARTS.items()}
    print(write_segments(manifests, splits, corpus.parent, dropped=dropped))
    handles = {name: read_handles(corpus / "train/limited_supervision", files) for name, files in SUBSETS.items()}
    parts = {name: read_part(corpus / "train", language, only=names) for name, names in handles.items()}
    subsets = {name: spell(segments, replace(spelling), Dropped()) for name, segments in parts.items()}
    print(write_segments(manifests, subsets, corpus.parent, dropped=Dropped()))  # what they lack was counted in train
    print(f"{spelling.report()}\n{dropped.summary()}")
    return dropped


def read_part(folder: Path, language: str, only: Container[str] | None = None) -> Iterator[Segment]:
    """The utterances of train, dev or test, or ``only`` those of these names."""
    suffix = ".opus" if folder.parent.name.endswith("_opus") else ".flac"
    for number, line in read_text_lines(folder / "transcripts.txt"):
        name, tab, words = line.partition("\t")
        if not tab or name.count("_") != 2:
            raise DataError(f"{folder}/transcripts.txt: line {number} is not 'SPEAKER_BOOK_NUMBER<TAB>words': {line!r}")
        speaker, book, _ = name.split("_")
        if only is None or name in only:
            audio = folder / "audio" / speaker / book / f"{name}{suffix}"
            yield Segment(name, audio, 0.0, None, words, speaker, language)


def read_handles(folder: Path, patterns: Sequence[str]) -> set[str]:
    """The names of the utterances of a subset."""
    return {name for pattern in patterns for path in folder.glob(pattern) for _, name in read_text_lines(path)}


def write_books(data: Path, target: Path, spelling: Spelling, *, sentences: int) -> None:
    """So many sentences of the books at most, evenly spread; what has no spelling is left out."""
    with data.open("rb") as lines:
        step = max(1, math.ceil(sum(1 for _ in lines) / sentences))
    spelled = (spelling(line) for _, line in itertools.islice(read_text_lines(data), 0, None, step))
    written = 0
    with replacing(target) as partial, partial.open("w", encoding="utf-8") as file:
        for words in filter(None, spelled):
            file.write(f"{words}\n")
            written += 1
    print(f"{target.name}: {written} sentences, of one line in {step} of {data}")


if __name__ == "__main__":
    run(main)
