"""The form of OpenAI's transcription request, as their client and others fill it in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolkit.serving.forms import phrases
from toolkit.serving.service_errors import BadRequestError

# What is wanted where something else may come.
EXPECTED = {
    "language": "a code of ISO 639-1, such as en",
    "response_format": "json, text, srt, verbose_json or vtt",
    "timestamp_granularities": "word or segment",
    "stream": "true or false",
    "temperature": "a number between 0 and 1",
    "chunking_strategy": "auto: long files are cut at pauses, and nothing of that can be set",
    "include": "to be left out: there are no log-probabilities of tokens; verbose_json has them of segments",
}


class TranscriptionForm(BaseModel):
    """The fields beside ``file``; others are not looked at."""

    model_config = ConfigDict(validate_by_name=True, loc_by_alias=False)

    model: str = Field("", description="Its name in `GET /v1/models`; the first one of these if absent.")
    language: str = Field(
        "",
        pattern="^([a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8})*)?$",  # "en", "yue", "pt-BR"
        description="ISO 639-1. Models know their language themselves; `verbose_json` repeats it where they do not.",
        examples=["en"],
    )
    prompt: str = Field(
        "",
        description="Words and phrases that are likely, separated by commas or line breaks.",
        examples=["Rachel Lynde, Avonlea"],
    )
    keywords: list[str] = Field([], alias="keywords[]", description="As `prompt`, a phrase each.")
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] = "json"
    timestamp_granularities: set[Literal["word", "segment"]] = Field(
        set(),
        alias="timestamp_granularities[]",
        description="What `verbose_json` gives the times of; segments if absent.",
    )
    stream: bool = Field(False, description="Answer with server-sent events while the file is understood.")
    temperature: float = Field(0.0, ge=0.0, le=1.0, description="Changes nothing: searches here do not draw.")
    chunking_strategy: Literal["auto"] = Field("auto", description="Long files are cut at pauses.")
    include: list[str] = Field([], alias="include[]", max_length=0, description="Nothing can be included.")

    @classmethod
    def of(cls, fields: Mapping[str, Sequence[str]]) -> TranscriptionForm:
        """What the fields of a multipart form say; empty ones say nothing, and of one that comes twice the last counts.

        Lists come as ``name[]``, ``name[0]`` or ``name``, many times or once, with commas or as JSON.

        Raises
        ------
        BadRequestError
            A field has a value that cannot be, or that contradicts another field's.
        """
        values: dict[str, Any] = {}
        for key, texts in fields.items():
            name = key.partition("[")[0]
            for text in filter(str.strip, texts if name in cls.model_fields else ()):
                is_list = cls.model_fields[name].alias is not None
                values[name] = values.get(name, []) + _entries(text) if is_list else text.strip()
        try:
            form = cls.model_validate(values)
        except ValidationError as error:
            name = error.errors()[0]["loc"][0]
            raise BadRequestError(f"{name} {values[name]!r:.80}: expected {EXPECTED[name]}", param=name) from None
        form.check()
        return form

    def check(self) -> None:
        """Raise a BadRequestError unless the answer can have what is asked for."""
        if self.timestamp_granularities and self.response_format != "verbose_json":
            raise BadRequestError(
                f"timestamp_granularities: {self.response_format} has none; ask for response_format=verbose_json",
                param="timestamp_granularities",
            )
        if self.stream and self.response_format not in ("json", "text"):
            raise BadRequestError(
                f"response_format {self.response_format!r}: expected json or text with stream=true, whose events have "
                "no times; leave stream out",
                param="response_format",
            )

    @property
    def hotwords(self) -> tuple[str, ...]:
        """The phrases of the prompt, and the keywords. Raises BadRequestError."""
        return phrases("\n".join([self.prompt, *self.keywords]), "prompt")


def described_form() -> dict[str, Any]:
    """The form for the documentation of a route, ``openapi_extra=``."""
    schema = TranscriptionForm.model_json_schema()
    file = {"type": "string", "format": "binary", "description": "Audio or video in any container."}
    schema |= {"properties": {"file": file} | schema["properties"], "required": ["file"]}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def _entries(value: str) -> list[str]:
    """``word``; ``word,segment``; ``["word", "segment"]``."""
    try:
        entries = json.loads(value)
    except (ValueError, RecursionError):
        entries = None
    return [str(entry) for entry in entries] if isinstance(entries, list) else re.split(r"\s*,\s*", value)
