"""Manifests of a folder of your own: recordings, and what is said in them.

    python folder_prepare.py /data/mine manifests
    python folder_prepare.py /data/mine manifests --split-by file   # though speakers are known

Reads recordings in any container that libsndfile or FFmpeg knows (wav, flac, mp3, m4a, webm and more), of any rate, in
folders of any depth. What is said in one stands in a text beside it, or in a table in a folder above, which is called
transcripts.tsv, transcripts.csv or metadata.csv::

    anna/hello.wav  anna/hello.txt      How are you?

    file_name,transcription,speaker     names of columns, as they are common (COLUMNS)
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
import csv
import functools
import io
import os
import re
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
    write_splits,
)
from toolkit.dataio.script import corpus_parser, run
from toolkit.dataio.splits import split_by
from toolkit.errors import DataError
from toolkit.files import require_writable

# Of a recording in several containers the first one here is taken.
CONTAINERS = (
    *(".flac", ".wav", ".aiff", ".aif", ".au", ".caf", ".sph", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".mp4"),
    *(".aac", ".wma", ".amr", ".3gp", ".webm", ".mka", ".mkv", ".mov"),
)
TABLES = ("transcripts.tsv", "transcripts.csv", "metadata.csv")
COLUMNS = {
    "file": ("file", "file_name", "filename", "path", "audio", "wav", "name", "id"),
    "words": ("words", "text", "transcription", "transcript", "sentence"),
    "speaker": ("speaker", "speaker_id", "client_id"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare the folder as the command line says."""
    args = parse(arguments)
    prepare_folder(args.data_folder, args.manifests, args.split_by)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = corpus_parser(__doc__, holds="your recordings")
    parser.add_argument("--split-by", choices=("speaker", "file"), help="what no two splits have in common")
    return parser.parse_args(arguments)


def prepare_folder(data_folder: Path, manifests: Path, by: str | None = None) -> Dropped:
    """Write the manifests of all splits and print what they hold; returns what was left out."""
    require_writable(manifests, "MANIFESTS")
    dropped = Dropped()
    recordings = find_recordings(data_folder, dropped)
    words, speakers = read_words(data_folder, recordings, dropped)
    pairs = match_transcripts(words, recordings, dropped)
    if not pairs:
        raise DataError(describe_lack(data_folder, recordings, words))
    utterances = collect(pairs, lambda text, path: {**describe_audio(path, data_folder), "words": text}, dropped)
    for name in utterances.keys() & speakers.keys():
        utterances[name]["speaker"] = speakers[name]
    by = by or kept_apart(utterances)
    splits = split_utterances(utterances, by)
    write_splits(manifests, splits, data_root=data_folder)
    print(f"split by {by}\n{describe_splits(splits)}\n{dropped.summary()}")
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


def read_table(path: Path, dropped: Dropped) -> Iterator[dict[str, str]]:
    """The file, the words, and the speaker if there is a column of speakers, of each line of a table."""
    text = read_utf8(path)
    mark = re.search(r"[\t|;,]", text)
    delimiter = mark[0] if mark else "\t"
    quoting = csv.QUOTE_NONE if delimiter in "\t|" else csv.QUOTE_MINIMAL
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, quoting=quoting)
    rows = [(reader.line_num, row) for row in reader if row]
    columns = columns_of(path, rows[0][1]) if rows else {}
    for number, row in rows[1:] if columns else rows:
        columns = columns or {"file": 0, "words": 1}
        if len(row) > max(columns.values()):
            yield {what: row[place].strip() for what, place in columns.items()}
        else:
            dropped.add("lines with too few columns", f"{path}, line {number}: {delimiter.join(row)}")


def columns_of(path: Path, first: Sequence[str]) -> dict[str, int]:
    """Where the first line of a table says that its columns are; empty, where it names none."""
    names = [cell.strip().lower() for cell in first]
    places = {what: names.index(name) for what, known in COLUMNS.items() for name in known if name in names}
    if "words" in places and "file" not in places:
        raise DataError(f"{path}: no column of files ({', '.join(COLUMNS['file'])}) among {', '.join(names)}")
    return places if "words" in places else {}


def read_utf8(path: Path) -> str:
    """A text file; Excel and Windows begin theirs with a byte order mark."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None


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
