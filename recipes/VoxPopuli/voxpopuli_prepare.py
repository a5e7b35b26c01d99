"""Manifests of VoxPopuli's transcribed speech: the European Parliament, 2009 to 2020, in 16 languages.

    python voxpopuli_prepare.py /data/voxpopuli manifests --language de               # a copy of the corpus
    python voxpopuli_prepare.py /data/voxpopuli manifests --language de --download    # fetched into /data/voxpopuli

Reads whole sittings, as distributed, of which utterances are parts (github.com/facebookresearch/voxpopuli)::

    raw_audios/original/2012/20120911-0900-PLENARY-15_original.ogg
    transcribed_data/de/asr_de.tsv.gz       session_id|start_time|end_time|normed_text|speaker_id|split|...

or, where there are, the files that VoxPopuli's own get_asr_data has cut::

    transcribed_data/de/2012/20120911-0900-PLENARY-15_20120911-16:12:11_3.ogg
    transcribed_data/de/asr_train.tsv       id<TAB>raw_text<TAB>normalized_text<TAB>speaker_id<TAB>split<TAB>...

and writes train.json, valid.json (dev), test.json and their words as lm_*.txt.

Lhotse's prepare_voxpopuli is not used, though parts are those that it takes: it looks for the sittings in
raw_audios/de, where its own download doesn't put them, and fetches the table while it prepares.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from toolkit.dataio.columns import read_columns
from toolkit.dataio.download import Archive, fetch
from toolkit.dataio.prepare import Dropped, require_files
from toolkit.dataio.script import add_spelling, corpus_parser, run, spelling_of
from toolkit.dataio.segments import Segment, spell, write_segments
from toolkit.dataio.spelling import Spelling
from toolkit.errors import DataError
from toolkit.files import require_writable

URL = "https://dl.fbaipublicfiles.com/voxpopuli"
YEARS = range(2009, 2021)
LANGUAGES = ("cs", "de", "en", "es", "et", "fi", "fr", "hr", "hu", "it", "lt", "nl", "pl", "ro", "sk", "sl")
PARTS = {"train": "train", "valid": "dev", "test": "test"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare a language of VoxPopuli as the command line says."""
    args = parse(arguments)
    if args.download:
        fetch(archives(args.language), args.data_folder)
    prepare_voxpopuli(args.data_folder, args.manifests, spelling_of(args.language, args))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    download = f"{URL}, the sittings of all years and languages"
    parser = corpus_parser(__doc__, holds="raw_audios/ and transcribed_data/", download=download)
    parser.add_argument("--language", required=True, choices=LANGUAGES, help="the language")
    add_spelling(parser)
    return parser.parse_args(arguments)


def archives(language: str) -> list[Archive]:
    """The sittings of each year, in all languages, and the table of one."""
    folders = [f"original/{year}" for year in YEARS]
    sittings = [Archive(f"{URL}/audios/{one.replace('/', '_')}.tar", f"raw_audios/{one}", one) for one in folders]
    return [*sittings, Archive(f"{URL}/annotations/asr/asr_{language}.tsv.gz", table_of(language))]


def table_of(language: str) -> str:
    """Where the times and words of a language are, below the corpus' folder."""
    return f"transcribed_data/{language}/asr_{language}.tsv.gz"


def prepare_voxpopuli(data_folder: Path, manifests: Path, spelling: Spelling) -> Dropped:
    """Write the manifests of a language and print what they hold; returns what was left out."""
    language, files = spelling.language, data_folder / "transcribed_data" / spelling.language
    if (files / "asr_train.tsv").is_file():
        require_files(files, [f"asr_{part}.tsv" for part in PARTS.values()], "VoxPopuli, cut")
        splits = {split: read_files(files, part, language) for split, part in PARTS.items()}
    else:
        require_files(data_folder, ["raw_audios/original", table_of(language)], "VoxPopuli")
        splits = {split: read_sittings(data_folder, part, language) for split, part in PARTS.items()}
    require_writable(manifests, "MANIFESTS")
    dropped = Dropped()
    spelled = {split: spell(segments, spelling, dropped) for split, segments in splits.items()}
    print(write_segments(manifests, spelled, data_folder, dropped=dropped))
    print(f"{spelling.report()}\n{dropped.summary()}")
    return dropped


def read_files(folder: Path, part: str, language: str) -> Iterator[Segment]:
    """The utterances of a part, each in a file of its own."""
    columns = ("id", "normalized_text", "speaker_id")
    for name, words, speaker in read_columns(folder / f"asr_{part}.tsv", columns):
        yield Segment(name, folder / name[:4] / f"{name}.ogg", 0.0, None, words, known_speaker(speaker), language)


def read_sittings(data_folder: Path, part: str, language: str) -> Iterator[Segment]:
    """The utterances of a part, numbered within their sittings, of which other languages have others."""
    table = data_folder / table_of(language)
    columns = ("session_id", "split", "start_time", "end_time", "normed_text", "speaker_id")
    numbers: Counter[str] = Counter()
    rows = read_columns(table, columns, delimiter="|", quoting=csv.QUOTE_MINIMAL)
    for sitting, split, start, end, words, speaker in rows:
        numbers[sitting] += 1
        if split == part:
            audio = data_folder / "raw_audios/original" / sitting[:4] / f"{sitting}_original.ogg"
            try:
                begin, length = float(start), float(end) - float(start)
            except ValueError:
                raise DataError(f"{table}: {sitting}: from {start!r} to {end!r} are no seconds") from None
            name = f"{language}-{sitting}-{numbers[sitting]}"
            yield Segment(name, audio, begin, length, words, known_speaker(speaker), language)


def known_speaker(speaker: str) -> str | None:
    """None where the table has ``None`` or nothing."""
    return None if speaker in ("", "None") else speaker


if __name__ == "__main__":
    run(main)
