"""How the service is set up: by flags, by variables of the environment, and by one YAML, the first that says it.

host: 0.0.0.0                        # or ASR_HOST, or --host
models: {an4: /models/an4-small}     # or ASR_MODELS=an4=/models/an4-small
limits: {queue_requests: 64}         # or ASR_LIMITS__QUEUE_REQUESTS=64
"""

from __future__ import annotations

import dataclasses
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
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
ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/?#@\sA-Z]+")  # as browsers send it

PREFIX = "ASR_"
# Variables that are no settings: of commands, of the tests, and those that Kubernetes has for a service called asr.
OTHERS = re.compile("ASR_(CONFIG|API_KEY|DATA|(.+_)?SERVICE_(HOST|PORT.*)|(.+_)?PORT_[0-9]+_.+|.+_PORT)")
SECRET = "api_key_hashes"  # may be a key by mistake


class Settings(BaseSettings):
    """What the service is told.

    Attributes
    ----------
    models
        Folders (or names on the hub) by what requests call them; the first is the default.
    host, port
        Where the service listens: 0.0.0.0 or :: for all addresses of the machine, port 0 for a free one.
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
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=True
    )

    models: Annotated[dict[str, str], NoDecode]
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    root_path: str = ""
    upload_bytes: int = Field(1 << 30, gt=0)
    upload_pause_s: float = Field(20.0, gt=0)
    api_key_hashes: Texts = ()
    cors_origins: Texts = ()
    log_content: bool = False
    grace_s: float = Field(30.0, ge=0)
    temporary_folder: Path = Field(default_factory=lambda: Path(tempfile.gettempdir()))
    limits: Limits = Limits()

    @property
    def is_open(self) -> bool:
        """Whether whoever reaches this machine may ask."""
        here = self.host.startswith("127.") or self.host in ("localhost", "::1")
        return not here and not self.api_key_hashes

    @field_validator("api_key_hashes", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if not _parts(value):
            raise ValueError("names none; leave the setting out where there are none")
        return tuple(_parts(value))

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r}; expected an origin as browsers send it, such as https://a.org, or *")
        return value

    @field_validator("root_path")
    @classmethod
    def _path(cls, value: str) -> str:
        path = value.removesuffix("/")
        if not re.fullmatch("(/[^/]+)*", path):
            raise ValueError(f"{value!r}; expected a path such as /speech")
        return path

    @field_validator("models", mode="before")
    @classmethod
    def _name(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return value
        texts = _parts(value) if isinstance(value, str) else value
        if not (isinstance(texts, (list, tuple)) and all(isinstance(text, str) for text in texts)):
            raise ValueError("expected folders, or folders by their names, such as {an4: /models/an4}")
        models: dict[str, str] = {}
        for name, folder in map(named_model, texts):
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
                hint = did_you_mean(str(name), known)
                raise ValueError(f"{name} is no limit{hint}; there are {', '.join(known)}")
        if isinstance(value, Mapping) and isinstance(value.get("devices"), str):
            return {**value, "devices": tuple(_parts(value["devices"]))}
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
    problems = list(_unknown_variables())
    try:
        settings = Sources(**flags)
    except ValidationError as error:
        problems += map(_said, error.errors())
    except SettingsError:  # of the only one that is not text
        problems.append('ASR_LIMITS: expected JSON such as {"queue_s": 3600}; or set ASR_LIMITS__QUEUE_S')
    if problems:
        raise ConfigError("\n  ".join(["settings:", *problems]))
    return settings


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: cannot be read as YAML: {error}") from None
    if not (isinstance(found, dict) and all(isinstance(name, str) for name in found)):
        raise ConfigError(f"{file}: expected settings by their names, for instance port: 8000")
    return found


def _unknown_variables() -> Iterator[str]:
    """What is said of variables that would be settings, if these were called so."""
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    for variable in map(str.upper, os.environ):
        name, nested, _ = variable.partition("__")
        is_setting = name == f"{PREFIX}LIMITS" if nested else name in known
        if variable.startswith(PREFIX) and not is_setting and not OTHERS.fullmatch(variable):
            yield f"{variable}, of the environment: no such setting{did_you_mean(name, known)}"


def _said(error: Mapping[str, Any]) -> str:
    """``port: Input should be less than or equal to 65535, not 99999``."""
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{name}: no such setting{did_you_mean(name, Settings.model_fields)}"
    if error["type"] == "missing":
        return f"{name}: is needed; name one, as asr serve MODEL does"
    if error["type"] == "value_error":
        return f"{name}: {error['ctx']['error']}"
    if error["loc"][0] == SECRET:
        return f"{SECRET}: {error['msg']}"
    return f"{name}: {error['msg']}, not {error['input']!r}"
