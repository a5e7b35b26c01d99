"""Whether the service lives, whether it can transcribe, and its counters."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from toolkit.serving.dependencies import EngineOf, MetricsOf
from toolkit.serving.error_answers import described
from toolkit.serving.service_errors import UnavailableError

router = APIRouter(tags=["operation"])


class Healthy(BaseModel):
    """All is well."""

    status: Literal["ok"] = "ok"


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live")
async def live() -> Healthy:
    """Whether the server answers at all."""
    return Healthy()


@router.head("/health/ready", include_in_schema=False)
@router.get("/health/ready", responses=described(503))
async def ready(engine: EngineOf) -> Healthy:
    """Whether a model process answers; 503 where none does."""
    if not engine.ready:
        raise UnavailableError("the models are not loaded", retry_after=5)
    return Healthy()


@router.head("/metrics", include_in_schema=False)
@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(counters: MetricsOf) -> Response:
    """Counters for Prometheus."""
    return Response(counters.page(), media_type=CONTENT_TYPE_LATEST)
