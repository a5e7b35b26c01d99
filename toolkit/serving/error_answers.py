"""Errors as answers, on all paths in OpenAI's shape: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket, WebSocketState

from toolkit.serving.service_errors import ServiceError

# How a WebSocket ends that was refused after it was opened: "violated policy".
REFUSED = 1008


class ErrorDetail(BaseModel):
    """Why there is no other answer."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorAnswer(BaseModel):
    """Any answer that is an error."""

    error: ErrorDetail


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """``responses=`` of a route, for its documentation."""
    return {status: {"model": ErrorAnswer, "description": HTTPStatus(status).phrase} for status in statuses}


def error_of(error: ServiceError) -> dict[str, Any]:
    """The error as JSON says it."""
    detail = ErrorDetail(message=str(error), type=error.kind, param=error.param, code=error.code)
    return ErrorAnswer(error=detail).model_dump()


def answer_of(error: ServiceError) -> JSONResponse:
    """The error as HTTP says it."""
    headers = {"x-should-retry": "false"} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error_of(error), error.status, headers)


def answer_errors(app: FastAPI) -> None:
    """Let the app answer all errors in this way."""
    app.add_exception_handler(ServiceError, _service)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)


def note(connection: HTTPConnection, error: ServiceError) -> None:
    """Let counters and log tell of an error."""
    connection.app.state.metrics.refused(error.kind)
    connection.scope["asr.error"] = error


async def _service(connection: HTTPConnection, error: ServiceError) -> Response | None:
    note(connection, error)
    if not isinstance(connection, WebSocket):
        return answer_of(error)
    if connection.client_state == WebSocketState.CONNECTING:
        await connection.send_denial_response(answer_of(error))
    else:
        await connection.close(REFUSED, str(error)[:100])
    return None


def _error(status: int, message: str, *, param: str | None = None) -> ServiceError:
    error = ServiceError(message, param=param)
    error.status, error.kind = status, "invalid_request_error" if status < 500 else "server_error"
    return error


async def _validation(connection: HTTPConnection, error: RequestValidationError) -> Response | None:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][1:])
    return await _service(connection, _error(422, f"{name}: {first['msg']}", param=name))


async def _http(connection: HTTPConnection, error: HTTPException) -> Response | None:
    """Of Starlette itself: unknown paths and methods."""
    path = connection.scope["path"][:100]  # its URL cannot be made of every Host header
    said = {404: f"there is nothing at {path}; see /docs", 405: f"{path} cannot be asked in this way; see /docs"}
    answer = await _service(connection, _error(error.status_code, said.get(error.status_code, str(error.detail))))
    if answer is not None:
        answer.headers.update(error.headers or {})
    return answer
