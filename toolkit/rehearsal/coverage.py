"""The data of an experiment, looked at without training: whether it can be read, and the tokenizer knows its text."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from lhotse.cut import Cut

from toolkit.dataio.cut_audio import load_cut
from toolkit.dataio.loaders import Encoder, load_split
from toolkit.dataio.tokenize import TokenizerWrapper
from toolkit.dataio.utterances import transcript
from toolkit.errors import DataError
from toolkit.rehearsal.findings import Findings

UNKNOWN = 0  # the token of what a tokenizer does not know
# Utterances or sentences of a data set whose text is looked at, evenly spread: a minute's work at most.
MOST_TEXTS = 20_000
MOST_AUDIO = 10  # utterances whose audio is decoded; `asr data check` decodes all
SHOWN = 5


class AnyText:
    """In the place of a tokenizer that is not there yet: a token for each character."""

    def encode(self, text: str) -> list[int]:
        """As many tokens as characters."""
        return [1] * len(text)


@dataclass
class Looked:
    """A data set that can be read, and the utterances of it that were looked at.

    Attributes
    ----------
    dataset
        Makes the batch of (epoch, numbers).
    batches
        Of an epoch.
    extremes
        The numbers of the longest and of the shortest utterance.
    needs
        (seconds, frames that CTC needs) of each utterance that was looked at, by its id.
    """

    dataset: Any
    batches: int
    extremes: list[int]
    needs: dict[str, tuple[float, int]] = field(default_factory=dict)


def look_at_split(name: str, hparams: Mapping[str, Any], findings: Findings) -> Looked:
    """Load a data set as training would, and look at its texts and some of its audio.

    Raises
    ------
    ToolkitError
        It cannot be loaded.
    """
    tokenizer = hparams.get("tokenizer") or AnyText()
    loader = load_split(name, {**hparams, "tokenizer": tokenizer})
    batches, source = len(loader), loader.order.part.examples.source
    lengths = np.asarray(source.lengths, np.float64)
    unit = "utterances" if isinstance(source[0], Cut) else "conversations"
    if unit == "utterances":
        hours, (low, high) = np.nansum(lengths) / 3600, (np.nanmin(lengths), np.nanmax(lengths))
        findings.facts.append(
            f"{name}: {len(source)} utterances, {hours:.2f} h, {low:.1f} to {high:.1f} s, {batches} batches"
        )
    else:
        findings.facts.append(f"{name}: {len(source)} {unit}, {batches} batches")
    looked = Looked(loader.dataset, batches, [int(np.nanargmax(lengths)), int(np.nanargmin(lengths))])
    if unit == "utterances":
        _look_at_utterances(name, source, tokenizer, looked, findings)
    return looked


def _look_at_utterances(name: str, source: Any, tokenizer: Encoder, looked: Looked, findings: Findings) -> None:
    texts, failures = Texts(tokenizer), []
    for number in _spread(len(source), MOST_TEXTS):
        try:
            cut = source[number]
        except DataError as error:
            failures.append(str(error))
            continue
        looked.needs[cut.id] = cut.duration, texts.add(cut.id, transcript(cut), _language(cut))
    for number in _spread(len(source), MOST_AUDIO):
        try:
            load_cut(source[number])
        except DataError as error:
            failures.append(str(error))
    failures = list(dict.fromkeys(failures))
    findings.problems += [f"{name}: {failure}" for failure in failures[:SHOWN]]
    if len(failures) > SHOWN:
        findings.problems.append(f"{name}: {len(failures) - SHOWN} more like these; `asr data check` lists them")
    texts.report(name, findings)


def _language(cut: Cut) -> str | None:
    return next((one.language for one in cut.supervisions), None)


def _spread(count: int, most: int) -> Iterable[int]:
    """At most so many of the numbers below ``count``, evenly spread."""
    return range(count) if count <= most else np.linspace(0, count - 1, most).astype(int).tolist()


@dataclass
class Texts:
    """Counts what a tokenizer does not know."""

    tokenizer: Encoder
    unknown: Counter[str] = field(default_factory=Counter)
    example: str = ""
    empty: list[str] = field(default_factory=list)
    with_unknown: int = 0

    def add(self, name: str, text: str, language: str | None = None) -> int:
        """Look at a text; the frames that CTC needs for it: a token each, and a blank between equal neighbours."""
        if not text.strip():
            self.empty.append(name)
        encode = TokenizerWrapper(self.tokenizer)
        tokens = encode(text, language)
        if UNKNOWN in tokens:
            self.with_unknown += 1
            self.example = self.example or text
            self.unknown.update(char for char in set(text) if UNKNOWN in encode(char, language))
        return len(tokens) + sum(one == other for one, other in pairwise(tokens))

    def report(self, name: str, findings: Findings) -> None:
        """In training an unknown character is a problem, as token 0 is CTC's blank; a test only counts it as wrong."""
        if self.empty:
            findings.notes.append(f"{name}: {len(self.empty)} texts are empty, such as that of {self.empty[0]}")
        if not self.with_unknown:
            return
        named = " ".join(f"{char!r}" for char, _ in self.unknown.most_common(20))
        message = f"{name}: {self.with_unknown} texts have characters that the tokenizer does not know: {named}"
        message += f", first in {self.example!r}"
        if name.startswith("train"):
            findings.problems.append(
                f"{message}; train the tokenizer on this text, or leave them out in the preparation"
            )
        else:
            findings.notes.append(f"{message}; they will count as errors")


def look_at_text(name: str, files: Any, tokenizer: Encoder | None, findings: Findings) -> list[str]:
    """The first sentences of a text, once they were looked at; with a tokenizer, whether it knows their characters.

    Raises
    ------
    DataError
        There is none, or a file is not text.
    """
    sentences: list[str] = []
    for file in [files] if isinstance(files, (str, Path)) else files:
        sentences += _sentences(name, Path(file))
    if not sentences:
        raise DataError(f"{name}: {files}: holds no sentence")
    findings.facts.append(f"{name}: {len(sentences)}{'+' * (len(sentences) >= MOST_TEXTS)} sentences")
    if tokenizer is not None:
        texts = Texts(tokenizer)
        for number, sentence in enumerate(sentences):
            texts.add(f"line {number}", sentence)
        texts.report(name, findings)
    return sentences


def _sentences(name: str, file: Path) -> list[str]:
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rt", encoding="utf-8") as lines:
            return list(islice(filter(None, map(str.strip, lines)), MOST_TEXTS))
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{name}: {file}: cannot be read as text ({error})") from error
