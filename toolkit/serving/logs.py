"""Logs: a line of JSON a request, with an id that the answer has, too; what was said is in them only when asked for."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import re
import time
import uuid
from datetime import datetime, timezone

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toolkit.serving.error_answers import answer_of
from toolkit.serving.metrics import Metrics
from toolkit.serving.service_errors import ServiceError, UnavailableError

logger = logging.getLogger(__name__)

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")

# What a client may call its request: no more than this gets into headers and logs.
GIVEN_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)

# The client went away before it was answered; nginx's number, which nobody is sent.
GONE = 499

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET")


class JSONFormatter(logging.Formatter):
    """A record as one line of JSON, ``extra={"fields": {...}}`` among its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        time_of = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        line = {"time": time_of, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        if found := request_id.get():
            line["request_id"] = found
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def log_as_json(level: int = logging.INFO) -> None:
    """Let all of the process log lines of JSON to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JSONFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # warns of each byte of a damaged form


class RequestLog:
    """Around the app: each request gets its id, is logged and counted, and answered even if the app fails."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        name = given if GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        token = request_id.set(name)
        answer = _Answer(send, name)
        start = time.perf_counter()
        try:
            await self.app(scope, receive, answer.send)
        except ClientDisconnect:
            answer.status = GONE
        except asyncio.CancelledError:  # by the server, when a stopped service has no more time
            if scope["type"] != "http" or answer.status:
                raise
            stopped = UnavailableError("the service is being stopped; ask again", retry_after=30)
            await answer_of(stopped)(scope, receive, answer.send)
        except Exception:
            logger.exception("request failed")
            if answer.status:  # half of the answer is sent: only the end of the connection says that the rest is not
                raise
            self.metrics.refused(ServiceError.kind)
            await answer_of(ServiceError(f"the server failed; its log has the reason, of request {name}"))(
                scope, receive, answer.send
            )
        finally:
            self._note(scope, answer.status, time.perf_counter() - start)
            request_id.reset(token)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unknown")  # paths that are not there are without number
        method = scope.get("method", "WEBSOCKET")
        method = method if method in METHODS else "OTHER"
        self.metrics.answered(route, method, status or GONE, seconds)
        fields = {"method": method, "route": route, "status": status or GONE, "seconds": round(seconds, 4)}
        error = scope.get("asr.error")
        if error is not None:
            fields |= {"error": error.kind} | ({"param": error.param} if error.param else {})
            if scope["app"].state.settings.log_content:  # it may name the file
                fields["said"] = str(error)
        logger.info("request", extra={"fields": fields})


def note_unread(metrics: Metrics, error: ServiceError, name: str) -> None:
    """Count and log, by its id, a request that could not be read, and so never came to the app."""
    metrics.refused(error.kind)
    metrics.answered("unknown", "OTHER", error.status, 0.0)
    fields = {"request_id": name, "method": "OTHER", "route": "unknown", "status": error.status, "error": error.kind}
    logger.info("request", extra={"fields": fields})


class _Answer:
    """Sends an answer with the request's id, and remembers its status."""

    def __init__(self, send: Send, name: str) -> None:
        self._send, self._name = send, name
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            self.status = message["status"]
            MutableHeaders(scope=message)["X-Request-ID"] = self._name
        elif message["type"] == "websocket.accept":
            self.status = 101
        await self._send(message)
