"""Manifests of corpora whose utterances are parts of long recordings: written as they are read, never all in memory.

::

    dropped = Dropped()
    splits = {"train": read_part("train"), "valid": read_part("dev"), "test": read_part("test")}   # of Segments
    print(write_segments(manifests, splits, data_folder, dropped=dropped))
    print(dropped.summary())

A manifest is NeMo's, an utterance a line, and ``manifest_filepath`` of a YAML reads it as it does SpeechBrain's::

    {"audio_filepath": "{data_root}/train/sph/AlGore_2004.sph", "offset": 17.82, "duration": 10.5, "text": "THANK YOU",
     "speaker": "AlGore_2004", "id": "AlGore_2004-0001782-0002832", "sampling_rate": 16000}
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

from toolkit.dataio.containers import LENGTH_TOLERANCE_S, AudioInfo, probe_audio
from toolkit.dataio.manifest_entries import ROOT_FILE
from toolkit.dataio.prepare import (
    AHEAD,
    EMPTY,
    NO_SPELLING,
    THREADS,
    Dropped,
    describe,
    nothing_left,
    portable_path,
    watched,
)
from toolkit.errors import AudioError
from toolkit.files import replacing, write_atomically

# Utterances of a recording follow each other, or those of a few recordings alternate.
_RECORDINGS_KNOWN = 1024


# How a manifest names a recording, and what it holds; or why nothing.
Recording = tuple[str, AudioInfo] | AudioError


@dataclass(frozen=True)
class Segment:
    """An utterance: a part of a recording, in seconds (None: to its end), and what is said in it."""

    name: str
    audio: Path
    start: float
    length: float | None
    words: str
    speaker: str | None = None
    language: str | None = None


def spell(segments: Iterable[Segment], spelling: Callable[[str], str | None], dropped: Dropped) -> Iterator[Segment]:
    """The segments with their words in the spelling of a language; those that have none are counted."""
    for segment in segments:
        words = spelling(segment.words)
        if words is None:
            dropped.add(NO_SPELLING, f"{segment.name}: {segment.words}")
        else:
            yield replace(segment, words=words)


def write_segments(folder: Path, splits: Mapping[str, Iterable[Segment]], data_root: Path, *, dropped: Dropped) -> str:
    """``<split>.json`` and ``lm_<split>.txt`` of each split, all or none; returns a line about each.

    Raises
    ------
    DataError
        A split holds no utterance.
    """
    with writing_segments(folder, splits, data_root, dropped=dropped) as writers:
        for name, segments in splits.items():
            for segment in watched(segments):
                writers[name].add(segment)
    return describe_written(writers)


@contextlib.contextmanager
def writing_segments(
    folder: Path, splits: Iterable[str], data_root: Path, *, dropped: Dropped
) -> Iterator[dict[str, SplitWriter]]:
    """What writes each split, for corpora that have the utterances of all in one file; all appear at the end, or none.

    Raises
    ------
    DataError
        A split holds no utterance.
    """
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(THREADS))
        open_early = functools.partial(pool.submit, _recording, data_root, folder)
        recording = functools.lru_cache(_RECORDINGS_KNOWN)(open_early)  # of a recording the first utterance opens it

        def opened(path: Path) -> TextIO:
            return stack.enter_context(stack.enter_context(replacing(path)).open("w", encoding="utf-8"))

        writers = {
            name: SplitWriter(opened(folder / f"{name}.json"), opened(folder / f"lm_{name}.txt"), recording, dropped)
            for name in splits
        }
        yield writers
        for writer in writers.values():
            writer.finish()
        empty = [name for name, writer in writers.items() if not writer.utterances]
        if empty:
            raise nothing_left(empty, folder, dropped)
        write_atomically(folder / ROOT_FILE, f"{data_root.resolve()}\n")


def _recording(data_root: Path, folder: Path, audio: Path) -> Recording:
    """How a manifest names a recording, and what that holds; or what is wrong with it."""
    try:
        return portable_path(audio, data_root, folder), probe_audio(audio)
    except AudioError as error:
        return error


@dataclass
class SplitWriter:
    """Writes a manifest and its words, and counts what it wrote; what cannot be heard or read is ``dropped``.

    Utterances wait, a few at a time, until threads have opened their recordings; they are written in their order.
    """

    manifest: TextIO
    text: TextIO
    recording: Callable[[Path], Future[Recording]]
    dropped: Dropped
    waiting: deque[tuple[Segment, Future[Recording]]] = field(default_factory=deque)
    utterances: int = 0
    seconds: float = 0.0
    words: int = 0
    speakers: set[str] = field(default_factory=set)

    def add(self, segment: Segment) -> None:
        """Write an utterance, unless its recording cannot be read or it isn't a part of that, or nothing is said."""
        self.waiting.append((segment, self.recording(segment.audio)))
        if len(self.waiting) > AHEAD:
            self._write_next()

    def finish(self) -> None:
        """Write the utterances that wait."""
        while self.waiting:
            self._write_next()

    def _write_next(self) -> None:
        segment, opened = self.waiting.popleft()
        words, recording = segment.words.split(), opened.result()
        if isinstance(recording, AudioError):
            self.dropped.add("with unreadable audio", str(recording))  # one text for all of a recording
            return
        path, info = recording
        start = round(segment.start, 6)
        length = round(info.length - start if segment.length is None else segment.length, 6)
        if not words:
            self.dropped.add(EMPTY, segment.name)
        elif start < 0 or length <= 0 or start + length > info.length + LENGTH_TOLERANCE_S:
            there = f"{length} s from {start} s on, of {info.length:.2f} s of {path}"
            self.dropped.add("that are no part of their recording", f"{segment.name}: {there}")
        else:
            entry = {"audio_filepath": path, "offset": start, "duration": length, "text": " ".join(words)}
            entry |= {"id": segment.name, "sampling_rate": info.sample_rate}
            entry |= {"speaker": segment.speaker} if segment.speaker else {}
            entry |= {"lang": segment.language} if segment.language else {}
            self.manifest.write(f"{json.dumps(entry, ensure_ascii=False)}\n")
            self.text.write(f"{' '.join(words)}\n")
            self.utterances += 1
            self.seconds += length
            self.words += len(words)
            self.speakers |= {segment.speaker} if segment.speaker else set()


def describe_written(writers: Mapping[str, SplitWriter]) -> str:
    """A line a split: utterances, time, words, and speakers where they are known."""
    lines = [
        f"{name}: {describe(one.utterances, one.seconds, one.words, len(one.speakers))}"
        for name, one in writers.items()
    ]
    return "\n".join(lines)
