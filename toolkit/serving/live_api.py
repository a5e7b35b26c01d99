"""``WS /v1/stream``: speech in while it is spoken, what is understood out; `described` tells clients how."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from http import HTTPStatus
from typing import Any

from anyio import fail_after  # asyncio.wait_for of Python 3.11 may miss that it is cancelled
from fastapi import APIRouter, HTTPException
from starlette.websockets import WebSocket, WebSocketDisconnect

from toolkit.serving.dependencies import EngineOf, MetricsOf, SettingsOf
from toolkit.serving.error_answers import ErrorAnswer, error_of
from toolkit.serving.jobs import Engine, LiveSession
from toolkit.serving.live_audio import AudioIn, audio_in
from toolkit.serving.live_messages import RAW, Start, described_query, of_type, said, start_of
from toolkit.serving.live_protocol import STOPS, LiveProtocol
from toolkit.serving.security import check_key, key_of
from toolkit.serving.service_errors import BadRequestError, ServiceError, TooLargeError, UnavailableError
from toolkit.serving.settings import Settings

logger = logging.getLogger(__name__)

router = APIRouter()

MESSAGE_BYTES = 1 << 20
# What uvicorn needs to know: a client that sends faster than is computed reads our pings late, and sound that is
# deflated is hardly smaller.
SOCKETS = {"ws": LiveProtocol, "ws_max_size": MESSAGE_BYTES, "ws_ping_timeout": None, "ws_per_message_deflate": False}

SUBPROTOCOL, KEY_PREFIX = "asr", "asr.key."

CLOSE_CODES = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: 1009,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: 1003,
    HTTPStatus.TOO_MANY_REQUESTS: 1013,
    HTTPStatus.SERVICE_UNAVAILABLE: 1013,
    HTTPStatus.INTERNAL_SERVER_ERROR: 1011,
}
REFUSED = 1008  # any other error
DONE, STOPPED = 1000, 1012
UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade"}
LAST_S = 1.0  # that a close may take when there is no more time


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
    except asyncio.CancelledError:  # the service stops, and has no more time
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError), fail_after(LAST_S):
            await socket.close(STOPPED, "the service stops")
    except Exception:
        logger.exception("live session failed")
        metrics.refused(ServiceError.kind)
        await _refuse(socket, ServiceError("the server failed; its log has the reason"), settings.upload_pause_s)


@router.get(
    "/v1/stream",
    status_code=HTTPStatus.UPGRADE_REQUIRED,
    response_model=ErrorAnswer,
    responses={101: {"description": "To a WebSocket"}, 426: {"description": "To anything else"}},
    openapi_extra={"parameters": described_query()},
    tags=["live"],
)
async def described() -> None:
    """Speech in while it is spoken, what is understood out: a WebSocket, `wss://host/v1/stream`.

    The client says what comes, in the query or in a first message of JSON. One that has nothing to say may begin with
    audio.

        wss://host/v1/stream?sample_rate=48000
        {"type": "start", "sample_rate": 48000}

    A key, where the service asks for one, comes in the header `Authorization: Bearer KEY`. Pages, which cannot set it,
    say `"api_key": "KEY"` in the first message, or offer the subprotocols `asr` and `asr.key.KEY`.

    Then binary messages are audio, however it is cut, of at most a mebibyte each; `{"type": "end"}` ends it. The server
    sends JSON:

        {"type": "ready", "model": "an4", "format": "pcm_s16le", "sample_rate": 48000}
        {"type": "partial", "text": "HELLO WOR", "stable": 5, "start": 0.2, "duration": 1.28}
        {"type": "final", "text": "HELLO WORLD", "start": 0.28, "end": 1.12, "duration": 1.92, "speech_ended": true,
         "words": [{"text": "HELLO", "start": 0.28, "end": 0.61, "confidence": 0.98}, ...]}
        {"type": "done", "duration": 7.5}
        {"type": "error", "error": {"message": "...", "type": "invalid_input_error", "param": "format", "code": null}}

    A `partial` is the line so far and takes the place of the partial before; of its text, the first `stable` characters
    will not change. A `final` is the line as it stays; it is empty when a partial heard words where there were none.
    With `speech_ended` the speaker paused after it; else the line was too long, or the session ended. Times are seconds
    from the session's beginning; `duration` is how much audio was understood, and in `done` how much there was.

    `done`, or `error`, comes when all that was heard before is told. Then the server closes:

        1000  done
        1003  the audio cannot be decoded
        1008  a key, an option or a message that cannot be; nothing came
        1009  a message is too large, the session too long
        1011  the server failed
        1012  done, for the service stops: go on in another session, from its duration on
        1013  too many sessions, or no model at the moment: come again

    Audio may come faster than it is spoken: the server reads no more than it can compute, and the client's sending
    waits. A client that pings then waits for its answer, too: let it have no time limit (`ping_timeout=None` of
    `websockets`).
    """
    raise HTTPException(
        HTTPStatus.UPGRADE_REQUIRED, "speech comes here over a WebSocket, ws:// or wss://; see /docs", UPGRADE
    )


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
        self._stopped = False  # by the service

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
        await self._socket.close(STOPPED if self._stopped else DONE)

    async def _opening(self) -> tuple[Start, bytes]:
        """What the client wants, and audio that it began with."""
        query = {name: value for name, value in self._socket.query_params.items() if name != "api_key"}
        start, key = start_of(query), key_of(self._socket) or self._offered_key()
        if query and (key or not self._settings.api_key_hashes):
            check_key(key, self._settings.api_key_hashes)
            return start, b""
        message = await self._receive()
        if message is None:
            raise UnavailableError("the service stops; begin the session again")
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
            if message is None:
                self._stopped = True
            else:
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

    async def _receive(self) -> bytes | str | None:
        """The next message; None: the service stops. Raises WebSocketDisconnect, or BadRequestError when none comes."""
        try:
            with fail_after(self._patience_s):
                message = await self._socket.receive()
        except TimeoutError:
            raise BadRequestError(f"nothing came for {self._patience_s:g} s: send audio, or end the session") from None
        if message.get(STOPS):
            return None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message["code"])
        content = message.get("bytes")
        content = message["text"] if content is None else content
        if len(content) > MESSAGE_BYTES:
            raise TooLargeError(
                f"a message of {len(content)} bytes: expected at most {MESSAGE_BYTES}; send smaller ones"
            )
        return content
