"""Text for language models: streamed, without what is tested on."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from toolkit.dataio.lm_text import HELD_OUT, write_lm_text
from toolkit.errors import DataError

BOOKS = [f"SENTENCE {number}" for number in range(HELD_OUT + 3)]
TESTED = {"7-1-0000": "SENTENCE 502", "8-1-0000": "HELLO"}


def test_what_is_tested_on_is_unknown(tmp_path: Path) -> None:
    source = tmp_path / "text.txt"
    source.write_text("\n".join(["8-1-0005 OF THE CHAPTER", "8-2-0000 OF ANOTHER", *BOOKS, ""]))
    told = write_lm_text(source, tmp_path, TESTED)
    assert (tmp_path / "lm_books_test.txt").read_text().splitlines() == ["OF ANOTHER", *BOOKS[: HELD_OUT - 1]]
    assert (tmp_path / "lm_books.txt").read_text().splitlines() == ["SENTENCE 499", "SENTENCE 500", "SENTENCE 501"]
    assert told == "lm_books: 3 sentences, and 500 held out; left out, as of what is validated and tested on: 2"


def test_compressed_and_no_more_than_is_wanted(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "text.txt.gz", "wt") as file:
        file.write("\n".join(BOOKS))
    write_lm_text(tmp_path / "text.txt.gz", tmp_path, {})
    assert (tmp_path / "lm_books.txt").read_text().splitlines() == BOOKS[HELD_OUT:]
    write_lm_text(tmp_path / "text.txt.gz", tmp_path, {}, most=2)
    assert (tmp_path / "lm_books.txt").read_text().splitlines() == BOOKS[HELD_OUT:-1]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "no such text"),
        (b"A\nB\n", "2 sentences; expected more"),
        (b"\xff\xfe\n", "datasets cannot stream it"),
    ],
)
def test_what_cannot_be_used(content: bytes | None, told: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(DataError, match=rf"text.txt: .*{told}"):
        write_lm_text(tmp_path / "text.txt", tmp_path, TESTED)
    assert not list(tmp_path.glob("lm_*"))
