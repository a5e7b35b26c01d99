"""The steps that every data preparation shares: find audio, match it with transcripts, say what was dropped, write.

A recipe's ``<dataset>_prepare.py`` says how its corpus is laid out and what one utterance is; the rest is here::

    dropped = Dropped()
    audio = find_audio(data_folder / "wav", dropped)
    pairs = match_transcripts(transcripts, audio, dropped)
    pairs = spell(pairs, Spelling("de"), dropped)             # where texts are not as a recogniser should learn them
    utterances = collect(pairs, make_utterance, dropped)      # an AudioError drops the utterance, with its reason
    write_splits(manifest_folder, {"train": utterances, ...}, data_root=data_folder, dropped=dropped)
    print(dropped.summary())
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import soundfile
from tqdm import tqdm

from toolkit.dataio.containers import AudioInfo, probe_audio
from toolkit.dataio.manifest_entries import PLACEHOLDER
from toolkit.dataio.manifests import write_manifest
from toolkit.errors import AudioError, DataError
from toolkit.files import replacing, write_atomically

Utterance = dict[str, Any]
Item = TypeVar("Item")
Result = TypeVar("Result")

# In the order of preference, for corpora that hold one utterance in several containers.
CONTAINERS = (".flac", ".wav", ".sph", ".mp3", ".ogg", ".opus", ".m4a", ".raw")

# Reasons: the letters of the language do not say the words; there are none.
NO_SPELLING = "without a spelling"
EMPTY = "with an empty transcript"

# Cases of a reason that a summary names.
NAMED = 10

# Files that are opened at once: enough to hide what a network's disk takes to answer; an hour of m4a is decoded whole,
# so that more would need gigabytes. And utterances whose file is opened before their turn.
THREADS, AHEAD = 8, 64


@dataclass
class Dropped:
    """What a preparation left out: how much for each reason, and the first cases, for one summary at its end."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, reason: str, what: str) -> None:
        """Count ``what`` (an utterance, or an utterance with the details) under ``reason``."""
        self.counts[reason] += 1
        cases = self.reasons[reason]
        if len(cases) <= NAMED and what not in cases:  # one more than is named tells that there are more
            cases.append(what)

    def __len__(self) -> int:
        return self.counts.total()

    def summary(self) -> str:
        """Lines with the count of each reason and the first distinct cases; ``nothing was dropped`` without any."""
        if not self.counts:
            return "nothing was dropped"
        lines = [f"dropped {len(self)}:"]
        for reason, cases in self.reasons.items():
            lines.append(f"  {self.counts[reason]} {reason}:")
            lines += [f"    {case}" for case in cases[:NAMED]]
            lines += ["    ..."] if len(cases) > NAMED else []
        return "\n".join(lines)


def require_files(folder: Path, wanted: Iterable[str], corpus: str) -> None:
    """Nothing, when ``folder`` holds all wanted paths; else one error with what was looked for and what was found.

    Raises
    ------
    DataError
        The folder is not the corpus.
    """
    missing = [name for name in wanted if not (folder / name).exists()]
    if missing:
        raise DataError(f"{folder} is not {corpus}: looked for {', '.join(missing)}; {content_of(folder)}")


def content_of(folder: Path) -> str:
    """What was found where a corpus was looked for: ``it holds: etc, wav``, of which the first eight are named."""
    if not folder.is_dir():
        return "there is no such folder"
    found = sorted(item.name for item in folder.iterdir())
    return f"it holds: {', '.join(found[:8]) or 'nothing'}"


def find_audio(
    folder: Path,
    dropped: Dropped,
    containers: Iterable[str] = CONTAINERS,
    *,
    name: Callable[[Path], str] = lambda path: path.stem,
) -> dict[str, Path]:
    """Audio files below ``folder`` by ``name``, sorted; of several containers the one named first.

    Of files with one name in several folders the first is taken, and the others are counted.
    """
    rank = {suffix: place for place, suffix in enumerate(containers)}
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        place, first = rank.get(path.suffix.lower()), found.get(name(path))
        if place is None:
            continue
        if first is not None and first.parent != path.parent:
            dropped.add("with the name of another file", f"{path} ({first} is taken)")
        elif first is None or place < rank[first.suffix.lower()]:
            found[name(path)] = path
    return found


def read_text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The number, from 1, and the text of each line of a file that is not blank.

    Raises
    ------
    DataError
        The file is not in UTF-8.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                text = line.decode("utf-8").strip()
            except UnicodeDecodeError as error:
                raise DataError(f"{path}: line {number} is not in UTF-8 ({error.reason}): {line.strip()!r}") from None
            if text:
                yield number, text


def match_transcripts(
    transcripts: Mapping[str, str], audio: Mapping[str, Path], dropped: Dropped
) -> list[tuple[str, str, Path]]:
    """(utterance, words, audio file) of all utterances that have words and audio; the others are counted."""
    for name in sorted(audio.keys() - transcripts.keys()):
        dropped.add("without a transcript", str(audio[name]))
    pairs = []
    for name, words in transcripts.items():
        if name not in audio:
            dropped.add("without audio", name)
        elif not words.strip():
            dropped.add(EMPTY, name)
        else:
            pairs.append((name, words, audio[name]))
    return pairs


def spell(
    pairs: Iterable[tuple[str, str, Path]], spelling: Callable[[str], str | None], dropped: Dropped
) -> Iterator[tuple[str, str, Path]]:
    """The same in the spelling of a language (`toolkit.dataio.spelling`); those that have none are counted."""
    for name, text, path in pairs:
        words = spelling(text)
        if words:
            yield name, words, path
        else:
            dropped.add(NO_SPELLING if words is None else EMPTY, f"{name}: {text}")


def collect(
    pairs: Iterable[tuple[str, str, Path]], make_utterance: Callable[[str, Path], Utterance], dropped: Dropped
) -> dict[str, Utterance]:
    """``make_utterance(words, path)`` of each pair by its name; unreadable audio is counted, never a crash.

    It is called in threads: what it changes outside of itself has to stand that.
    """
    utterances = {}
    for (name, _, _), made in in_threads(lambda pair: make_utterance(*pair[1:]), watched(pairs)):
        try:
            utterances[name] = made.result()
        except AudioError as error:
            dropped.add("with unreadable audio", str(error))
    return utterances


def in_threads(make: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Future[Result]]]:
    """Each item, in order, and what ``make`` makes of it, with which threads begin early; few are in memory at once.

    Decoding, and waiting for a disk, need no lock of Python's.
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for item in items:
            waiting.append((item, pool.submit(make, item)))
            if len(waiting) > AHEAD:
                yield waiting.popleft()
        yield from waiting


def watched(items: Iterable[Item]) -> Iterable[Item]:
    """The same items; in a terminal a bar shows how many there were, once they take longer than a moment."""
    return tqdm(items, unit=" utterances", disable=None, leave=False, delay=2)


def describe_audio(path: Path, data_root: Path, manifests: Path | None = None) -> Utterance:
    """The fields of a manifest that come from the audio file: wav, length, sample_rate, num_samples (, channels).

    ``wav`` is written relative to ``data_root``, or to ``manifests`` for audio that the preparation itself made.

    Raises
    ------
    AudioError
        The file is missing, empty, not audio, or cut off.
    """
    info = probe_audio(path)
    return {"wav": portable_path(path, data_root, manifests), "length": info.length, **_samples(info)}


def portable_path(path: Path, data_root: Path, manifests: Path | None = None) -> str:
    """A file as manifests name it: relative to ``data_root``, or to ``manifests`` where it is below, else absolute."""
    if manifests is not None and path.is_relative_to(manifests):
        return path.relative_to(manifests).as_posix()
    if path.is_relative_to(data_root):
        return f"{PLACEHOLDER}/{path.relative_to(data_root).as_posix()}"
    return path.resolve().as_posix()


def _samples(info: AudioInfo) -> dict[str, int]:
    fields = {"sample_rate": info.sample_rate, "num_samples": info.num_samples}
    return fields | ({"channels": info.channels} if info.channels > 1 else {})


def read_raw(path: Path) -> np.ndarray:
    """Samples (S,) int16 of a headerless 16-bit mono file, in the byte order that makes them a smooth curve.

    Speech changes little from one sample to the next; with its bytes swapped it is noise over the whole range.
    """
    data = path.read_bytes()
    if not data or len(data) % 2:
        raise AudioError(f"{path}: {len(data)} bytes are no 16-bit samples")
    orders = [np.frombuffer(data, dtype).astype(np.int16) for dtype in ("<i2", ">i2")]
    return min(orders, key=lambda samples: np.abs(np.diff(samples.astype(np.int32))).sum())


def convert_raw(source: Path, target: Path, sample_rate: int) -> Path:
    """``target``, a FLAC file with the samples of a headerless file; kept when it is newer than its source."""
    if target.is_file() and target.stat().st_mtime >= source.stat().st_mtime:
        return target
    samples = read_raw(source)
    with replacing(target) as partial:
        soundfile.write(str(partial), samples, sample_rate, format="FLAC", subtype="PCM_16")
    return target


def write_splits(
    folder: Path, splits: Mapping[str, Mapping[str, Utterance]], data_root: Path, *, dropped: Dropped | None = None
) -> None:
    """``<split>.json`` and ``lm_<split>.txt`` (one transcript a line) of each split; nothing when a split is empty.

    Raises
    ------
    DataError
        A split holds no utterance; the message says what was ``dropped``.
    """
    empty = [name for name, utterances in splits.items() if not utterances]
    if empty:
        raise nothing_left(empty, folder, dropped)
    for name, utterances in splits.items():
        write_manifest(folder / f"{name}.json", utterances, data_root)
        write_atomically(folder / f"lm_{name}.txt", "".join(f"{one['words']}\n" for one in utterances.values()))


def nothing_left(empty: Iterable[str], folder: Path, dropped: Dropped | None) -> DataError:
    """The error of splits without an utterance, and why they have none."""
    said = f"no utterance is left for {', '.join(empty)}: nothing was written to {folder}"
    return DataError(f"{said}\n{dropped.summary()}" if dropped else said)


def describe_splits(splits: Mapping[str, Mapping[str, Utterance]]) -> str:
    """A line a split: utterances, time, words, and speakers where they are known."""
    lines = []
    for name, utterances in splits.items():
        seconds = sum(one["length"] for one in utterances.values())
        words = sum(len(one["words"].split()) for one in utterances.values())
        speakers = {one["speaker"] for one in utterances.values() if one.get("speaker")}
        lines.append(f"{name}: {describe(len(utterances), seconds, words, len(speakers))}")
    return "\n".join(lines)


def describe(utterances: int, seconds: float, words: int, speakers: int) -> str:
    """A split's size in words; 0 speakers: nobody knows."""
    time = f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
    counted = f"{utterances} utterances, {time}, {words} words"
    return f"{counted}, {speakers} speakers" if speakers else counted
