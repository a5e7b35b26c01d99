"""Manifests of a language of Mozilla's Common Voice: sentences read by volunteers, 100 languages and more, MP3.

    python commonvoice_prepare.py /data/cv-corpus-21.0-2025-03-14-de.tar.gz manifests --language de   # as distributed
    python commonvoice_prepare.py /data/cv-corpus-21.0-2025-03-14/de manifests --language de          # unpacked
    python commonvoice_prepare.py /data/cv_de_parquet manifests --language de --hf                    # of `datasets`

Reads the archive, which is unpacked beside itself, or its folder::

    clips/common_voice_de_17299903.mp3
    train.tsv      client_id<TAB>path<TAB>sentence<TAB>up_votes<TAB>...
                   9f1a...<TAB>common_voice_de_17299903.mp3<TAB>„Straße“ schreibt man so.<TAB>2<TAB>...
    dev.tsv, test.tsv, validated.tsv

or a copy for HuggingFace's `datasets`, a folder (parquet, or audio with a metadata.csv) or a name on the hub, with the
columns audio, sentence and client_id; it is streamed, and clips that come in it are stored below MANIFESTS/clips.

Writes train.json, valid.json (dev), test.json and their words as lm_*.txt, and prints which characters were removed and
replaced. There is no download: Common Voice is given to those who log in. Lhotse's prepare_commonvoice is not used: it
holds a language in memory, and stops at releases that lack a column, such as `variant`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.dataio.columns import read_columns
from toolkit.dataio.prepare import Dropped, require_files
from toolkit.dataio.script import add_spelling, corpus_parser, run, spelling_of
from toolkit.dataio.segments import Segment, spell, write_segments
from toolkit.dataio.spelling import Spelling
from toolkit.dataio.unpack import extract
from toolkit.errors import ConfigError, DataError
from toolkit.files import require_writable, write_atomically

if TYPE_CHECKING:
    from toolkit.dataio.hf_adapters import HfStream

PARTS = {"train": "train", "valid": "dev", "test": "test"}
HF_PARTS = {"train": "train", "valid": "validation", "test": "test"}

NO_DOWNLOAD = (
    "--download: Common Voice is given only to those who log in and agree to its terms; fetch the archive of the "
    "language from https://datacollective.mozillafoundation.org, where Mozilla has it since October 2025 (before: "
    "https://commonvoice.mozilla.org/datasets), and name it as DATA_FOLDER"
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare a language as the command line says."""
    args = parse(arguments)
    if args.download:
        raise DataError(NO_DOWNLOAD)
    spelling = spelling_of(args.language, args)
    if args.hf is not None:
        prepare_hf(str(args.data_folder), args.hf, args.manifests, spelling)
    else:
        folder = corpus_folder(unpacked(args.data_folder), args.language)
        prepare_commonvoice(folder, args.manifests, spelling, validated=args.validated)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = corpus_parser(__doc__, holds="clips/ and train.tsv, or the .tar.gz", download="impossible without a login")
    parser.add_argument("--language", required=True, help="its code, as Common Voice has it: de, sv-SE, zh-CN")
    parser.add_argument(
        "--validated", action="store_true", help="train on all of validated.tsv but dev's and test's speakers and texts"
    )
    parser.add_argument(
        "--hf", nargs="?", const="", metavar="CONFIG", help="DATA_FOLDER is a folder or a name that `datasets` loads"
    )
    add_spelling(parser)
    args = parser.parse_args(arguments)
    if args.validated and args.hf is not None:
        raise ConfigError("--validated is for the archive: copies for `datasets` seldom have that part")
    return args


def unpacked(data_folder: Path) -> Path:
    """The folder itself, or that of an archive, beside which it is unpacked once."""
    if not data_folder.is_file():
        return data_folder
    target = data_folder.with_name(re.sub(r"\.(tar|tgz|tar\.gz)$", "", data_folder.name))
    return target if target.is_dir() else extract(data_folder, target, ".")


def corpus_folder(data_folder: Path, language: str) -> Path:
    """The folder of a language: the one named, or of its name in it, as cv-corpus-21.0-2025-03-14/de is."""
    places = [data_folder, data_folder / language, *sorted(data_folder.glob(f"*/{language}"))]
    return next((place for place in places if (place / "clips").is_dir()), data_folder)


def prepare_commonvoice(folder: Path, manifests: Path, spelling: Spelling, *, validated: bool = False) -> Dropped:
    """Write the manifests of a language and print what they hold; returns what was left out."""
    tables = [*PARTS.values(), *(["validated"] if validated else [])]
    require_files(folder, ["clips", *(f"{table}.tsv" for table in tables)], "a language of Common Voice")
    require_writable(manifests, "MANIFESTS")
    dropped = Dropped()
    splits = {
        split: spell(read_part(folder, part, spelling.language), spelling, dropped) for split, part in PARTS.items()
    }
    if validated:
        splits["train"] = read_validated(folder, spelling, dropped)
    return write(manifests, splits, spelling, folder, dropped=dropped)


def read_part(folder: Path, part: str, language: str) -> Iterator[Segment]:
    """The utterances of a table."""
    for speaker, path, sentence in read_columns(folder / f"{part}.tsv", ("client_id", "path", "sentence")):
        yield Segment(Path(path).stem, folder / "clips" / path, 0.0, None, sentence, speaker, language)


def read_validated(folder: Path, spelling: Spelling, dropped: Dropped) -> Iterator[Segment]:
    """All validated utterances, spelled, of which neither speaker nor words, in any case, are in dev or test."""
    held_out = [one for part in ("dev", "test") for one in read_part(folder, part, spelling.language)]
    speakers = {one.speaker for one in held_out}
    uncounted = replace(spelling, case="lower")
    known = {uncounted(one.words) for one in held_out} - {None, ""}

    def strangers() -> Iterator[Segment]:
        for one in read_part(folder, "validated", spelling.language):
            if one.speaker in speakers:
                dropped.add("of a speaker of dev or test, validated", one.name)
            else:
                yield one

    for one in spell(strangers(), spelling, dropped):
        if uncounted(one.words) in known:
            dropped.add("with a sentence of dev or test, validated", f"{one.name}: {one.words}")
        else:
            yield one


def prepare_hf(source: str, config: str, manifests: Path, spelling: Spelling) -> Dropped:
    """Write the manifests of a copy for `datasets` and print what they hold; returns what was left out."""
    from toolkit.dataio.hf_adapters import Columns, read_hf_dataset  # seconds to import

    require_writable(manifests, "MANIFESTS")
    dropped, columns = Dropped(), Columns(text="sentence", speaker="client_id")
    splits = {}
    for split, part in HF_PARTS.items():
        options = {"split": part, "streaming": True} | ({"name": config} if config else {})
        rows = read_hf_dataset(source, options, columns)
        segments = read_rows(rows, part, manifests / "clips" / part, spelling.language, dropped=dropped)
        splits[split] = spell(segments, spelling, dropped)
    root = Path(source) if Path(source).is_dir() else manifests
    return write(manifests, splits, spelling, root, dropped=dropped)


def read_rows(rows: HfStream, part: str, clips: Path, language: str, *, dropped: Dropped) -> Iterator[Segment]:
    """The utterances of a part; clips that have no file get one."""
    for number, row in enumerate(rows.rows):
        if missing := {"sentence", "client_id"} - row.keys():
            raise DataError(f"{part}: no column {', '.join(sorted(missing))}; there are {', '.join(row)}")
        audio = row["audio"] or {}
        file = Path(row.get("path") or audio.get("path") or f"{part}_{number}.mp3")
        if audio.get("bytes") is not None:
            stored = clips / file.name
            if not stored.is_file() or stored.stat().st_size != len(audio["bytes"]):
                write_atomically(stored, audio["bytes"])
        elif audio.get("path"):
            stored = Path(audio["path"])
        else:
            dropped.add("without audio", f"{part}, row {number}")
            continue
        yield Segment(file.stem, stored, 0.0, None, row["sentence"] or "", row["client_id"], language)


def write(
    manifests: Path, splits: dict[str, Iterator[Segment]], spelling: Spelling, data_root: Path, *, dropped: Dropped
) -> Dropped:
    """Write the manifests and print what they hold and what became of characters."""
    print(write_segments(manifests, splits, data_root, dropped=dropped))
    print(f"{spelling.report()}\n{dropped.summary()}")
    return dropped


if __name__ == "__main__":
    run(main)
