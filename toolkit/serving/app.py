"""The service: its routes around an engine."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware

from toolkit.serving.dependencies import require_key
from toolkit.serving.error_answers import answer_errors
from toolkit.serving.health import router as health
from toolkit.serving.jobs import Engine
from toolkit.serving.logs import RequestLog
from toolkit.serving.metrics import Metrics
from toolkit.serving.settings import Settings
from toolkit.serving.transcribe import router as transcribe
from toolkit.serving.uploads import upload_folder

# Routers that need a key, and those that do not: probes have none, and a page asks for it.
GUARDED = (transcribe,)
OPEN = (health,)


def create_app(engine: Engine, settings: Settings) -> FastAPI:
    """The app; it starts the engine, and stops it."""
    app = FastAPI(
        title="Speech recognition", lifespan=_lifespan, root_path=settings.root_path, docs_url=None, redoc_url=None
    )
    app.state.engine, app.state.settings, app.state.metrics = engine, settings, Metrics(engine)
    for router in GUARDED:
        app.include_router(router, dependencies=[Depends(require_key)])
    for router in OPEN:
        app.include_router(router)
    answer_errors(app)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app.add_middleware(RequestLog, metrics=app.state.metrics)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    engine, settings = app.state.engine, app.state.settings
    with upload_folder(settings.temporary_folder) as app.state.folder:
        try:
            await engine.start()
        except Exception as error:
            app.state.failure = error  # for the server: ASGI has no place for it
            raise
        grace_s = 0.0
        try:
            yield
            grace_s = settings.grace_s
        finally:  # cancelled: at once
            await engine.stop(grace_s)
