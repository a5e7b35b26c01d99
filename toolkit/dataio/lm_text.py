"""Text for language models, of any size, streamed through HuggingFace `datasets`.

A line is a sentence, which the name of an utterance of LibriSpeech may precede::

    THE FULLEST DELIGHT OF THE SUMMER                    librispeech-lm-norm.txt.gz
    103-1240-0000 CHAPTER ONE MISSUS RACHEL LYNDE ...    the transcripts of LibriSpeech
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from toolkit.dataio.text_stream import stream_lines
from toolkit.errors import DataError
from toolkit.files import replacing

# The official normalised text, 803 million words of 14,500 books, none of them in dev or test (1.5 GB).
LM_TEXT_URL = "https://www.openslr.org/resources/11/librispeech-lm-norm.txt.gz"

HELD_OUT = 500  # sentences from the text's beginning: 20,000 words, and most of a book where the text is in order

_NAMED = re.compile(r"(?P<chapter>\d+-\d+)-\d{4} +(?P<words>.*)")


def require_text(source: Path) -> None:
    """Nothing, when there is a text.

    Raises
    ------
    DataError
        There is none.
    """
    if not source.is_file():
        raise DataError(f"{source}: no such text; expected sentences, one a line (.txt or .gz), or --download")


def write_lm_text(source: Path, manifests: Path, tested: Mapping[str, str], *, most: int | None = None) -> str:
    """``lm_books.txt`` to train on and ``lm_books_test.txt``, the first sentences, which are held out; a summary.

    Parameters
    ----------
    source
        A text file, as it is or compressed (``.gz``); nothing is unpacked.
    manifests
        Where to write.
    tested
        The words of utterances, by name, that are to be unknown: what says the same, or is named as a sentence of the
        same chapter, is left out.
    most
        Sentences to train on, from the beginning of the text; None: all.

    Raises
    ------
    DataError
        The source cannot be read, or holds no more than is held out.
    """
    require_text(source)
    sentences, chapters = set(tested.values()), {name.rpartition("-")[0] for name in tested}
    kept = dropped = 0
    with replacing(manifests / "lm_books.txt") as train, replacing(manifests / "lm_books_test.txt") as test:
        with train.open("w", encoding="utf-8") as train_file, test.open("w", encoding="utf-8") as test_file:
            for line in stream_lines([source]):
                words = _words(line, chapters)
                if words is None or words in sentences:
                    dropped += 1
                elif words:
                    (test_file if kept < HELD_OUT else train_file).write(f"{words}\n")
                    kept += 1
                if most is not None and kept == HELD_OUT + most:
                    break
        if kept <= HELD_OUT:
            raise DataError(f"{source}: {kept} sentences; expected more than the {HELD_OUT} that are held out")
    told = f"lm_books: {kept - HELD_OUT} sentences, and {HELD_OUT} held out"
    return f"{told}; left out, as of what is validated and tested on: {dropped}"


def _words(line: str, chapters: Collection[str]) -> str | None:
    """The sentence of a line; None for one of those chapters."""
    named = _NAMED.fullmatch(line.strip())
    if named is None:
        return line.strip()
    return None if named["chapter"] in chapters else named["words"]
