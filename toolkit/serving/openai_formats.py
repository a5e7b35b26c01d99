"""A transcript as OpenAI's API says it.

json            {"text": "HELLO", "usage": {"type": "duration", "seconds": 1.2}}
verbose_json    text, language and duration, and segments or words with their times
text, srt, vtt  HELLO; subtitles
events          {"type": "transcript.text.delta", "delta": "HELLO"} for each part of a file as it is understood

Segments are the subtitles of srt and vtt. Clients were written for Whisper: `Segment` says what is nearest, and true,
where only Whisper has a value.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import AsyncIterator, Set
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from toolkit.inference.confidence import LEAST
from toolkit.inference.formats import subtitles
from toolkit.inference.transcript import Transcript, Word
from toolkit.serving.jobs import joined

UNKNOWN_LANGUAGE = "und"  # ISO 639-3: undetermined

EXAMPLES = {  # of answers that are not JSON, by their types
    "text/plain": "HELLO WORLD\n",
    "application/x-subrip": "1\n00:00:00,280 --> 00:00:01,120\nHELLO WORLD\n",
    "text/vtt": "WEBVTT\n\n00:00:00.280 --> 00:00:01.120\nHELLO WORLD\n",
    "text/event-stream": 'data: {"type": "transcript.text.delta", "delta": "HELLO WORLD"}\n\n'
    'data: {"type": "transcript.text.done", "text": "HELLO WORLD"}\n\n',
}
SEGMENT_EXAMPLE = {
    "id": 0,
    "seek": 28,
    "start": 0.28,
    "end": 1.12,
    "text": " HELLO WORLD",
    "tokens": [],
    "temperature": 0.0,
    "avg_logprob": -0.0573,
    "compression_ratio": 0.5789,
    "no_speech_prob": 0.0,
}


class Usage(BaseModel):
    """How much audio was transcribed."""

    type: Literal["duration"] = "duration"
    seconds: float


class JSONTranscription(BaseModel):
    """What is said in a file: response_format=json."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "HELLO WORLD", "usage": {"type": "duration", "seconds": 1.5}}]}
    )

    text: str
    usage: Usage


class TimedWord(BaseModel):
    """A word, and when it is said, in seconds from the beginning."""

    word: str
    start: float
    end: float


class Segment(BaseModel):
    """A subtitle with what Whisper says of its segments."""

    model_config = ConfigDict(json_schema_extra={"examples": [SEGMENT_EXAMPLE]})

    id: int
    seek: int = Field(description="`start` in hundredths of a second; Whisper's is that of the 30 s around it.")
    start: float
    end: float
    text: str = Field(description="With a space before it, so that all, put together, are the transcript's.")
    tokens: list[int] = Field([], description="Always empty: numbers mean nothing without the model's tokenizer.")
    temperature: float = Field(0.0, description="Always 0: searches here do not draw.")
    avg_logprob: float = Field(
        description="Mean log of the words' confidence; of models that do not time words, the search's score a token. "
        "Whisper's is the mean log-probability of the tokens of 30 s."
    )
    compression_ratio: float = Field(description="Bytes of the text over those that zlib makes of it, as Whisper's.")
    no_speech_prob: float = Field(0.0, description="Always 0: segments are of recognised words, silence makes none.")


class VerboseTranscription(JSONTranscription):
    """What is said in a file, and when: response_format=verbose_json."""

    task: Literal["transcribe"] = "transcribe"
    language: str = Field(description="A code, where OpenAI has a name: the model's, else the request's, else `und`.")
    duration: float
    segments: list[Segment] | None = None
    words: list[TimedWord] | None = None


def as_json(transcript: Transcript) -> JSONTranscription:
    """The text, and how much audio it took."""
    return JSONTranscription(text=transcript.text, usage=_usage(transcript))


def as_verbose(transcript: Transcript, granularities: Set[str], language: str = "") -> VerboseTranscription:
    """The text, what is known of it, and the times of its ``segment``s (by default), its ``word``s, or both."""
    words = [TimedWord(word=word.text, **_span(word)) for word in transcript.words]
    return VerboseTranscription(
        text=transcript.text,
        usage=_usage(transcript),
        language=transcript.language or language or UNKNOWN_LANGUAGE,
        duration=_seconds(transcript.duration),
        segments=segments(transcript) if "segment" in granularities or not granularities else None,
        words=words if "word" in granularities else None,
    )


def segments(transcript: Transcript) -> list[Segment]:
    """The subtitles of a transcript as Whisper's segments."""
    return [
        Segment(
            id=number,
            seek=int(cue.start * 100),
            **_span(cue),
            text=f" {cue.text}",
            avg_logprob=round(_average_log_probability(transcript, cue), 4),
            compression_ratio=round(_compression_ratio(cue.text), 4),
        )
        for number, cue in enumerate(subtitles(transcript))
    ]


async def events(parts: AsyncIterator[Transcript]) -> AsyncIterator[str]:
    """Server-sent events: a delta for each part that has words, then the whole text, which the deltas add up to.

    The last has no ``usage``: OpenAI's counts tokens there, and cannot be of the kind ``duration``.
    """
    heard: list[Transcript] = []
    async for part in parts:
        if part.text:
            space = " " if any(before.text for before in heard) else ""
            yield event({"type": "transcript.text.delta", "delta": space + part.text})
        heard.append(part)
    yield event({"type": "transcript.text.done", "text": joined(heard).text})


def event(data: dict[str, Any]) -> str:
    """A server-sent event."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def _usage(transcript: Transcript) -> Usage:
    return Usage(seconds=_seconds(transcript.duration))


def _span(word: Word) -> dict[str, float]:
    return {"start": _seconds(word.start), "end": _seconds(word.end)}


def _seconds(value: float) -> float:
    """To the millisecond, as in subtitles."""
    return round(value, 3)


def _average_log_probability(transcript: Transcript, cue: Word) -> float:
    if transcript.words:
        return math.log(cue.confidence)
    # as Whisper counts: the end of the text is a token, too
    return max(transcript.score / (len(transcript.tokens) + 1), math.log(LEAST))


def _compression_ratio(text: str) -> float:
    encoded = text.encode()
    return len(encoded) / len(zlib.compress(encoded))
