"""The items of a list in a JSON file of any size, one at a time: of GigaSpeech's tens of gigabytes, an hour's talk."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from toolkit.errors import DataError

_BLOCK = 1 << 20  # characters

# An item is given up when it is longer than this: the file is damaged, and more of it would not help.
LARGEST_ITEM = 1 << 28

# What may be cut off at the end of a block: a literal, or the escape of a character. Further off, JSON is damaged.
_LONGEST_WORD = 12

_SPACE = re.compile(r"\s*")


def read_items(path: Path, key: str) -> Iterator[Any]:
    """The items of the list under ``key`` of the object that a file holds; its list is the first of that name.

    Raises
    ------
    DataError
        The file cannot be read, has no such list, or ends or is damaged within it; says where.
    """
    try:
        with path.open(encoding="utf-8") as file:
            yield from _Items(path, file, key)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text in UTF-8 ({error.reason})") from error


class _Items:
    """An iterator that knows what was read of the file, and the place in it that is to be read next."""

    def __init__(self, path: Path, file: TextIO, key: str) -> None:
        self.path, self.file = path, file
        self.text, self.before = file.read(_BLOCK), 0  # characters of the file before the text
        found = re.search(rf'"{re.escape(key)}"\s*:\s*\[', self.text)
        if found is None:
            raise DataError(f"{path}: has no list {key!r} in its first {_BLOCK} characters")
        self.place = found.end()

    def __iter__(self) -> Iterator[Any]:
        while self._character() != "]":
            yield self._decode()
            if self._character() == ",":
                self.place += 1

    def _character(self) -> str:
        """The next character that is not a space."""
        while True:
            self.place = _SPACE.match(self.text, self.place).end()
            if self.place < len(self.text):
                return self.text[self.place]
            self._read_on(_BLOCK)

    def _decode(self) -> Any:
        """The next item."""
        decoder, block = json.JSONDecoder(), _BLOCK
        while True:
            try:
                item, self.place = decoder.raw_decode(self.text, self.place)
            except json.JSONDecodeError as error:
                cut = error.pos >= len(self.text) - _LONGEST_WORD or error.msg.startswith("Unterminated string")
                if not cut or len(self.text) > LARGEST_ITEM:
                    near, where = self.text[error.pos : error.pos + 60], self.before + error.pos
                    raise DataError(f"{self.path}: damaged at character {where} ({error.msg}): {near!r}") from None
                self._read_on(block)
                block *= 2  # so that a long item is tried few times
            else:
                return item

    def _read_on(self, count: int) -> None:
        more = self.file.read(count)
        if not more:
            raise DataError(f"{self.path}: ends within its list, at character {self.before + len(self.text)}")
        self.text, self.before, self.place = self.text[self.place :] + more, self.before + self.place, 0
