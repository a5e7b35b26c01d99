"""A transcript as OpenAI's API says it.

json           {"text": "HELLO", "usage": {"type": "duration", "seconds": 1.2}}
text           HELLO
srt, vtt       subtitles
verbose_json   the text, its language and duration, and segments or words with their times
events         {"type": "transcript.text.delta", "delta": "HELLO"} for each part of a file as it is understood

Segments are the subtitles of srt and vtt. Clients were written for Whisper; what it alone can say has the nearest value
that is true here:

seek                where the segment begins, in hundredths of a second; Whisper's is that of the 30 s around it
tokens              empty: numbers of pieces mean nothing without the model's tokenizer
temperature         0.0: searches here do not draw, whatever temperature was asked for
avg_logprob         the mean log of the words' confidence; of a model that does not time its words, the search's score a
                    token. Whisper's is the log-probability of a token, averaged over its 30 s
compression_ratio   Whisper's: the text's bytes over those that zlib needs
no_speech_prob      0.0: a segment is made of words that were recognised, and silence makes none
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import AsyncIterator
from typing import Any

from toolkit.inference.confidence import LEAST
from toolkit.inference.formats import subtitles
from toolkit.inference.transcript import Transcript, Word
from toolkit.serving.jobs import joined

UNKNOWN_LANGUAGE = "und"  # ISO 639-3: undetermined


def as_json(transcript: Transcript) -> dict[str, Any]:
    """The text, and how much audio it took."""
    return {"text": transcript.text, "usage": _usage(transcript)}


def as_verbose(transcript: Transcript, granularities: frozenset[str], language: str = "") -> dict[str, Any]:
    """The text, what is known of it, and its times: a ``segment`` each, a ``word`` each, or both.

    The language is a code where OpenAI has a name: the model's, else the one that the request names, else ``und``.
    """
    verbose = {
        "task": "transcribe",
        "language": transcript.language or language or UNKNOWN_LANGUAGE,
        "duration": _milliseconds(transcript.duration),
        "text": transcript.text,
        "usage": _usage(transcript),
    }
    if "segment" in granularities:
        verbose["segments"] = segments(transcript)
    if "word" in granularities:
        verbose["words"] = [{"word": word.text, **_span(word)} for word in transcript.words]
    return verbose


def segments(transcript: Transcript) -> list[dict[str, Any]]:
    """The subtitles of a transcript with what Whisper says of its segments.

    As there, a text begins with a space, so that the texts of all, put together, are the transcript's.
    """
    return [
        {
            "id": number,
            "seek": int(cue.start * 100),
            **_span(cue),
            "text": f" {cue.text}",
            "tokens": [],
            "temperature": 0.0,
            "avg_logprob": round(_average_log_probability(transcript, cue), 4),
            "compression_ratio": round(_compression_ratio(cue.text), 4),
            "no_speech_prob": 0.0,
        }
        for number, cue in enumerate(subtitles(transcript))
    ]


async def events(parts: AsyncIterator[Transcript]) -> AsyncIterator[str]:
    """Server-sent events: a delta for each part that has words, and the whole text at the end.

    The deltas put together are the text. ``usage`` is absent: for streams, OpenAI's has a form that counts tokens only.
    """
    heard = []
    async for part in parts:
        if part.text:
            space = " " if any(before.text for before in heard) else ""
            yield event({"type": "transcript.text.delta", "delta": space + part.text})
        heard.append(part)
    yield event({"type": "transcript.text.done", "text": joined(heard).text})


def event(data: dict[str, Any]) -> str:
    """A server-sent event."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def _usage(transcript: Transcript) -> dict[str, Any]:
    return {"type": "duration", "seconds": _milliseconds(transcript.duration)}


def _span(word: Word) -> dict[str, float]:
    return {"start": _milliseconds(word.start), "end": _milliseconds(word.end)}


def _milliseconds(seconds: float) -> float:
    """To the precision of subtitles."""
    return round(seconds, 3)


def _average_log_probability(transcript: Transcript, cue: Word) -> float:
    if transcript.words:
        return math.log(cue.confidence)
    # as Whisper counts: the end of the text is a token too
    return max(transcript.score / (len(transcript.tokens) + 1), math.log(LEAST))


def _compression_ratio(text: str) -> float:
    encoded = text.encode()
    return len(encoded) / len(zlib.compress(encoded))
