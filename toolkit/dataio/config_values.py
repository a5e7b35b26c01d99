"""Configurations as plain dicts and lists, whoever made them: HyperPyYAML, OmegaConf, or a YAML file of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from toolkit.errors import ConfigError


def as_mapping(name: str, values: Any) -> dict[str, Any]:
    """A configuration as plain dicts and lists, with OmegaConf's interpolations resolved.

    Raises
    ------
    ConfigError
        It is no mapping, or a file that cannot be read, or an interpolation leads nowhere.
    """
    if isinstance(values, (str, Path)) and Path(values).suffix in (".yaml", ".yml"):
        values = load_yaml(name, values)
    if not isinstance(values, (Mapping, DictConfig)):
        raise ConfigError(f"{name}: expected keys such as manifest_filepath and batch_duration, not {values!r}")
    try:
        return plain(OmegaConf.create(values, flags={"allow_objects": True}))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{name}: {str(error).splitlines()[0]}") from error


def plain(value: Any) -> Any:
    """OmegaConf's containers, and tuples, as dicts and lists, with interpolations resolved."""
    if OmegaConf.is_config(value):
        return plain(OmegaConf.to_container(value, resolve=True, throw_on_missing=True))
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def load_yaml(name: str, path: str | Path) -> Any:
    """The content of a YAML file as plain dicts and lists, with OmegaConf's interpolations resolved.

    Raises
    ------
    ConfigError
        It cannot be read, or an interpolation leads nowhere.
    """
    try:
        return plain(OmegaConf.load(path))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{name}: {path}: cannot be read ({error})") from error
    except OmegaConfBaseException as error:
        raise ConfigError(f"{name}: {path}: {error.full_key}: {str(error).splitlines()[0]}") from error
