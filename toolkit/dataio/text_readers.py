"""Text files and JSONL files of texts, as examples, one line in memory at a time. The names are NeMo's.

Each reader is iterable, so that ``CutSet(reader)`` is a lazy CutSet. Its paths are patterns (``nmt_{0..31}.jsonl``) or
lists; with ``shuffle_shards`` the files come in another order in each pass, which ``shard_seed`` decides.
"""

from __future__ import annotations

import json
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, TypeVar

from lhotse.dataset.dataloading import resolve_seed
from lhotse.serialization import open_best

from toolkit.dataio.line_index import damaged
from toolkit.dataio.nemo_adapters import expand_sharded_filepaths
from toolkit.dataio.text_adapters import Formattable, NeMoSFTExample, SourceTargetTextExample, TextExample
from toolkit.errors import ConfigError, DataError, ManifestError

T = TypeVar("T")
Paths = str | Path | Sequence[str | Path]
Seed = int | Literal["trng", "randomized"]


@dataclass(kw_only=True)
class ShardReader(ABC):
    """Examples of files, one file after the other.

    Attributes
    ----------
    shuffle_shards
        Whether the order of the files is random.
    shard_seed
        A number for the same orders in every run, or Lhotse's ``trng`` or ``randomized``.
    """

    shuffle_shards: bool = False
    shard_seed: Seed = "trng"
    _passes: int = field(default=0, init=False, repr=False)

    @abstractmethod
    def shards(self) -> list[Any]:
        """The files, or what else is read as one."""

    @abstractmethod
    def read(self, shard: Any) -> Iterator[Formattable]:
        """The examples of one shard."""

    def __iter__(self) -> Iterator[Formattable]:
        shards = self.shards()
        if self.shuffle_shards:
            random.Random(resolve_seed(self.shard_seed) + self._passes).shuffle(shards)
        self._passes += 1
        for shard in shards:
            yield from self.read(shard)


@dataclass
class LhotseTextAdapter(ShardReader):
    """A text of each line; empty lines are none."""

    paths: Paths
    language: str | None = None

    def shards(self) -> list[str]:
        """The files."""
        return expand_sharded_filepaths(self.paths)

    def read(self, shard: str) -> Iterator[TextExample]:
        """The texts of one file."""
        return (TextExample(text, self.language) for _, text in read_texts(shard) if text)


@dataclass
class LhotseTextPairAdapter(ShardReader):
    """A source text and a target text of lines with the same number.

    Attributes
    ----------
    source_paths, target_paths
        As many files of the one as of the other.
    source_language, target_language
        Of all their lines.
    questions_path, questions_language
        A file of questions, one a line, of which each pair gets one at random.
    """

    source_paths: Paths
    target_paths: Paths
    source_language: str | None = None
    target_language: str | None = None
    questions_path: str | Path | None = None
    questions_language: str | None = None

    def shards(self) -> list[tuple[str, str]]:
        """The pairs of files."""
        sources, targets = expand_sharded_filepaths(self.source_paths), expand_sharded_filepaths(self.target_paths)
        if len(sources) != len(targets):
            counts = f"{len(sources)} and {len(targets)} files"
            raise ConfigError(f"source_paths, target_paths: {counts}; expected one target for each source")
        return list(zip(sources, targets, strict=True))

    def read(self, shard: tuple[str, str]) -> Iterator[SourceTargetTextExample]:
        """The pairs of two files.

        Raises
        ------
        ManifestError
            One file has more lines than the other, or a text where the other has none.
        """
        questions = [text for _, text in read_texts(self.questions_path) if text] if self.questions_path else []
        rng = random.Random(f"{resolve_seed(self.shard_seed)}/{self._passes}/{shard}")
        for source, target in _aligned(*shard):
            yield SourceTargetTextExample(
                TextExample(source, self.source_language),
                TextExample(target, self.target_language),
                TextExample(rng.choice(questions), self.questions_language) if questions else None,
            )


def _aligned(source_path: str, target_path: str) -> Iterator[tuple[str, str]]:
    """The texts of both files, line by line; lines that are empty in both are left out."""
    lines = zip_longest(read_texts(source_path), read_texts(target_path), fillvalue=(0, None))
    for (source_line, source), (target_line, target) in lines:
        if source and target:
            yield source, target
        elif source != target:
            (path, number), other = ((source_path, source_line), target_path)
            if not source:
                (path, number), other = ((target_path, target_line), source_path)
            lacks = "ends before it" if None in (source, target) else "is empty there"
            raise ManifestError(f"{path}: line {number}: has no counterpart: {other} {lacks}")


@dataclass
class LhotseTextPairAdapterFromJsonl(ShardReader):
    """Pairs of JSON objects, one a line; ``source`` and ``target`` are needed.

    ``{"source": "One.", "target": "Uno.", "source_lang": "en", "target_lang": "es", "prompt": "Translate:",
    "prompt_lang": "en"}``
    """

    manifest_path: Paths

    def shards(self) -> list[str]:
        """The files."""
        return expand_sharded_filepaths(self.manifest_path)

    def read(self, shard: str) -> Iterator[SourceTargetTextExample]:
        """The pairs of one file."""
        return read_jsonl(shard, _pair)


def _pair(item: dict[str, Any]) -> SourceTargetTextExample:
    return SourceTargetTextExample(
        TextExample(_text(item, "source"), item.get("source_lang")),
        TextExample(_text(item, "target"), item.get("target_lang")),
        TextExample(_text(item, "prompt"), item.get("prompt_lang")) if "prompt" in item else None,
    )


@dataclass
class NeMoSFTJsonlAdapter(ShardReader):
    """Chats of NeMo's fine-tuning files; see :class:`NeMoSFTExample`."""

    paths: Paths
    language: str | None = None

    def shards(self) -> list[str]:
        """The files."""
        return expand_sharded_filepaths(self.paths)

    def read(self, shard: str) -> Iterator[NeMoSFTExample]:
        """The chats of one file."""
        return read_jsonl(shard, self._chat)

    def _chat(self, item: dict[str, Any]) -> NeMoSFTExample:
        for turn in item["conversations"]:
            _text(turn, "from"), _text(turn, "value")
        return NeMoSFTExample(item, self.language)


def _text(item: dict[str, Any], name: str) -> str:
    if not isinstance(item[name], str):
        raise TypeError(f"{name!r} is {item[name]!r}; expected a text")
    return item[name]


def read_texts(path: str | Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line, without white space around it.

    Raises
    ------
    ManifestError
        There is no such file, or a line is not UTF-8.
    """
    for number, line in _lines(path):
        try:
            text = line.decode().strip()
        except UnicodeDecodeError as error:
            raise ManifestError(f"{path}: line {number}: not UTF-8 text ({error.reason})") from error
        yield number, text


def read_jsonl(path: str | Path, build: Callable[[dict[str, Any]], T]) -> Iterator[T]:
    """What ``build`` makes of each JSON object of a file of one a line.

    Raises
    ------
    ManifestError
        There is no such file, or a line is damaged: no JSON object, or ``build`` finds something wrong.
    """
    for number, line in _lines(path):
        if line.strip():
            try:
                example = build(_object(line))
            except (DataError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise damaged(f"{path}: line {number}", line, error) from error
            yield example


def _object(line: bytes) -> dict[str, Any]:
    item = json.loads(line)
    if not isinstance(item, dict):
        raise TypeError(f"expected a JSON object, not {type(item).__name__}")
    return item


def _lines(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """Numbers and bytes of the lines of a file, which may be compressed (.gz)."""
    try:
        with open_best(path, "rb") as file:
            yield from enumerate(file, start=1)
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror or error})") from error
