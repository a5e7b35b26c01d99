"""What clients send: fields, and a file that goes to disk while it arrives and is removed when it was heard."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from toolkit.serving.service_errors import (
    BadRequestError,
    InvalidInputError,
    TooLargeError,
    UnavailableError,
    UnsupportedMediaError,
)
from toolkit.serving.settings import Settings

# Fields of a form beside its file, and bytes of them all: hotwords are the longest.
MOST_FIELDS, MOST_FIELD_BYTES = 32, 64 * 1024
# Slower than any audio that can be understood (8 kbit/s): nobody uploads like this who wants an answer.
SLOWEST_BYTES_A_SECOND = 1000
# Written at once, by a thread: the event loop waits for no disk.
PIECE_BYTES = 1 << 20
NAME_LENGTH = 100
FOLDER_PREFIX = "asr-serve-"


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


@contextlib.asynccontextmanager
async def received(request: Request, settings: Settings) -> AsyncIterator[Form]:
    """The form of a request, or its body where that is audio; the file is removed afterwards.

    Raises
    ------
    BusyError
        No more requests may wait; nothing is read.
    TooLargeError
        There are more bytes than ``settings.upload_bytes``, or fields that are too long.
    BadRequestError
        The body is no form, has too many fields, no file or two, or does not come.
    UnsupportedMediaError
        The body is neither a form nor audio.
    ClientDisconnect
        The client is gone.
    """
    request.app.state.engine.check_room()
    _check_length(request, settings.upload_bytes)
    descriptor, path = tempfile.mkstemp(dir=request.app.state.folder)
    form = Form(Path(path))
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            await _read(request, settings, form, file)
        yield form
    finally:
        form.audio.unlink(missing_ok=True)


def _check_length(request: Request, most: int) -> None:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise _too_large(most)


def _too_large(most: int) -> TooLargeError:
    return TooLargeError(f"the upload has more than the {most} bytes that are allowed; send less at once", param="file")


async def _read(request: Request, settings: Settings, form: Form, file: BinaryIO) -> None:
    kind, options = parse_options_header(request.headers.get("content-type"))
    reader: _FormReader | _BodyReader
    if kind == b"multipart/form-data":
        reader = _FormReader(form, options.get(b"boundary", b""))
    elif kind.startswith((b"audio/", b"video/")) or kind == b"application/octet-stream":
        reader = _BodyReader()
        for name, value in request.query_params.multi_items():
            form.fields.setdefault(name, []).append(value)
    else:
        raise UnsupportedMediaError("the body must be a form with a file, as of curl -F file=@speech.wav, or audio")
    waiting, total = bytearray(), 0
    async for data in _pieces(request, settings.upload_pause_s):
        total += len(data)
        if total > settings.upload_bytes:
            raise _too_large(settings.upload_bytes)
        waiting += reader.write(data)
        if len(waiting) >= PIECE_BYTES:
            await _save(file, waiting)
            waiting = bytearray()
    await _save(file, waiting)
    reader.finish()


async def _pieces(request: Request, pause_s: float) -> AsyncIterator[bytes]:
    """The body as it comes, if it comes."""
    stream, start, total = request.stream(), time.monotonic(), 0
    while True:
        left = start + pause_s + total / SLOWEST_BYTES_A_SECOND - time.monotonic()
        try:
            data = await asyncio.wait_for(anext(stream), min(pause_s, max(0, left)))
        except StopAsyncIteration:
            return
        except asyncio.TimeoutError:
            raise BadRequestError(f"the upload stood still for {pause_s:g} s, or nearly so; send it again") from None
        total += len(data)
        yield data


async def _save(file: BinaryIO, data: bytearray) -> None:
    try:
        await asyncio.to_thread(file.write, data)
    except OSError as error:
        raise UnavailableError("there is no room for the upload on the server", retry_after=60) from error


class _BodyReader:
    """A body that is a file as it is."""

    def __init__(self) -> None:
        self._some = False

    def write(self, data: bytes) -> bytes:
        """The bytes of the file among these."""
        self._some = self._some or bool(data)
        return data

    def finish(self) -> None:
        """There is no more."""
        if not self._some:
            raise BadRequestError("the body is empty; it should be audio", param="file")


class _FormReader:
    """Takes a form apart: its fields go to ``form``, and the bytes of its file come out."""

    def __init__(self, form: Form, boundary: bytes) -> None:
        self._form, self._found, self._count, self._bytes = form, bytearray(), 0, 0
        self._header, self._disposition = b"", b""
        self._field: str | None = None  # which one is being read; None: the file
        self._value = bytearray()
        self._files, self._ended = 0, False
        names = ("part_begin", "header_begin", "header_field", "header_value", "header_end", "headers_finished")
        callbacks = {f"on_{name}": getattr(self, f"_{name}") for name in (*names, "part_data", "part_end", "end")}
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise BadRequestError(f"the form's boundary cannot be: {error}") from None
        if not boundary:
            raise BadRequestError("the form has no boundary in its Content-Type; let your HTTP library set that header")

    def write(self, data: bytes) -> bytearray:
        """The bytes of the file among these."""
        self._found = bytearray()
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise BadRequestError(f"the form is damaged: {error}") from None
        return self._found

    def finish(self) -> None:
        """There is no more."""
        if not self._ended:
            raise BadRequestError("the form ends before its end; send it again")
        if not self._files:
            raise BadRequestError("the form has no file; send one, as curl -F file=@speech.wav does", param="file")

    def _part_begin(self) -> None:
        self._count += 1
        if self._count > MOST_FIELDS:
            raise BadRequestError(f"the form has more than {MOST_FIELDS} fields")
        self._disposition, self._value = b"", bytearray()

    def _header_begin(self) -> None:
        self._header, self._content = b"", b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._content

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise BadRequestError("a part of the form has no name")
        name = options[b"name"].decode(errors="replace")
        self._field = name
        if b"filename" not in options and name != "file":
            return
        if name != "file":
            raise BadRequestError(f"{printable(name)}: the field of the file is called file", param=printable(name))
        self._files, self._field = self._files + 1, None
        if self._files > 1:
            raise BadRequestError("the form has more than one file; send each in a request of its own", param="file")
        self._form.name = printable(options.get(b"filename", b"").decode(errors="replace")) or "audio"

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._found += memoryview(data)[start:end]
            return
        self._bytes += end - start
        if self._bytes > MOST_FIELD_BYTES:
            raise TooLargeError(f"the fields of the form have more than {MOST_FIELD_BYTES} bytes", param=self._field)
        self._value += memoryview(data)[start:end]

    def _part_end(self) -> None:
        if self._field is not None:
            try:
                value = self._value.decode()
            except UnicodeDecodeError:
                raise BadRequestError(f"{self._field}: is not UTF-8", param=self._field) from None
            self._form.fields.setdefault(self._field, []).append(value)

    def _end(self) -> None:
        self._ended = True


def printable(name: str) -> str:
    """The last part of a client's path, of letters that can be shown, and not too long."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(letter for letter in last if letter.isprintable())[:NAME_LENGTH]


@contextlib.contextmanager
def upload_folder(place: Path) -> Iterator[Path]:
    """A new folder in a place, removed at the end; those that killed services left there are removed, too.

    A folder is locked as long as its service lives.
    """
    place.mkdir(parents=True, exist_ok=True)
    with _locked(place):
        for folder in place.glob(f"{FOLDER_PREFIX}*"):
            with contextlib.suppress(OSError), _locked(folder, wait=False):  # of another user, or in use
                shutil.rmtree(folder)
        folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=place))
        lock = contextlib.ExitStack()
        lock.enter_context(_locked(folder))
    with lock:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Keep other processes that ask for it out of a folder; OSError where they are in there, unless it waits."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)
