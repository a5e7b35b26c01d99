"""``POST /transcribe``: a file in, what is said in it out."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from toolkit.errors import did_you_mean
from toolkit.inference.transcript import Transcript
from toolkit.serving.dependencies import EngineOf, SettingsOf
from toolkit.serving.error_answers import described
from toolkit.serving.forms import phrases
from toolkit.serving.hearing import transcript_of
from toolkit.serving.jobs import Job
from toolkit.serving.service_errors import InvalidInputError
from toolkit.serving.uploads import Form, received

router = APIRouter(tags=["transcription"])

FIELDS = ("model", "channel", "hotwords", "nbest")
MOST_ALTERNATIVES, LAST_CHANNEL = 100, 255

EXAMPLE = {
    "text": "HELLO WORLD",
    "words": [
        {"text": "HELLO", "start": 0.28, "end": 0.61, "confidence": 0.98},
        {"text": "WORLD", "start": 0.7, "end": 1.12, "confidence": 0.91},
    ],
    "duration": 1.5,
    "model": "an4-small",
    "nbest": [{"text": "HELLO WORLD", "score": -0.9}, {"text": "HELLO WORD", "score": -3.2}],
}


class SpokenWord(BaseModel):
    """A word, when it is said (in seconds from the beginning), and how likely it is right, from 0 to 1."""

    text: str
    start: float
    end: float
    confidence: float


class AlternativeText(BaseModel):
    """Another text that may have been said; a higher score is better."""

    text: str
    score: float


class Transcription(BaseModel):
    """What is said in a file: of so many seconds, heard by this model; what is not known is left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    text: str
    words: list[SpokenWord]
    duration: float
    model: str
    language: str | None = None
    nbest: list[AlternativeText] | None = None


FORM = {
    "type": "object",
    "required": ["file"],
    "additionalProperties": False,
    "properties": {
        "file": {"type": "string", "format": "binary", "description": "Audio or video in any container."},
        "model": {"type": "string", "description": "One of GET /v1/models; by default the first."},
        "channel": {
            "type": "integer",
            "minimum": 0,
            "maximum": LAST_CHANNEL,
            "description": "Which one to hear, from 0; by default their mean.",
        },
        "hotwords": {"type": "string", "description": "Words that are likely, with commas between them."},
        "nbest": {"type": "integer", "minimum": 1, "maximum": MOST_ALTERNATIVES, "description": "How many texts."},
    },
}
BODY = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": FORM}}}}


@router.post(
    "/transcribe",
    response_model=Transcription,
    openapi_extra=BODY,
    responses=described(400, 401, 404, 413, 415, 422, 429, 503),
)
async def transcribe(request: Request, engine: EngineOf, settings: SettingsOf) -> Response:
    """What is said in a file.

    `curl -F file=@speech.wav http://localhost:8000/transcribe`
    """
    async with received(request, settings) as form:
        job = job_of(form)
        transcript = await transcript_of(request, job)
    return await asyncio.to_thread(answer_of, transcript, job.model or engine.models[0].name)


def job_of(form: Form) -> Job:
    """What a form asks for. Raises InvalidInputError."""
    for name in form.fields:
        if name not in FIELDS:
            shown = name[:40]  # not as `param`, which is logged
            hint = did_you_mean(shown, FIELDS)
            raise InvalidInputError(f"{shown}: no such field{hint}; there are file, {', '.join(FIELDS)}")
    hotwords = phrases(form.one("hotwords"), "hotwords")
    channel, nbest = _whole(form, "channel", 0, LAST_CHANNEL), _whole(form, "nbest", 1, MOST_ALTERNATIVES)
    return Job(form.audio, form.name, form.one("model"), channel, hotwords, nbest)


def _whole(form: Form, name: str, least: int, most: int) -> int | None:
    text = form.one(name)
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and least <= int(text) <= most):
        raise InvalidInputError(f"{name}: {text[:40]!r}; expected a whole number, {least} to {most}", param=name)
    return int(text)


def answer_of(transcript: Transcript, model: str) -> Response:
    """A transcript as it is answered; of hours of speech, a second's work."""
    answer = Transcription(
        text=transcript.text,
        words=[
            SpokenWord(
                text=word.text,
                start=round(word.start, 3),
                end=round(word.end, 3),
                confidence=round(word.confidence, 4),
            )
            for word in transcript.words
        ],
        duration=round(transcript.duration, 3),
        model=model,
        language=transcript.language,
        nbest=[AlternativeText(text=one.text, score=round(one.score, 4)) for one in transcript.nbest] or None,
    )
    return Response(answer.model_dump_json(exclude_none=True), media_type="application/json")
