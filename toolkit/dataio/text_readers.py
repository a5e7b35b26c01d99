"""Texts, pairs of texts and chats of files, by the number of their line. The names are NeMo's.

Paths are patterns (``nmt_{0..31}.jsonl``) or lists, and the files may be compressed (``.gz``). Each reader is
:class:`~toolkit.dataio.indexed.Indexed`; its ``lengths`` are bytes of text, as only a tokenizer knows tokens. Iterated
over with ``shuffle_shards``, the files come in another order in each pass, which ``shard_seed`` decides.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lhotse.dataset.dataloading import resolve_seed

from toolkit.dataio.indexed import Indexed, Lines
from toolkit.dataio.line_index import LineIndex
from toolkit.dataio.nemo_adapters import Paths, expand_sharded_filepaths
from toolkit.dataio.shards import Shards
from toolkit.dataio.text_adapters import NeMoSFTExample, SourceTargetTextExample, TextExample
from toolkit.dataio.unpacked import unpacked
from toolkit.errors import ConfigError, ManifestError

Seed = int | Literal["trng", "randomized"]


class LhotseTextAdapter(Shards):
    """A text of each line; empty lines are none."""

    def __init__(
        self, paths: Paths, language: str | None = None, *, shuffle_shards: bool = False, shard_seed: Seed = "trng"
    ) -> None:
        sources = [_filled_lines(path, partial(_text, language)) for path in expand_sharded_filepaths(paths)]
        super().__init__(sources, shuffle=shuffle_shards, seed=shard_seed)


class LhotseTextPairAdapter(Shards):
    """A source text and a target text of lines with the same number; lines that are empty in both files are none.

    Parameters
    ----------
    source_paths, target_paths
        As many files of the one as of the other.
    source_language, target_language
        Of all their lines.
    questions_path, questions_language
        A file of questions, one a line, of which each pair gets one at random.

    Raises
    ------
    ManifestError
        One file has more lines than the other, or a text where the other has none.
    """

    def __init__(
        self,
        source_paths: Paths,
        target_paths: Paths,
        source_language: str | None = None,
        target_language: str | None = None,
        questions_path: str | Path | None = None,
        questions_language: str | None = None,
        *,
        shuffle_shards: bool = False,
        shard_seed: Seed = "trng",
    ) -> None:
        sources, targets = expand_sharded_filepaths(source_paths), expand_sharded_filepaths(target_paths)
        if len(sources) != len(targets):
            counts = f"{len(sources)} and {len(targets)} files"
            raise ConfigError(f"source_paths, target_paths: {counts}; expected one target for each source")
        asked = list(LhotseTextAdapter(questions_path, questions_language)) if questions_path is not None else []
        question = _Question(asked, resolve_seed(shard_seed))
        pairs = [
            _Pairs(_lines(source, source_language), _lines(target, target_language), question)
            for source, target in zip(sources, targets, strict=True)
        ]
        super().__init__(pairs, shuffle=shuffle_shards, seed=shard_seed)


class LhotseTextPairAdapterFromJsonl(Shards):
    """Pairs of JSON objects, one a line; ``source`` and ``target`` are needed.

    ``{"source": "One.", "target": "Uno.", "source_lang": "en", "target_lang": "es", "prompt": "Translate:",
    "prompt_lang": "en"}``
    """

    def __init__(self, manifest_path: Paths, *, shuffle_shards: bool = False, shard_seed: Seed = "trng") -> None:
        sources = [json_lines(path, _pair) for path in expand_sharded_filepaths(manifest_path)]
        super().__init__(sources, shuffle=shuffle_shards, seed=shard_seed)


class NeMoSFTJsonlAdapter(Shards):
    """Chats of NeMo's fine-tuning files; see :class:`NeMoSFTExample`."""

    def __init__(
        self, paths: Paths, language: str | None = None, *, shuffle_shards: bool = False, shard_seed: Seed = "trng"
    ) -> None:
        sources = [json_lines(path, partial(_chat, language)) for path in expand_sharded_filepaths(paths)]
        super().__init__(sources, shuffle=shuffle_shards, seed=shard_seed)


def json_lines(path: str | Path, build: Callable[[dict[str, Any]], Any]) -> Lines[Any]:
    """What ``build`` makes of each JSON object of a file of one a line."""
    return _filled_lines(path, partial(_built, build))


def _filled_lines(path: str | Path, build: Callable[[bytes], Any]) -> Lines[Any]:
    """What ``build`` makes of each line that is not empty."""
    return Lines(LineIndex.of(unpacked(path), lambda line: _bytes(line) or None, name="bytes of text"), build)


def _lines(path: str | Path, language: str | None) -> Lines[TextExample]:
    """The text of each line, empty ones too."""
    return Lines(LineIndex.of(unpacked(path), _bytes, name="bytes of all lines"), partial(_text, language))


def _bytes(line: bytes) -> int:
    return len(line.strip())


class _Pairs(Indexed[SourceTargetTextExample]):
    """The lines of two files."""

    def __init__(self, sources: Lines[TextExample], targets: Lines[TextExample], question: _Question) -> None:
        self.sources, self.targets, self.question = sources, targets, question
        _check_aligned(sources, targets)
        self.numbers = np.flatnonzero(sources.lengths)
        self.lengths = (sources.lengths + targets.lengths)[self.numbers]

    def __getitem__(self, number: int) -> SourceTargetTextExample:
        line = int(self.numbers[number])
        return SourceTargetTextExample(self.sources[line], self.targets[line], self.question(line))


def _check_aligned(sources: Lines[TextExample], targets: Lines[TextExample]) -> None:
    """Raise a ManifestError for the first line that has no counterpart."""
    both = min(len(sources), len(targets))
    alone = np.flatnonzero((sources.lengths[:both] > 0) != (targets.lengths[:both] > 0))
    if len(alone):
        line = int(alone[0])
        one, other = (sources, targets) if sources.lengths[line] else (targets, sources)
        raise ManifestError(f"{one.index.where(line)}: has no counterpart: {other.index.path} is empty there")
    if len(sources) != len(targets):
        one, other = (sources, targets) if len(sources) > len(targets) else (targets, sources)
        raise ManifestError(f"{one.index.where(both)}: has no counterpart: {other.index.path} ends before it")


class _Question:
    """A random one of some questions for each number, the same whenever that number comes."""

    def __init__(self, questions: list[TextExample], seed: int) -> None:
        self.questions, self.seed = questions, seed

    def __call__(self, number: int) -> TextExample | None:
        return random.Random(f"{self.seed}/{number}").choice(self.questions) if self.questions else None


def _text(language: str | None, line: bytes) -> TextExample:
    return TextExample(line.decode().strip(), language)


def _built(build: Callable[[dict[str, Any]], Any], line: bytes) -> Any:
    item = json.loads(line)
    if not isinstance(item, dict):
        raise TypeError(f"expected a JSON object, not a {type(item).__name__}")
    return build(item)


def _pair(item: dict[str, Any]) -> SourceTargetTextExample:
    return SourceTargetTextExample(
        TextExample(text_of(item, "source"), item.get("source_lang")),
        TextExample(text_of(item, "target"), item.get("target_lang")),
        TextExample(text_of(item, "prompt"), item.get("prompt_lang")) if "prompt" in item else None,
    )


def _chat(language: str | None, item: dict[str, Any]) -> NeMoSFTExample:
    for turn in item["conversations"]:
        text_of(turn, "from"), text_of(turn, "value")
    return NeMoSFTExample(item, language)


def text_of(item: dict[str, Any], name: str) -> str:
    """A field of a JSON object that must be a text."""
    if not isinstance(item[name], str):
        raise TypeError(f"{name!r} is {item[name]!r}; expected a text")
    return item[name]
