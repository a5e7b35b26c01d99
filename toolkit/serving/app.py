"""The service: its routes around an engine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from toolkit.serving.dependencies import require_key, require_our_page
from toolkit.serving.docs import router as docs
from toolkit.serving.error_answers import answer_errors
from toolkit.serving.health import router as health
from toolkit.serving.jobs import Engine
from toolkit.serving.live_api import router as live
from toolkit.serving.logs import RequestLog
from toolkit.serving.metrics import Metrics
from toolkit.serving.openai_api import router as openai_api
from toolkit.serving.page import router as page
from toolkit.serving.settings import Settings
from toolkit.serving.transcribe import router as transcribe
from toolkit.serving.upload_folder import upload_folder

# Routers that need a key, and those that do not: probes have none, a page asks for it,
# and a live session may be told it in its first message.
GUARDED = (transcribe, openai_api)
OPEN = (docs, health, page)


def create_app(engine: Engine, settings: Settings) -> FastAPI:
    """The app; it starts the engine, and stops it."""
    app = FastAPI(title="Speech recognition", lifespan=_lifespan, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.engine, app.state.settings, app.state.metrics = engine, settings, Metrics(engine)
    keys = [Depends(require_key)] if settings.api_key_hashes else []
    for router in GUARDED:
        app.include_router(router, dependencies=keys)
    app.include_router(live, dependencies=[Depends(require_our_page)])
    for router in OPEN:
        app.include_router(router)
    app.router.default = _nothing
    answer_errors(app)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=["*"],  # OpenAI's client has a dozen of its own
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app.add_middleware(RequestLog, metrics=app.state.metrics)
    app.add_middleware(RootPath, path=settings.root_path)
    return app


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Of a path that is not there; Starlette itself would close a WebSocket without a word."""
    if scope["type"] == "websocket" or scope["path"] != scope["root_path"]:
        raise HTTPException(404)
    await RedirectResponse(f"{scope['path']}/")(scope, receive, send)  # addresses in the page are relative to that


class RootPath:
    """Around the app: where a proxy shows it, whether or not the proxy takes that off the paths."""

    def __init__(self, app: ASGIApp, path: str) -> None:
        self.app, self.path = app, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whose path has the root path before it, as ASGI wants it."""
        if "path" in scope:
            below = f"{scope['path']}/".startswith(f"{self.path}/")
            scope = scope | {"root_path": self.path, "path": scope["path"] if below else self.path + scope["path"]}
        await self.app(scope, receive, send)


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    engine, settings = app.state.engine, app.state.settings
    with upload_folder(settings.temporary_folder) as app.state.folder:
        app.state.starting = asyncio.ensure_future(engine.start())  # which the server may cancel
        try:
            await app.state.starting
        except (Exception, asyncio.CancelledError) as error:
            app.state.failure = error  # for the server: ASGI has no place for it
            raise
        grace_s = 0.0
        try:
            yield
            grace_s = settings.grace_s
        finally:  # cancelled: at once
            await engine.stop(grace_s)
