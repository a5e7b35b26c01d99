"""Takes a multipart form apart while it arrives; hostile ones end at once."""

from __future__ import annotations

import re

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from toolkit.serving.service_errors import BadRequestError, TooLargeError

# Fields beside the file, and bytes of them all: hotwords are the longest.
MOST_FIELDS, MOST_FIELD_BYTES = 32, 64 * 1024
MOST_HOTWORD_LETTERS = 4000  # looked up in a tenth of a second, for which all others wait
NAME_LENGTH = 100
CALLBACKS = ("part_begin", "header_begin", "header_field", "header_value", "header_end", "headers_finished")


class FormReader:
    """A form of one file, in the field ``file``, and some short texts.

    All methods raise BadRequestError when it is damaged, or another form, and TooLargeError.
    """

    def __init__(self, boundary: bytes) -> None:
        if not boundary:
            raise BadRequestError("the form has no boundary in its Content-Type; let your HTTP library set that header")
        names = (*CALLBACKS, "part_data", "part_end", "end")
        try:
            self._parser = MultipartParser(boundary, {f"on_{name}": getattr(self, f"_{name}") for name in names})
        except FormParserError as error:
            raise BadRequestError(f"the form's boundary cannot be: {error}") from None
        self._file: str | None = None  # what the client calls it, when it was seen
        self._fields: dict[str, list[str]] = {}
        self._parts = self._field_bytes = 0
        self._ended = False
        # of the part that is being read
        self._header, self._content, self._disposition = b"", b"", b""
        self._field: str | None = None  # None: it is the file
        self._value = bytearray()
        self._found = bytearray()

    def file_of(self, data: bytes) -> bytearray:
        """The bytes of the file among these of the form."""
        self._found = bytearray()
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise BadRequestError(f"the form is damaged: {error}") from None
        return self._found

    def finish(self) -> tuple[str, dict[str, list[str]]]:
        """What the file is called, and the fields, when there is no more of the form."""
        if not self._ended:
            raise BadRequestError("the form ends before its end; send it again")
        if self._file is None:
            raise BadRequestError("the form has no file; send one, as curl -F file=@speech.wav does", param="file")
        return self._file, self._fields

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > MOST_FIELDS:
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
        name = printable(options[b"name"])
        self._field = None if name == "file" else name
        if self._field is None:
            if self._file is not None:
                raise BadRequestError("file: is there twice; send each in a request of its own", param="file")
            self._file = printable(options.get(b"filename", b"")) or "audio"
        elif b"filename" in options:
            raise BadRequestError(f"{name}: is a file; the field of the file is called file", param="file")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._found += memoryview(data)[start:end]
            return
        self._field_bytes += end - start
        if self._field_bytes > MOST_FIELD_BYTES:
            raise TooLargeError(f"the fields of the form have more than {MOST_FIELD_BYTES} bytes")
        self._value += memoryview(data)[start:end]

    def _part_end(self) -> None:
        if self._field is None:
            return
        try:
            self._fields.setdefault(self._field, []).append(self._value.decode())
        except UnicodeDecodeError:
            raise BadRequestError(f"{self._field}: is not UTF-8") from None

    def _end(self) -> None:
        self._ended = True


def phrases(text: str, field: str) -> tuple[str, ...]:
    """Hotwords with commas or line breaks between them. Raises BadRequestError, naming the field, for too many."""
    if len(text) > MOST_HOTWORD_LETTERS:
        raise BadRequestError(
            f"{field}: has {len(text)} letters; expected at most {MOST_HOTWORD_LETTERS}: name what is rare", param=field
        )
    return tuple(phrase.strip() for phrase in re.split(r"[,\n]", text) if phrase.strip())


def printable(name: bytes) -> str:
    """The last part of a client's path, of letters that can be shown, and not too long."""
    last = re.split(r"[/\\]", name.decode(errors="replace"))[-1]
    return "".join(letter for letter in last if letter.isprintable())[:NAME_LENGTH]
