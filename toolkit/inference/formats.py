"""A transcript as text: for people, for programs, as subtitles, for scoring, for Praat.

txt        path<TAB>words; of a waveform, which has no path, its words
jsonl      one line of JSON with every field of the transcript
json       the same on many lines
srt, vtt   subtitles
ctm        a line a word: file, channel, start, duration, word, confidence, as NIST's sclite reads it
tsv        a table of words with a line that names its columns
TextGrid   an interval a word and a pause, as Praat reads it
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from toolkit.errors import ConfigError, did_you_mean
from toolkit.inference.archive_inputs import SUFFIXES
from toolkit.inference.confidence import LEAST
from toolkit.inference.transcript import Transcript, Word

# What a viewer can read: two lines of 42 characters, for seven seconds at most (Netflix, Timed Text Style Guide).
LINE_CHARACTERS, LINES, CUE_S = 42, 2, 7.0
PAUSE_S = 1.0  # of silence end a subtitle, as does the end of a sentence
SHORTEST_CUE_S = 0.8  # a subtitle is shown for at least so long, where the next one leaves it the time


def text_of(transcript: Transcript, form: str) -> str:
    """The transcript in a format of `FORMATS`; what is not empty ends with a line break.

    Of a format of `STREAMS` the texts of many transcripts, one after the other, are a file too.

    Raises
    ------
    ConfigError
        There is no such format.
    """
    if form not in FORMATS:
        raise ConfigError(f"format {form!r}: expected one of {', '.join(FORMATS)}{did_you_mean(form, FORMATS)}")
    return FORMATS[form](transcript)


def as_txt(transcript: Transcript) -> str:
    """``path<TAB>words``."""
    return f"{transcript.file}\t{transcript.text}\n" if transcript.file else f"{transcript.text}\n"


def as_jsonl(transcript: Transcript) -> str:
    """``{"text": "HELLO", "words": [{"text": "HELLO", "start": 0.2, "end": 0.6, "confidence": 0.97}], ...}``."""
    return json.dumps(_plain(asdict(transcript)), ensure_ascii=False) + "\n"


def as_json(transcript: Transcript) -> str:
    """As jsonl, a field a line."""
    return json.dumps(_plain(asdict(transcript)), ensure_ascii=False, indent=2) + "\n"


def as_srt(transcript: Transcript) -> str:
    """``1 / 00:00:00,200 --> 00:00:01,000 / HELLO``, on three lines."""
    cues = enumerate(subtitles(transcript), start=1)
    return "\n".join(f"{number}\n{_span(cue, ',')}\n{_lines(cue.text)}\n" for number, cue in cues)


def as_vtt(transcript: Transcript) -> str:
    """``WEBVTT / (empty) / 00:00:00.200 --> 00:00:01.000 / HELLO``, on four lines."""
    cues = [f"{_span(cue, '.')}\n{_escaped(_lines(cue.text))}\n" for cue in subtitles(transcript)]
    return "\n".join(["WEBVTT\n", *cues])


def as_ctm(transcript: Transcript) -> str:
    """``speech 1 0.200 0.400 HELLO 0.970``."""
    name = ctm_name(transcript.file)
    rows = (f"{name} 1 {w.start:.3f} {w.end - w.start:.3f} {w.text} {w.confidence:.3f}\n" for w in transcript.words)
    return "".join(rows)


def ctm_name(file: str) -> str:
    """What a ctm calls a recording: its name without folder, suffix of audio and spaces."""
    path = Path(file)
    return "_".join((path.stem if path.suffix.lower() in SUFFIXES else path.name).split()) or "audio"


def as_tsv(transcript: Transcript) -> str:
    """``0.200<TAB>0.600<TAB>0.970<TAB>HELLO``."""
    rows = (f"{w.start:.3f}\t{w.end:.3f}\t{w.confidence:.3f}\t{w.text}\n" for w in transcript.words)
    return "start\tend\tconfidence\tword\n" + "".join(rows)


def as_textgrid(transcript: Transcript) -> str:
    """Praat's long text format with one tier, ``words``, whose intervals leave no gap."""
    intervals = list(_intervals(transcript))
    end = f"{intervals[-1].end:.3f}"
    lines = [
        'File type = "ooTextFile"\nObject class = "TextGrid"\n',
        f"xmin = 0 \nxmax = {end} \ntiers? <exists> \nsize = 1 \nitem []: \n    item [1]:",
        f'        class = "IntervalTier" \n        name = "words" \n        xmin = 0 \n        xmax = {end} ',
        f"        intervals: size = {len(intervals)} ",
    ]
    for number, one in enumerate(intervals, start=1):
        lines.append(f"        intervals [{number}]:\n            xmin = {one.start:.3f} ")
        lines.append(f"            xmax = {one.end:.3f} \n            text = {_quoted(one.text)} ")
    return "\n".join(lines) + "\n"


FORMATS: dict[str, Callable[[Transcript], str]] = {
    "txt": as_txt,
    "json": as_json,
    "jsonl": as_jsonl,
    "srt": as_srt,
    "vtt": as_vtt,
    "ctm": as_ctm,
    "tsv": as_tsv,
    "TextGrid": as_textgrid,
}
STREAMS = ("txt", "jsonl", "ctm")


def subtitles(transcript: Transcript) -> list[Word]:
    """The transcript's words in groups that fit a screen; all in one where the words have no times."""
    if not transcript.words:
        return [Word(transcript.text, 0.0, transcript.duration, 1.0)] if transcript.text else []
    groups: list[list[Word]] = []
    for word in transcript.words:
        if not groups or not _fits(groups[-1], word):
            groups.append([])
        groups[-1].append(word)
    cues = [_cue(group) for group in groups]
    ends = [following.start for _, following in pairwise(cues)] + [math.inf]
    return [
        replace(cue, end=max(cue.end, min(cue.start + SHORTEST_CUE_S, latest)))
        for cue, latest in zip(cues, ends, strict=True)
    ]


def _fits(group: list[Word], word: Word) -> bool:
    """Whether a subtitle of these words can have one more."""
    if word.start - group[-1].end >= PAUSE_S or group[-1].text.endswith((".", "?", "!")):
        return False
    text = " ".join([*(one.text for one in group), word.text])
    return word.end - group[0].start <= CUE_S and len(textwrap.wrap(text, LINE_CHARACTERS)) <= LINES


def _cue(group: list[Word]) -> Word:
    """The words as one, as sure as they are in the geometric mean."""
    confidence = math.exp(fmean(math.log(max(word.confidence, LEAST)) for word in group))
    return Word(" ".join(word.text for word in group), group[0].start, group[-1].end, confidence)


def _lines(text: str) -> str:
    """The text of a subtitle, on lines of much the same length."""
    needed = len(textwrap.wrap(text, LINE_CHARACTERS))
    if needed > LINES or needed == 1:  # without times of words, all is one subtitle
        return "\n".join(textwrap.wrap(text, LINE_CHARACTERS))
    widths = range(len(text) // LINES, LINE_CHARACTERS + 1)
    return "\n".join(next(lines for width in widths if len(lines := textwrap.wrap(text, width)) <= LINES))


def _span(cue: Word, mark: str) -> str:
    return f"{_clock(cue.start, mark)} --> {_clock(cue.end, mark)}"


def _clock(seconds: float, mark: str) -> str:
    """``00:01:02,345``."""
    total, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{total // 3600:02}:{total // 60 % 60:02}:{total % 60:02}{mark}{milliseconds:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _intervals(transcript: Transcript) -> Iterator[Word]:
    """The words and the pauses between them, from the beginning to the end; a pause is a word without text."""
    end = 0.0
    for word in transcript.words:
        if word.start > end:
            yield Word("", end, word.start, 1.0)
        yield Word(word.text, max(word.start, end), word.end, word.confidence)
        end = word.end
    if transcript.duration > end or not transcript.words:
        yield Word("", end, max(transcript.duration, 0.001), 1.0)  # Praat has no grid of zero seconds


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _plain(value: Any) -> Any:
    """The value with its numbers as JSON can hold them, four places after the point."""
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value
