"""The types of data that a configuration can name, and who reads them.

A type is a function from the configuration of one data set to its examples::

    @data_type_parser("txt_lines", needs="paths", takes="language")
    def read_lines(config: DictConfig) -> tuple[CutSet, bool]:
        return CutSet(LineReader(config.paths, config.get("language"))), True

An iterable of one's own is a stream (:mod:`toolkit.dataio.streams`): where its order changes from pass to pass, it has
to have ``set_epoch(epoch)``, so that all processes read the same. A subclass of
:class:`~toolkit.dataio.indexed.Indexed` is planned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lhotse import CutSet
from omegaconf import DictConfig

from toolkit.errors import ConfigError, did_you_mean

Parser = Callable[[DictConfig], "tuple[CutSet, bool]"]


@dataclass(frozen=True)
class DataType:
    """A parser, with the keys that it cannot do without and those that it knows; None: it is not known which."""

    parse: Parser
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] | None = None

    def check(self, where: str, name: str, item: Mapping[str, Any], everywhere: Sequence[str]) -> None:
        """Raise a ConfigError that names every key of a data set that is unknown or missing.

        ``everywhere`` are the keys that any data set may have.
        """
        missing = [key for key in self.needs if item.get(key) is None]
        problems = [f"{where}: type {name!r} needs {key!r}" for key in missing]
        if self.takes is not None:
            known = [*self.needs, *self.takes, *everywhere]
            for key in set(item) - set(known):
                hint = did_you_mean(key, known) or f"; known: {', '.join(known)}"
                problems.append(f"{where}.{key}: unknown key of type {name!r}{hint}")
        if problems:
            raise ConfigError("\n".join(problems))


_TYPES: dict[str, DataType] = {}


def data_type_parser(
    name: str | Sequence[str], *, needs: str = "", takes: str | None = None
) -> Callable[[Parser], Parser]:
    """Register the decorated function as the parser of one type or of several; the last one registered counts.

    Parameters
    ----------
    needs, takes
        Keys, separated by spaces: those without which there is an error, and all others. Where ``takes`` is not given,
        unknown keys cannot be told from known ones, and are no error.
    """

    def register(parse: Parser) -> Parser:
        kind = DataType(parse, tuple(needs.split()), None if takes is None else tuple(takes.split()))
        _TYPES.update(dict.fromkeys([name] if isinstance(name, str) else name, kind))
        return parse

    return register


def get_known_config_data_types() -> list[str]:
    """The registered types."""
    return sorted(_TYPES)


def data_type(where: str, name: Any) -> DataType:
    """The registered type of that name.

    Raises
    ------
    ConfigError
        There is none.
    """
    if name not in _TYPES:
        hint = did_you_mean(str(name), _TYPES)
        known = ", ".join(get_known_config_data_types())
        raise ConfigError(f"{where}.type: unknown type {name!r}{hint}; known: {known}")
    return _TYPES[name]
