"""What clients send: fields, and a file that goes to disk while it arrives and is removed when it was heard."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, BinaryIO

from anyio import fail_after  # asyncio.wait_for of Python 3.11 may miss that it is cancelled
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from toolkit.serving.forms import FormReader
from toolkit.serving.service_errors import (
    BadRequestError,
    BusyError,
    InvalidInputError,
    TooLargeError,
    UnavailableError,
    UnsupportedMediaError,
)
from toolkit.serving.settings import Settings

# Slower than any audio that can be understood (8 kbit/s): nobody uploads like this who wants an answer.
SLOWEST_BYTES_A_SECOND = 1000
# Written at once, by a thread, as all that takes time on a disk: the event loop waits for nothing.
PIECE_BYTES = 1 << 20
AS_IT_IS = ("audio/*", "video/*", "application/octet-stream")  # types of bodies that are no form


@dataclass
class Form:
    """What was sent.

    Attributes
    ----------
    audio
        The file on disk.
    name
        What the client calls it, for messages: never a path.
    fields
        The other fields, each with all its values.
    """

    audio: Path
    name: str = "audio"
    fields: dict[str, list[str]] = field(default_factory=dict)

    def one(self, name: str, default: str = "") -> str:
        """The value of a field that can be there once. Raises InvalidInputError when it is there more often."""
        values = self.fields.get(name, [default])
        if len(values) > 1:
            raise InvalidInputError(f"{name}: is there {len(values)} times, and can have one value", param=name)
        return values[0]

    def all(self, name: str) -> list[str]:
        """All values of a field."""
        return self.fields.get(name, [])


def described_body(form: dict[str, Any]) -> dict[str, Any]:
    """``openapi_extra=`` of a route that takes what `received` does: a form of this schema, or audio."""
    said = "Audio or video as it is; the other fields are then in the query."
    audio = {"type": "string", "format": "binary", "description": said}
    content = {"multipart/form-data": {"schema": form}} | {kind: {"schema": audio} for kind in AS_IT_IS}
    return {"requestBody": {"required": True, "content": content}}


@contextlib.asynccontextmanager
async def received(request: Request, settings: Settings) -> AsyncIterator[Form]:
    """The form of a request, or its body where that is audio; the file is removed afterwards.

    Raises
    ------
    BusyError
        No more requests may wait, or there is no room on the disk.
    TooLargeError
        There are more bytes than ``settings.upload_bytes``, or fields that are too long.
    BadRequestError
        The body is no form, has too many fields, no file or two, or does not come.
    UnsupportedMediaError
        The body is neither a form nor audio.
    ClientDisconnect
        The client is gone.
    """
    await _check_head(request, _most_bytes(request, settings))
    descriptor, path = tempfile.mkstemp(dir=request.app.state.folder)
    form = Form(Path(path))
    try:
        with os.fdopen(descriptor, "wb") as file:
            await _read(request, settings, form, file)
        yield form
    finally:
        await asyncio.to_thread(form.audio.unlink, missing_ok=True)  # a gigabyte takes a quarter of a second


def _most_bytes(request: Request, settings: Settings) -> int:
    """Of a body."""
    return min(settings.upload_bytes, request.app.state.engine.limits.disk_bytes)


async def _check_head(request: Request, most_bytes: int) -> None:
    """Raise what can be said before a byte of the body is read."""
    engine, folder = request.app.state.engine, request.app.state.folder
    engine.check_room()
    if len(os.listdir(folder)) >= engine.limits.queue_requests:  # noqa: PTH208 - counted, not looked at
        raise BusyError("as many uploads are on their way as may be; come again", retry_after=5)
    length = request.headers.get("content-length", "")
    more_bytes = int(length) if length.isdecimal() else 0
    if more_bytes > most_bytes:
        raise _too_large(most_bytes)
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMediaError("the body is packed (Content-Encoding); send it as it is")
    await asyncio.to_thread(engine.check_disk, more_bytes)


def _too_large(most: int) -> TooLargeError:
    return TooLargeError(f"the upload has more than the {most} bytes that are allowed; send less at once", param="file")


async def _read(request: Request, settings: Settings, form: Form, file: BinaryIO) -> None:
    kind, options = parse_options_header(request.headers.get("content-type"))
    reader = None
    if kind == b"multipart/form-data":
        reader = FormReader(options.get(b"boundary", b""))
    elif any(fnmatch(kind.decode("latin-1"), known) for known in AS_IT_IS):
        for name, value in request.query_params.multi_items():
            form.fields.setdefault(name, []).append(value)
    else:
        raise UnsupportedMediaError("the body must be a form with a file, as of curl -F file=@speech.wav, or audio")
    waiting, total, most_bytes = bytearray(), 0, _most_bytes(request, settings)
    async for data in _pieces(request, settings.upload_pause_s):
        total += len(data)
        if total > most_bytes:
            raise _too_large(most_bytes)
        waiting += reader.file_of(data) if reader else data
        if len(waiting) >= PIECE_BYTES:
            await _save(file, waiting)
            await asyncio.to_thread(request.app.state.engine.check_disk)
            waiting = bytearray()
    await _save(file, waiting)
    if reader:
        form.name, form.fields = reader.finish()
    if not file.tell():
        raise InvalidInputError("file: is empty; expected audio", param="file")


async def _pieces(request: Request, pause_s: float) -> AsyncIterator[bytes]:
    """The body as it comes, if it comes."""
    stream, start, total = request.stream(), time.monotonic(), 0
    while True:
        left = start + pause_s + total / SLOWEST_BYTES_A_SECOND - time.monotonic()
        try:
            with fail_after(min(pause_s, max(0, left))):
                data = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise BadRequestError(f"the upload stood still for {pause_s:g} s, or nearly so; send it again") from None
        total += len(data)
        yield data


async def _save(file: BinaryIO, data: bytearray) -> None:
    def save() -> None:
        file.write(data)
        file.flush()

    try:
        await asyncio.to_thread(save)
    except OSError as error:
        raise UnavailableError("there is no room for the upload on the server", retry_after=60) from error
