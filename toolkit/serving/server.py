"""The server of HTTP: its patience with slow clients has an end, and stopping it finishes what was accepted."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import math
import signal
import socket
import uuid
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from toolkit.errors import ConfigError
from toolkit.serving.error_answers import error_of
from toolkit.serving.live_api import SOCKETS
from toolkit.serving.logs import note_unread
from toolkit.serving.service_errors import BadRequestError
from toolkit.serving.settings import Settings

logger = logging.getLogger(__name__)

# Of the line and the headers of a request: seconds and bytes that they may take. Browsers send some hundred bytes.
HEAD_S, HEAD_BYTES = 15.0, 64 * 1024
# A client that is refused in the middle of its upload reads the answer only when it may send on for a while.
LINGER_S = 2.0
WEBSOCKET_KEY = b"sec-websocket-key"


class Protocol(HttpToolsProtocol):
    """HTTP with clients that ask within some seconds and bytes, and read; uvicorn itself would wait for ever."""

    _timer: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None
    _in_head = False
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Somebody is there."""
        super().connection_made(transport)
        self._close_after(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        self._go_on()
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Something was sent."""
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self.send_400_response(f"the headers have more than {HEAD_BYTES} bytes")

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._close_after(HEAD_S)

    def on_headers_complete(self) -> None:
        """Its headers are there."""
        self._in_head = False
        self._go_on()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Its body is there."""
        self._go_on()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """It is answered."""
        if self.cycle.more_body:  # and the rest of its body does not matter
            self._close_after(LINGER_S)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client reads more slowly than it is answered."""
        super().pause_writing()
        self._watch_reading()

    def resume_writing(self) -> None:
        """It has read."""
        self._stop_watching()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, and hang up."""
        error, name = BadRequestError(msg), uuid.uuid4().hex
        body = json.dumps(error_of(error)).encode()
        head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.transport.write(f"{head}X-Request-ID: {name}\r\nConnection: close\r\n\r\n".encode() + body)
        self.transport.close()
        note_unread(self.config.app.state.metrics, error, name)

    def handle_websocket_upgrade(self) -> None:
        """Begin a WebSocket, where it is asked for as it should be."""
        if WEBSOCKET_KEY in dict(self.headers):
            super().handle_websocket_upgrade()
        else:
            self.send_400_response("a WebSocket is asked for without Sec-WebSocket-Key")

    def _close_after(self, seconds: float) -> None:
        self._go_on()
        self._timer = self.loop.call_later(seconds, self.transport.close)

    def _watch_reading(self, unread: int | None = None) -> None:
        """Hang up when a while has passed, and the client has read nothing of so many bytes."""
        now = self.transport.get_write_buffer_size()
        if now == unread:
            self.transport.abort()
        else:
            patience_s = self.config.app.state.settings.upload_pause_s
            self._reading = self.loop.call_later(patience_s, self._watch_reading, now)

    def _stop_watching(self) -> None:
        if self._reading is not None:
            self._reading.cancel()

    def _go_on(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class Server(uvicorn.Server):
    """uvicorn's server, which says when it is ready."""

    def __init__(self, app: FastAPI, on_ready: Callable[[], None]) -> None:
        config = uvicorn.Config(
            app,
            http=Protocol,
            lifespan="on",
            **SOCKETS,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=math.ceil(app.state.settings.grace_s),
        )
        super().__init__(config)
        self._app, self._on_ready = app, on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the models, and listen, unless it is to stop. Raises what the engine raises, and ConfigError."""
        traces = logging.getLogger("uvicorn.error")
        traces.disabled = True  # it would write the trace of what is raised
        try:
            await super().startup(sockets)
        except SystemExit:
            if isinstance(self._app.state.failure, asyncio.CancelledError):
                return  # it was to stop before it was ready
            raise self._app.state.failure from None
        except OSError as error:  # somebody else took the address while models were loaded
            raise ConfigError(f"cannot listen: {error.strerror}; choose another address by --host and --port") from None
        finally:
            traces.disabled = False
        if not self.should_exit:
            self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, at once while models load; the second Ctrl-C ends all at once, and what it interrupts is no news."""
        super().handle_exit(sig, frame)
        asyncio.get_running_loop().call_soon_threadsafe(self._stop_starting)
        logging.getLogger("uvicorn.error").disabled |= self.force_exit

    def _stop_starting(self) -> None:
        """Load no more models; nothing where they are loaded."""
        if hasattr(self._app.state, "starting"):
            self._app.state.starting.cancel()


def bind(settings: Settings) -> socket.socket:
    """A socket at the address, taken before models are loaded, and open when they are. Raises ConfigError."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((settings.host, settings.port))
    except OSError as error:
        found.close()
        where = f"{settings.host}, port {settings.port}"
        raise ConfigError(f"{where}: {error.strerror}; choose others by --host and --port") from None
    return found


def serve(app: FastAPI, address: socket.socket, on_ready: Callable[[], None]) -> None:
    """Answer requests until SIGINT or SIGTERM, and finish those that were accepted; a second Ctrl-C ends at once.

    Raises
    ------
    ToolkitError
        The engine cannot begin.
    KeyboardInterrupt
        It was Ctrl-C.
    """

    def ready() -> None:
        gc.collect()
        gc.freeze()  # what is there stays: to look through it took 50 ms each time, and 400 where models had the cores
        on_ready()

    if app.state.settings.is_open:
        logger.warning("no API keys: whoever reaches this machine may ask; `asr serve --new-key` makes one")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # uvicorn calls it an error of ours when a WebSocket is refused by an answer of HTTP, as it may be.
    logging.getLogger("uvicorn.error").addFilter(lambda record: "completing handshake" not in record.getMessage())
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it again when all is done: that is no failure
    Server(app, ready).run([address])
