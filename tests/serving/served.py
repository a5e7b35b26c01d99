"""The service around an engine: in this process, or at a socket of a thread."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from fake_engine import FakeEngine
from starlette.testclient import TestClient

from toolkit.serving.app import create_app
from toolkit.serving.jobs import Engine
from toolkit.serving.server import Server, bind
from toolkit.serving.settings import Settings

SAYS = "THE QUICK BROWN FOX JUMPS OVER THE"  # seven seconds, as FakeEngine hears them


def wav(seconds: float = 7.0) -> bytes:
    """A recording."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(round(16000 * seconds), np.int16), 16000, format="WAV")
    return file.getvalue()


def settings_in(folder: Path, **settings: Any) -> Settings:
    """Settings whose uploads lie in a folder."""
    return Settings(**{"models": {"tiny": "nowhere"}, "temporary_folder": folder, "port": 0} | settings)


@contextlib.contextmanager
def client_of(folder: Path, engine: Engine | None = None, **settings: Any) -> Iterator[TestClient]:
    """A client of an app in this process."""
    app = create_app(engine or FakeEngine(), settings_in(folder, **settings))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@contextlib.contextmanager
def served(folder: Path, engine: Engine | None = None, **settings: Any) -> Iterator[tuple[str, int]]:
    """The address of a service at a socket; leaving waits until it has stopped."""
    app, ready = create_app(engine or FakeEngine(), settings_in(folder, **settings)), threading.Event()
    with bind(app.state.settings) as address:
        server = Server(app, ready.set)
        thread = threading.Thread(target=server.run, args=([address],))
        thread.start()
        try:
            assert ready.wait(10)
            yield address.getsockname()
        finally:
            server.should_exit = True
            thread.join(20)
    assert not thread.is_alive()


def sent(address: tuple[str, int], data: bytes) -> socket.socket:
    """A connection on which these bytes were sent."""
    connection = socket.create_connection(address, timeout=10)
    connection.sendall(data)
    return connection


def answer_on(connection: socket.socket) -> bytes:
    """All that comes until the server hangs up."""
    pieces = []
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)
