"""OpenAI's transcription API, for clients that were written for it: ``OpenAI(base_url="http://localhost:8000/v1")``.

``model`` is the name under which a model is served. For a client that always asks for ``whisper-1``, serve a model under
that name: ``asr serve whisper-1=pretrained/an4-small``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from toolkit.inference.formats import text_of
from toolkit.inference.transcript import Transcript
from toolkit.serving.dependencies import EngineOf, SettingsOf
from toolkit.serving.error_answers import described, error_of
from toolkit.serving.jobs import Job, ModelCard, joined
from toolkit.serving.openai_form import TranscriptionForm
from toolkit.serving.openai_formats import as_json, as_verbose, event, events
from toolkit.serving.service_errors import NotFoundError, ServiceError
from toolkit.serving.uploads import received

router = APIRouter(prefix="/v1", tags=["OpenAI"])
