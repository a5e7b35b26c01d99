"""Manifests of a folder of your own: recordings, and what is said in them.

    python folder_prepare.py /data/mine manifests                   # words as they are written
    python folder_prepare.py /data/mine manifests --language de     # lower case, no punctuation, the language's letters
    python folder_prepare.py /data/mine manifests --split-by file   # though speakers are known

Reads recordings in any container that libsndfile or FFmpeg knows (wav, flac, mp3, m4a, webm and more), of any rate, in
folders of any depth. What is said in one stands in a text beside it, or in a table in a folder above, which is called
transcripts.tsv, transcripts.csv or metadata.csv::

    anna/hello.wav  anna/hello.txt      How are you?

    file_name,transcription,speaker     names of columns, as they are common (toolkit.dataio.tables)
    anna/hello.wav,"Well, thanks",anna

    hello<TAB>How are you?              without names of columns, the first is the file and the second what is said

Columns end with a tab, |, ; or a comma, whichever comes first in the table. A file is named by its path from the table,
or by its name alone where no other has it, with or without its suffix.

Writes train.json, valid.json, test.json and their words as lm_train.txt, lm_valid.txt, lm_test.txt. Test and valid have
a tenth of the seconds each: whole speakers, where a column or folders tell three or more apart, else files; the same
ones every time. What is left out is counted, with the reason.
"""

from __future__ import annotations

import argparse
import functools
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from toolkit.dataio.prepare import (
    Dropped,
    Utterance,
    collect,
    content_of,
    describe_audio,
    describe_splits,
    find_audio,
    match_transcripts,
    spell,
    write_splits,
)
from toolkit.dataio.script import add_digits, corpus_parser, run
from toolkit.dataio.spelling import Spelling
from toolkit.dataio.splits import split_by
from toolkit.dataio.tables import read_table, read_utf8
from toolkit.errors import DataError
from toolkit.files import require_writable

# Of a recording in several containers the first one here is taken.
CONTAINERS = (
    *(".flac", ".wav", ".aiff", ".aif", ".au", ".caf", ".sph", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".mp4"),
    *(".aac", ".wma", ".amr", ".3gp", ".webm", ".mka", ".mkv", ".mov"),
)
TABLES = ("transcripts.tsv", "transcripts.csv", "metadata.csv")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare the folder as the command line says."""
    args = parse(arguments)
    spelling = Spelling(args.language, digits=args.digits) if args.language else None
    prepare_folder(args.data_folder, args.manifests, spelling=spelling, by=args.split_by)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = corpus_parser(__doc__, holds="your recordings")
    parser.add_argument("--language", help="spell as this language does: lower case, no punctuation")
    add_digits(parser)
    parser.add_argument("--split-by", choices=("speaker", "file"), help="what no two splits have in common")
    args = parser.parse_args(arguments)
    if args.digits == "words" and args.language is None:
        parser.error("--digits words: in which language? Give --language, too")
    return args


def prepare_folder(
    data_folder: Path, manifests: Path, *, spelling: Spelling | None = None, by: str | None = None
) -> Dropped:
    """Write the manifests of all splits and print what they hold; returns what was left out."""
    require_writable(manifests, "MANIFESTS")
    dropped = Dropped()
    recordings = find_recordings(data_folder, dropped)
    words, speakers = read_words(data_folder, recordings, dropped)
    pairs = match_transcripts(words, recordings, dropped)
    if not pairs:
        raise DataError(describe_lack(data_folder, recordings, words))
    if spelling is not None:
        pairs = spell(pairs, spelling, dropped)
    utterances = collect(pairs, lambda text, path: {**describe_audio(path, data_folder), "words": text}, dropped)
    for name in utterances.keys() & speakers.keys():
        utterances[name]["speaker"] = speakers[name]
    by = by or kept_apart(utterances)
    splits = split_utterances(utterances, by)
    write_splits(manifests, splits, data_root=data_folder, dropped=dropped)
    print(f"split by {by}\n{describe_splits(splits)}")
    print(f"{spelling.report()}\n" if spelling else "", dropped.summary(), sep="")
    return dropped


def find_recordings(folder: Path, dropped: Dropped) -> dict[str, Path]:
    """Audio files by their path in the folder, without suffix: ``anna/hello``."""
    name_of = functools.partial(name_in, folder)
    recordings = find_audio(folder, dropped, CONTAINERS, name=name_of) if folder.is_dir() else {}
    if not recordings:
        raise DataError(f"{folder}: no recording ({', '.join(CONTAINERS)}); {content_of(folder)}")
    return recordings


def name_in(folder: Path, path: Path) -> str:
    """``anna/hello`` of FOLDER/anna/hello.wav."""
    return path.relative_to(folder).with_suffix("").as_posix()


def read_words(folder: Path, recordings: Mapping[str, Path], dropped: Dropped) -> tuple[dict[str, str], dict[str, str]]:
    """What is said in each recording, and by whom where that is known: tables go before texts and folders."""
    words, speakers = {}, speakers_by_folder(recordings)
    for name, line in read_tables(folder, recordings, dropped):
        if name in words:
            dropped.add("lines of a recording that had one", f"{name}: {line['words']}")
            continue
        words[name] = " ".join(line["words"].split())
        if line.get("speaker"):
            speakers[name] = line["speaker"]
    for path in sorted(folder.rglob("*.txt")):
        words.setdefault(name_in(folder, path), " ".join(read_utf8(path).split()))
    return words, speakers


def speakers_by_folder(recordings: Mapping[str, Path]) -> dict[str, str]:
    """The first folder that not all recordings share: ``anna`` of ``wavs/anna/monday/hello``."""
    shared = len(Path(os.path.commonpath([Path(name).parent for name in recordings])).parts)
    parts = {name: Path(name).parts[shared:] for name in recordings}
    return {name: below[0] for name, below in parts.items() if len(below) > 1}


def read_tables(folder: Path, recordings: Mapping[str, Path], dropped: Dropped) -> Iterator[tuple[str, dict[str, str]]]:
    """(recording, its line) of all tables; a recording that is not there is called as the line does."""
    alike = defaultdict(list)
    for name in recordings:
        alike[Path(name).name].append(name)
    for table in sorted(path for name in TABLES for path in folder.rglob(name)):
        for line in read_table(table, dropped):
            path = Path(os.path.normpath(table.parent.relative_to(folder) / line["file"]))
            named = [name for name in (path.as_posix(), path.with_suffix("").as_posix()) if name in recordings]
            same = alike.get(path.name) or alike.get(path.stem) or []
            yield (named or (same if len(same) == 1 else [line["file"]]))[0], line


def describe_lack(folder: Path, recordings: Mapping[str, Path], words: Mapping[str, str]) -> str:
    """What was looked for, where there are no words for any recording."""
    name, path = next(iter(recordings.items()))
    found = f"there are words for others, such as {next(iter(words))}" if words else "there is neither"
    return (
        f"{folder}: no words for any of {len(recordings)} recordings; looked for a text beside each, such as "
        f"{name}.txt for {path.name}, and for a line with its name in one of {', '.join(TABLES)}; {found}"
    )


def kept_apart(utterances: Mapping[str, Utterance]) -> str:
    """Speakers, where there is one for each split."""
    speakers = {one.get("speaker") for one in utterances.values()}
    return "file" if None in speakers or len(speakers) < 3 else "speaker"


def split_utterances(utterances: Mapping[str, Utterance], by: str) -> dict[str, dict[str, Utterance]]:
    """train, valid and test, none of which shares a speaker (file) with another."""
    unknown = [name for name, one in utterances.items() if "speaker" not in one]
    if by == "speaker" and unknown:
        raise DataError(f"--split-by speaker: {unknown[0]} has none, neither in a column nor by a folder of its own")
    return split_by("speaker" if by == "speaker" else "wav", utterances)


if __name__ == "__main__":
    run(main)
