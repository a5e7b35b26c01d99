"""How the service is set up: by flags, by variables of the environment, and by one YAML, the first that says it.

host: 0.0.0.0                        # or ASR_HOST, or --host
models: {an4: /models/an4-small}     # or ASR_MODELS=an4=/models/an4-small
limits: {queue_requests: 64}         # or ASR_LIMITS__QUEUE_REQUESTS=64
"""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from toolkit.errors import ConfigError, did_you_mean
from toolkit.serving.jobs import Limits

Texts = Annotated[tuple[str, ...], NoDecode]  # in the environment with commas between them

MAY_BE_ZERO = ("threads", "batch_wait_s", "live_sessions")  # of Limits


class Settings(BaseSettings):
    """What the service is told.

    Attributes
    ----------
    models
        Folders (or names on the hub) by what requests call them; the first is the default.
    root_path
        Where a proxy shows the service, ``/speech`` for instance.
    upload_bytes
        Of a request's body.
    upload_pause_s
        Seconds that an upload may stand still, or a live session be silent: no audio is sent, or no result read.
    api_key_hashes
        Of the keys that are let in, as ``asr serve --new-key`` prints them; none: everybody is.
    cors_origins
        Pages of other servers that may ask from a browser, ``https://example.org`` for instance, or ``*``.
    log_content
        Whether logs tell names of files and what was said.
    grace_s
        Seconds that requests have to finish when the service is stopped.
    temporary_folder
        Where uploads lie while they are transcribed.
    limits
        Of the engine.
    """

    model_config = SettingsConfigDict(
        env_prefix="ASR_", env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=True
    )

    models: Annotated[dict[str, str], NoDecode]
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    root_path: str = Field("", pattern="^(/[^/]+)*$")
    upload_bytes: int = Field(1 << 30, gt=0)
    upload_pause_s: float = Field(20.0, gt=0)
    api_key_hashes: Texts = ()
    cors_origins: Texts = ()
    log_content: bool = False
    grace_s: float = Field(30.0, ge=0)
    temporary_folder: Path = Field(default_factory=lambda: Path(tempfile.gettempdir()))
    limits: Limits = Limits()

    @field_validator("api_key_hashes", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(_parts(value)) if isinstance(value, str) else value

    @field_validator("models", mode="before")
    @classmethod
    def _name(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return value
        models: dict[str, str] = {}
        for name, folder in (named_model(text) for text in (_parts(value) if isinstance(value, str) else value)):
            if name in models:
                raise ValueError(f"two models are called {name}; name one otherwise, as other={folder}")
            models[name] = folder
        return models

    @field_validator("models")
    @classmethod
    def _some(cls, value: dict[str, str]) -> dict[str, str]:
        if not value:
            raise ValueError("at least one model is needed")
        if not all(name and folder for name, folder in value.items()):
            raise ValueError("a model has no name, or no folder")
        return value

    @field_validator("api_key_hashes")
    @classmethod
    def _hashes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch("[0-9a-f]{64}", text) for text in value):
            raise ValueError("one is no hash as asr serve --new-key prints them")  # and may be a key: it is not shown
        return value

    @field_validator("limits", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        known = [field.name for field in dataclasses.fields(Limits)]
        for name in value if isinstance(value, Mapping) else ():
            if name not in known:
                raise ValueError(f"{name} is no limit{did_you_mean(name, known)}; there are {', '.join(known)}")
        return value

    @field_validator("limits")
    @classmethod
    def _positive(cls, value: Limits) -> Limits:
        for name, number in vars(value).items():
            if isinstance(number, (int, float)) and not (number > 0 or (number == 0 and name in MAY_BE_ZERO)):
                raise ValueError(f"{name} is {number}; expected more than 0")
        return value


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def named_model(text: str) -> tuple[str, str]:
    """Name and folder of ``an4=results/ctc``, or of ``results/ctc``, which is called ``ctc``."""
    name, equals, folder = text.partition("=")
    return (name, folder) if equals else (Path(text).name, text)


def read_settings(flags: Mapping[str, Any], file: Path | None = None) -> Settings:
    """The settings of the command line, or else of the environment, or else of a YAML.

    Raises
    ------
    ConfigError
        Tells of all settings that are unknown, missing or have a value that cannot be.
    """

    class Sources(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            **_: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, said)

    said = _read_yaml(file) if file else {}
    try:
        return Sources(**flags)
    except ValidationError as error:
        raise ConfigError("\n  ".join(["settings:", *(_said(one) for one in error.errors())])) from None
    except SettingsError as error:
        raise ConfigError(f"settings: {error}") from None


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: cannot be read as YAML: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{file}: expected settings, for instance port: 8000")
    return found


def _said(error: Mapping[str, Any]) -> str:
    """``port: Input should be less than or equal to 65535, not 99999``."""
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{name}: no such setting{did_you_mean(name, Settings.model_fields)}"
    if error["type"] == "missing":
        return f"{name}: is needed; name one, as asr serve MODEL does"
    if error["type"] == "value_error":
        return f"{name}: {error['ctx']['error']}"
    return f"{name}: {error['msg']}, not {error['input']!r}"
