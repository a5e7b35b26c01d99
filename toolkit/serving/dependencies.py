"""What the routes ask for by ``Depends``: the engine, the settings, and whether the client may come in."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPBearer
from starlette.requests import HTTPConnection

from toolkit.serving.jobs import Engine
from toolkit.serving.metrics import Metrics
from toolkit.serving.security import check_key, key_of
from toolkit.serving.service_errors import ForbiddenError
from toolkit.serving.settings import Settings


def engine_of(connection: HTTPConnection) -> Engine:
    """The engine of the app."""
    return connection.app.state.engine


def settings_of(connection: HTTPConnection) -> Settings:
    """The settings of the app."""
    return connection.app.state.settings


def metrics_of(connection: HTTPConnection) -> Metrics:
    """The counters of the app."""
    return connection.app.state.metrics


EngineOf = Annotated[Engine, Depends(engine_of)]
SettingsOf = Annotated[Settings, Depends(settings_of)]
MetricsOf = Annotated[Metrics, Depends(metrics_of)]


class KeyRequired(HTTPBearer):
    """Lets in whoever has one of the keys, and raises AuthenticationError; documented, as FastAPI's own kinds are."""

    async def __call__(self, request: HTTPConnection) -> None:
        """Nothing, where the client has a key."""
        check_key(key_of(request), request.app.state.settings.api_key_hashes)


def require_our_page(connection: HTTPConnection, settings: SettingsOf) -> None:
    """Let in programs, our page, and those of ``cors_origins``; raises ForbiddenError for others.

    Browsers ask before a page of another server may read what it asks for, except over a WebSocket.
    """
    origin = connection.headers.get("origin")
    ours = origin is None or origin.partition("://")[2] == connection.headers.get("host", "").lower()
    if not ours and not {origin, "*"} & set(settings.cors_origins):
        raise ForbiddenError(f"{origin[:80]}: pages of there may not ask here; cors_origins names those that may")


require_key = KeyRequired(scheme_name="API key")
