"""Tables of transcripts as people keep them: a line for each recording, in TSV or one of the kinds of CSV.

The first line may name the columns, by names that are common (COLUMNS); without, the first column is the file and the
second what is said. Columns end with a tab, ``|``, ``;`` or a comma, whichever comes first in the table.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from toolkit.dataio.prepare import Dropped
from toolkit.errors import DataError

COLUMNS = {
    "file": ("file", "file_name", "filename", "path", "audio", "wav", "name", "id"),
    "words": ("words", "text", "transcription", "transcript", "sentence"),
    "speaker": ("speaker", "speaker_id", "client_id"),
}


def read_table(path: Path, dropped: Dropped) -> Iterator[dict[str, str]]:
    """``file``, ``words`` and, if there is such a column, ``speaker`` of each line of a table.

    Lines that end before these are counted in ``dropped``.

    Raises
    ------
    DataError
        Not UTF-8, or columns are named, but none of files.
    """
    text = read_utf8(path)
    mark = re.search(r"[\t|;,]", text)
    delimiter = mark[0] if mark else "\t"
    quoting = csv.QUOTE_NONE if delimiter in "\t|" else csv.QUOTE_MINIMAL
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, quoting=quoting)
    rows = [(reader.line_num, row) for row in reader if row]
    named = _named_columns(path, rows[0][1]) if rows else {}
    columns = named or {"file": 0, "words": 1}
    for number, row in rows[1:] if named else rows:
        if len(row) > max(columns.values()):
            yield {what: row[place].strip() for what, place in columns.items()}
        else:
            dropped.add("lines with too few columns", f"{path}, line {number}: {delimiter.join(row)}")


def _named_columns(path: Path, first: Sequence[str]) -> dict[str, int]:
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
