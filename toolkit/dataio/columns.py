"""Columns of corpora' tables: tab- or otherwise separated values, gzipped or not, read line by line."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from toolkit.errors import DataError


def read_columns(
    path: Path, columns: Sequence[str], *, delimiter: str = "\t", quoting: int = csv.QUOTE_NONE
) -> Iterator[list[str]]:
    """What each row of a table has in these columns; "" where it ends before.

    Raises
    ------
    DataError
        A column is missing, or the file is damaged.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, delimiter=delimiter, quoting=quoting)
            if missing := [column for column in columns if column not in (rows.fieldnames or ())]:
                raise DataError(f"{path}: no column {', '.join(missing)}; it has {', '.join(rows.fieldnames or ())}")
            for row in rows:
                yield [row[column] or "" for column in columns]
    except (OSError, EOFError, zlib.error, csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); delete it and fetch it again") from error
