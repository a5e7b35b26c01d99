"""What the routes ask for by ``Depends``: the engine, the settings, and whether the client may come in."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from toolkit.serving.jobs import Engine
from toolkit.serving.metrics import Metrics
from toolkit.serving.security import check_key, key_of
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


def require_key(connection: HTTPConnection, settings: SettingsOf) -> None:
    """Nothing, where the client has one of the keys, or there are none. Raises AuthenticationError."""
    check_key(key_of(connection), settings.api_key_hashes)
