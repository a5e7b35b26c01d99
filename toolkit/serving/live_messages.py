"""The messages of a live session, as `toolkit.serving.live_api` documents them."""

from __future__ import annotations

import contextlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolkit.inference.transcript import Heard, Word
from toolkit.serving.service_errors import BadRequestError, InvalidInputError

RAW = "pcm_s16le"


class Start(BaseModel):
    """What a client says of its session."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["start"] = "start"
    model: str = ""
    format: Literal["pcm_s16le", "webm", "ogg", "opus"] = RAW
    sample_rate: int = Field(16000, ge=8000, le=48000)
    language: str = ""
    api_key: str | None = None


def said(heard: Heard) -> dict[str, Any]:
    """What was heard, as a message."""
    line, duration = heard.transcript, round(heard.duration, 3)
    start = round(heard.duration - line.duration, 3)
    if not heard.final:
        return {"type": "partial", "text": line.text, "stable": heard.stable, "start": start, "duration": duration}
    words = [_word(word) for word in line.words]
    return {
        "type": "final",
        "text": line.text,
        "words": words,
        "start": words[0]["start"] if words else start,
        "end": words[-1]["end"] if words else duration,
        "duration": duration,
        "speech_ended": heard.speech_ended,
    }


def _word(word: Word) -> dict[str, Any]:
    numbers = {"start": word.start, "end": word.end, "confidence": word.confidence}
    return {"text": word.text} | {name: round(number, 3) for name, number in numbers.items()}


def start_of(options: dict[str, Any]) -> Start:
    """The options, checked. Raises InvalidInputError, whose message shows no value: one may be a key."""
    try:
        return Start(**options)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            raise InvalidInputError(f"{name}: no such option; there are {', '.join(Start.model_fields)}") from None
        raise InvalidInputError(f"{name}: {first['msg']}", param=name) from None


def of_type(message: str, kind: str) -> dict[str, Any]:
    """A message of JSON of this type. Raises BadRequestError."""
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(message)
        if isinstance(found, dict) and found.get("type") == kind:
            return found
    raise BadRequestError(f'a text message: expected {{"type": "{kind}"}} as JSON; audio comes in binary messages')
