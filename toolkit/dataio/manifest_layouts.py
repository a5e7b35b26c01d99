"""How JSON and CSV manifests lay out their utterances in lines, and what each says of one.

A layout parses one line at a time, for manifests of which only the lines that are asked for are read, and whole files,
for those where an utterance takes several lines.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from toolkit.errors import ManifestError

Entry = tuple[str, Any]

# Columns of SpeechBrain's CSV files by our names of the fields.
COLUMNS = {"duration": "length", "wrd": "words", "spk_id": "speaker"}
_NUMBERS = {"length": float, "sample_rate": int, "num_samples": int, "channels": int}


class OtherLayoutError(Exception):
    """A line is not one utterance: the file is read whole, which says what is wrong with it if anything is."""


class JsonLayout:
    """``{"id": {"wav": ..., ...}, ...}``, where we write it with a line for each utterance and each brace."""

    name = "speechbrain json"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._comma = True

    def check_end(self) -> None:
        """Raise an OtherLayoutError unless the last line is what it is where the file is not cut off."""
        with self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - 16))
            if not file.read().rstrip().endswith(b"\n}"):
                raise OtherLayoutError

    def parse_next(self, line: bytes) -> Entry | None:
        """As :meth:`parse`, of all lines from the first to the last; the commas between them are minded too."""
        parsed = self.parse(line)
        content = line.strip()
        # A comma is wanted before each utterance but the first, and none before the end.
        if content and self._comma is (content == b"}"):
            raise OtherLayoutError
        if parsed is not None:
            self._comma = content.endswith(b",")
        return parsed

    def parse(self, line: bytes) -> Entry | None:
        """The utterance of a line; None for a brace."""
        content = line.strip()
        if content in (b"{", b"}", b""):
            return None
        try:
            ((name, entry),) = json.loads(b"{" + content.removesuffix(b",") + b"}", object_pairs_hook=_Object).items()
        except ValueError as error:
            raise OtherLayoutError from error
        return name, entry

    def whole(self) -> Iterator[Entry]:
        """All utterances.

        Raises
        ------
        ManifestError
            The file (which is not named) is damaged, no JSON object, or names an utterance twice.
        """
        try:
            entries = json.loads(self.path.read_text(encoding="utf-8"), object_pairs_hook=_Object)
        except UnicodeDecodeError as error:
            raise ManifestError(f"not UTF-8 text ({error.reason} at byte {error.start})") from error
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            raise ManifestError(f"damaged JSON at {where} ({error.msg}); prepare the data again") from error
        if not isinstance(entries, Mapping):
            kind = type(entries).__name__
            raise ManifestError(f"a manifest is a JSON object {{id: {{wav, length, words}}}}, not a {kind}")
        if entries.repeated:
            raise ManifestError(f"utterance {entries.repeated[0]!r} appears twice; ids must be unique")
        yield from entries.items()


class _Object(dict):
    """A JSON object that remembers the keys that stood in it more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        seen: set[str] = set()
        self.repeated = [key for key, _ in pairs if key in seen or seen.add(key)] if len(self) < len(pairs) else []


class CsvLayout:
    """A line of column names, among them ``ID``, ``duration``, ``wav`` and ``wrd``, then a line for each utterance."""

    name = "speechbrain csv"

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open(encoding="utf-8", newline="") as file:
            self._names = [COLUMNS.get(name.strip(), name.strip()) for name in next(csv.reader(file), [])]
        self._header = True
        if "ID" not in self._names:
            raise ManifestError(f"{path}: has no column 'ID'; expected the columns ID, duration, wav, spk_id, wrd")

    def check_end(self) -> None:
        """Nothing to check: a CSV file has no end of its own."""

    def parse_next(self, line: bytes) -> Entry | None:
        """As :meth:`parse`, of all lines from the first to the last."""
        if self._header:
            self._header = False
            return None
        return self.parse(line)

    def parse(self, line: bytes) -> Entry | None:
        """The utterance of a line; None where it is empty."""
        text = line.decode().strip()
        if text.count('"') % 2:  # a field in quotes goes on in the next line
            raise OtherLayoutError
        return self._entry(next(csv.reader([text]))) if text else None

    def whole(self) -> Iterator[Entry]:
        """All utterances."""
        with self.path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            next(reader)
            for row in filter(None, reader):
                try:
                    yield self._entry(row)
                except ValueError as error:
                    raise ManifestError(f"line {reader.line_num}: {error}") from error

    def _entry(self, row: list[str]) -> Entry:
        if len(row) != len(self._names):
            raise ValueError(f"{len(row)} fields, expected {len(self._names)}")
        entry = {name: value for name, value in zip(self._names, map(str.strip, row), strict=True) if value}
        name = entry.pop("ID", "")
        if "wav" in entry:
            entry["wav"] = entry["wav"].replace("$data_root", "{data_root}")  # as SpeechBrain 0.5 wrote it
        return name, {key: _NUMBERS.get(key, str)(value) for key, value in entry.items()}
