"""``WS /v1/stream``: speech in while it is spoken, what is understood out.

A session is a WebSocket. The client says what comes, in one of two ways:

    wss://host/v1/stream?sample_rate=48000            the query has any of model, sample_rate, format; or
    {"type": "start", "sample_rate": 48000, ...}      the first message, of JSON

``model``
    One of ``GET /v1/models``; by default the first.
``format``
    ``pcm_s16le`` (the default): raw samples of 16 bits, little-endian, one channel. ``webm``, ``ogg`` or ``opus``: a
    file of Opus in WebM or Ogg as `MediaRecorder` writes it, from its first byte on; of several channels, the mean.
``sample_rate``
    Of raw samples, in Hz: 8000 to 48000, by default 16000.
``language``
    Accepted, and not used.
``api_key``
    In the first message only, where the service asks for keys and the client cannot set the header ``Authorization:
    Bearer KEY``, as no page can. Or the page offers the subprotocols ``asr`` and ``asr.key.KEY``. A query would be read
    in logs.

Then binary messages are audio, however they are cut, of at most a mebibyte each; ``{"type": "end"}`` ends it. A client
without options may begin with audio at once. The server sends JSON:

    {"type": "ready", "model": "an4", "format": "pcm_s16le", "sample_rate": 48000}
    {"type": "partial", "text": "HELLO WOR", "stable": 5, "start": 0.2, "duration": 1.28}
    {"type": "final", "text": "HELLO WORLD", "start": 0.28, "end": 1.12, "duration": 1.92, "speech_ended": true,
     "words": [{"text": "HELLO", "start": 0.28, "end": 0.61, "confidence": 0.98}, ...]}
    {"type": "done", "duration": 7.5}
    {"type": "error", "error": {"message": "...", "type": "invalid_input_error", "param": "sample_rate", "code": null}}

A ``partial`` is the line so far and takes the place of the partial before; of its text, the first ``stable``
characters will not change. A ``final`` is the line as it stays; it is empty when a partial heard words where there were
none. With ``speech_ended`` the speaker paused after it; else the line was too long, or the session ended. Times are
seconds from the session's beginning; ``duration`` is how much audio was understood, and in ``done`` how much there was.
``done``, or ``error``, comes when all that was heard before is told. Then the server closes:

    1000  done                                       1008  a key, an option or a message that cannot be; nothing came
    1003  the audio cannot be decoded                1009  a message is too large, the session too long
    1011  the server failed                          1013  too many sessions, or no model at the moment: come again

Audio may come faster than it is spoken: the server reads no more than it can compute, and the client's sending waits.
A client that pings then waits for its answer, too: let it have no time limit (`ping_timeout=None` of `websockets`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from http import HTTPStatus
from typing import Any

from anyio import fail_after  # asyncio.wait_for of Python 3.11 may miss that it is cancelled
from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from toolkit.serving.dependencies import EngineOf, MetricsOf, SettingsOf
from toolkit.serving.error_answers import error_of
from toolkit.serving.jobs import Engine, LiveSession
from toolkit.serving.live_audio import AudioIn, audio_in
from toolkit.serving.live_messages import RAW, Start, of_type, said, start_of
from toolkit.serving.security import check_key, key_of
from toolkit.serving.service_errors import BadRequestError, ServiceError, TooLargeError
from toolkit.serving.settings import Settings

logger = logging.getLogger(__name__)

router = APIRouter()

MESSAGE_BYTES = 1 << 20
# What uvicorn needs to know of: a client that sends faster than is computed reads our pings late, and sound that is
# deflated is hardly smaller.
SOCKETS = {"ws_max_size": MESSAGE_BYTES, "ws_ping_timeout": None, "ws_per_message_deflate": False}

SUBPROTOCOL, KEY_PREFIX = "asr", "asr.key."

CLOSE_CODES = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: 1009,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: 1003,
    HTTPStatus.TOO_MANY_REQUESTS: 1013,
    HTTPStatus.SERVICE_UNAVAILABLE: 1013,
    HTTPStatus.INTERNAL_SERVER_ERROR: 1011,
}
REFUSED = 1008  # any other error


@router.websocket("/v1/stream")
async def stream(socket: WebSocket, engine: EngineOf, settings: SettingsOf, metrics: MetricsOf) -> None:
    """A session, from its opening to its close."""
    await socket.accept(SUBPROTOCOL if SUBPROTOCOL in socket.scope["subprotocols"] else None)
    try:
        await Conversation(socket, engine, settings).hold()
    except (WebSocketDisconnect, TimeoutError):
        logger.info("live session: the client is gone")
    except ServiceError as error:
        metrics.refused(error.kind)
        socket.scope["asr.error"] = error
        await _refuse(socket, error, settings.upload_pause_s)
    except Exception:
        logger.exception("live session failed")
        metrics.refused(ServiceError.kind)
        await _refuse(socket, ServiceError("the server failed; its log has the reason"), settings.upload_pause_s)


async def _refuse(socket: WebSocket, error: ServiceError, patience_s: float) -> None:
    """Tell a client why its session ends, if it listens."""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
        with fail_after(patience_s):
            await socket.send_json({"type": "error", **error_of(error)})
            await socket.close(CLOSE_CODES.get(error.status, REFUSED), error.kind)


class Conversation:
    """One client's session: it is read from as fast as the engine takes its audio, and as it reads what it is told."""

    def __init__(self, socket: WebSocket, engine: Engine, settings: Settings) -> None:
        self._socket, self._engine, self._settings = socket, engine, settings
        self._patience_s, self._most_s = settings.upload_pause_s, settings.limits.audio_s
        self._sending = asyncio.Lock()
        self._rate, self._bytes = 16000, 0  # of what is fed

    async def hold(self) -> None:
        """Open the session, and see it through. Raises ServiceError and WebSocketDisconnect."""
        start, first = await self._opening()
        model = start.model or self._engine.models[0].name
        card = next((card for card in self._engine.models if card.name == model), self._engine.models[0])
        self._rate = start.sample_rate if start.format == RAW else card.sample_rate
        session = await self._engine.open_live(start.model, self._rate)
        try:
            await self._send("ready", model=model, format=start.format, sample_rate=self._rate)
            await self._converse(session, start.format, first)
        finally:
            await session.close()
        await self._send("done", duration=self._seconds)
        await self._socket.close()

    async def _opening(self) -> tuple[Start, bytes]:
        """What the client wants, and audio that it began with."""
        query = {name: value for name, value in self._socket.query_params.items() if name != "api_key"}
        start, key = start_of(query), key_of(self._socket) or self._offered_key()
        if query and (key or not self._settings.api_key_hashes):
            check_key(key, self._settings.api_key_hashes)
            return start, b""
        message = await self._receive()
        if isinstance(message, str):
            start = start_of(query | of_type(message, "start"))
        check_key(start.api_key or key, self._settings.api_key_hashes)
        return start, message if isinstance(message, bytes) else b""

    def _offered_key(self) -> str | None:
        """The key among the subprotocols."""
        offered = (name for name in self._socket.scope["subprotocols"] if name.startswith(KEY_PREFIX))
        return next((name.removeprefix(KEY_PREFIX) for name in offered), None)

    async def _converse(self, session: LiveSession, form: str, first: bytes) -> None:
        """Read and tell until the client ends, or is to be refused, and all is told."""
        async with audio_in(form, self._rate, partial(self._feed, session)) as audio:
            tasks = [asyncio.create_task(one) for one in (self._read(session, audio, first), self._tell(session))]
            try:
                refused, _ = await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        if refused:
            raise refused

    async def _read(self, session: LiveSession, audio: AudioIn, first: bytes) -> ServiceError | None:
        """Feed what the client sends, until it ends, or must end for this reason."""
        refused = None
        try:
            await audio.feed(first)
            while isinstance(message := await self._receive(), bytes):
                await audio.feed(message)
            of_type(message, "end")
            await audio.finish()
        except ServiceError as error:
            refused = error
        await session.finish()
        return refused

    async def _feed(self, session: LiveSession, samples: bytes) -> None:
        """Feed samples, when results can be sent, as many as there may be. Raises TooLargeError when there are more."""
        room = 2 * int(self._most_s * self._rate) - self._bytes
        self._bytes += min(len(samples), room)
        async with self._sending:
            pass
        await session.feed(samples[:room])
        if len(samples) > room:
            raise TooLargeError(f"the session is longer than {self._most_s:g} s: begin another")

    async def _tell(self, session: LiveSession) -> None:
        """Send what is understood."""
        async for heard in session.heard():
            await self._send(**said(heard))

    @property
    def _seconds(self) -> float:
        """Of audio so far."""
        return round(self._bytes / 2 / self._rate, 3)

    async def _send(self, type: str, **fields: Any) -> None:  # noqa: A002
        async with self._sending:
            with fail_after(self._patience_s):
                await self._socket.send_json({"type": type, **fields})

    async def _receive(self) -> bytes | str:
        """The next message. Raises WebSocketDisconnect, or BadRequestError when none comes."""
        try:
            with fail_after(self._patience_s):
                message = await self._socket.receive()
        except TimeoutError:
            raise BadRequestError(f"nothing came for {self._patience_s:g} s: send audio, or end the session") from None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message["code"])
        content = message.get("bytes")
        content = message["text"] if content is None else content
        if len(content) > MESSAGE_BYTES:
            raise TooLargeError(
                f"a message of {len(content)} bytes: expected at most {MESSAGE_BYTES}; send smaller ones"
            )
        return content
