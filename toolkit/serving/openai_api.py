"""OpenAI's transcription API, for clients that were written for it: ``OpenAI(base_url="http://localhost:8000/v1")``.

``model`` is the name that a model is served under. Where a client insists on ``whisper-1``, serve one under that name:
``asr serve whisper-1=pretrained/an4-small``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from toolkit.errors import did_you_mean
from toolkit.inference.formats import text_of
from toolkit.inference.transcript import Transcript
from toolkit.serving.dependencies import EngineOf, SettingsOf
from toolkit.serving.error_answers import described, error_of, note
from toolkit.serving.hearing import parts_of, transcript_of, while_connected
from toolkit.serving.jobs import Job, ModelCard
from toolkit.serving.openai_form import TranscriptionForm, described_form
from toolkit.serving.openai_formats import (
    EXAMPLES,
    JSONTranscription,
    VerboseTranscription,
    as_json,
    as_verbose,
    event,
    events,
)
from toolkit.serving.service_errors import NotFoundError, ServiceError
from toolkit.serving.uploads import received

router = APIRouter(prefix="/v1", tags=["OpenAI"])

OWNER = "asr-recipes"
SUBTITLES = {"srt": "application/x-subrip", "vtt": "text/vtt"}
# nginx collects what it passes on, and would hold events back.
EVENT_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
TEXTS = {kind: {"example": example} for kind, example in EXAMPLES.items()}


class Model(BaseModel):
    """A model that is served; ``provenance`` is what its folder tells of where it comes from."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = OWNER
    sample_rate: int
    streaming: bool
    loaded: bool
    provenance: dict[str, Any] | None = None


class Models(BaseModel):
    """The models that are served, the default one first."""

    object: Literal["list"] = "list"
    data: list[Model]


async def until_answered() -> AsyncIterator[AsyncExitStack]:
    """What is entered here is left when the last byte of the answer is sent, or the client is gone."""
    async with AsyncExitStack() as stack:
        yield stack


@router.post(
    "/audio/transcriptions",
    response_model=VerboseTranscription | JSONTranscription,
    openapi_extra=described_form(),
    responses={200: {"description": "In the format that is asked for", "content": TEXTS}}
    | described(400, 401, 404, 413, 415, 422, 429, 503),
)
async def transcribe(
    request: Request, settings: SettingsOf, stack: Annotated[AsyncExitStack, Depends(until_answered)]
) -> Response:
    """What is said in a file, as OpenAI's service answers.

    `curl -F file=@speech.wav -F response_format=srt http://localhost:8000/v1/audio/transcriptions`
    """
    sent = await stack.enter_async_context(received(request, settings))
    form = TranscriptionForm.of(sent.fields)
    job = Job(sent.audio, sent.name, form.model, hotwords=form.hotwords)
    if not form.stream:
        transcript = await transcript_of(request, job)
        return await asyncio.to_thread(answer_of, transcript, form)  # of hours of speech, a second's work
    lines = await stack.enter_async_context(aclosing(events(parts_of(request, job))))
    first = await while_connected(request, anext(lines))  # an error before has a status of its own
    return StreamingResponse(_told(request, first, lines), media_type="text/event-stream", headers=EVENT_HEADERS)


def answer_of(transcript: Transcript, form: TranscriptionForm) -> Response:
    """A transcript in the format that is asked for."""
    if form.response_format == "json":
        return _as_sent(as_json(transcript))
    if form.response_format == "verbose_json":
        return _as_sent(as_verbose(transcript, form.timestamp_granularities, form.language))
    if form.response_format == "text":
        return PlainTextResponse(f"{transcript.text}\n")
    return Response(text_of(transcript, form.response_format), media_type=SUBTITLES[form.response_format])


def _as_sent(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(exclude_none=True), media_type="application/json")


async def _told(request: Request, first: str, lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """The events; an error that comes after the first is one of them."""
    yield first
    try:
        async for line in lines:
            yield line
    except ServiceError as error:
        note(request, error)
        yield event(error_of(error))


@router.get("/models", response_model_exclude_none=True, responses=described(401))
async def models(engine: EngineOf) -> Models:
    """The models that are served, the default one first."""
    return Models(data=[Model(**_facts(card)) for card in engine.models])


@router.get("/models/{name:path}", response_model_exclude_none=True, responses=described(401, 404))
async def model(name: str, engine: EngineOf) -> Model:
    """A model, and where it comes from."""
    for card in engine.models:
        if card.name == name:
            return Model(**_facts(card), provenance=card.provenance)
    shown, names = name[:80], [card.name for card in engine.models]
    raise NotFoundError(f"model {shown!r}: there are {', '.join(names)}{did_you_mean(shown, names)}", param="model")


def _facts(card: ModelCard) -> dict[str, Any]:
    return {
        "id": card.name,
        "created": card.created,
        "sample_rate": card.sample_rate,
        "streaming": card.streaming,
        "loaded": card.loaded,
    }
