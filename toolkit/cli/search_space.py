"""What a search may choose for the keys of a YAML: ``lr=log:1e-4..1e-2``, ``beam_size=4..32``, ``batch_size=8,16``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from toolkit.errors import ConfigError
from toolkit.experiment import settings
from toolkit.hparams import HparamsDocument

GRAMMAR = "KEY=LOW..HIGH, KEY=log:LOW..HIGH or KEY=ONE,OTHER,..."


class Suggests(Protocol):
    """The part of an Optuna trial that is used here."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """A number from a range."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        """A whole number from a range."""

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        """One of several texts."""


@dataclass(frozen=True)
class Dimension:
    """A key, and the range or the texts that its value is drawn from.

    Attributes
    ----------
    ends
        Lowest and highest number, whole where both are; None where there are ``choices``.
    log
        Whether 0.001 to 0.01 is as far as 0.01 to 0.1.
    choices
        As one would write them on the command line.
    """

    key: str
    ends: tuple[float, float] | None = None
    log: bool = False
    choices: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str, document: HparamsDocument) -> Dimension:
        """What ``--space`` says of a key of a document.

        Raises
        ------
        ConfigError
            It does not follow the grammar, there is no such key, or a value is of another kind than the key's.
        """
        key, equals, values = text.partition("=")
        if not (key and equals and values):
            raise ConfigError(f"--space {text!r}: expected {GRAMMAR}")
        if key == "output_folder":
            raise ConfigError("--space output_folder: each trial has its own; choose other keys")
        log, written = values.startswith("log:"), values.removeprefix("log:")
        texts = written.split("..") if ".." in written else written.split(",")
        parsed = [settings(document, [f"--{key}={one}"])[0].get(key) for one in texts]
        if key not in document:
            raise ConfigError(f"--space {key}: an option of the run, not a key of {document.path}")
        if ".." not in written and not log:
            return cls(key, choices=tuple(texts))
        numbers = all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in parsed)
        if (
            ".." not in written
            or len(parsed) != 2
            or not numbers
            or not parsed[0] < parsed[1]
            or (log and parsed[0] <= 0)
        ):
            above = " above 0" if log else ""
            raise ConfigError(f"--space {text!r}: expected two numbers{above}, the lower first, in LOW..HIGH")
        return cls(key, ends=(parsed[0], parsed[1]), log=log)

    def suggest(self, trial: Suggests) -> str:
        """The value of a trial, as on the command line; numbers with four digits."""
        if self.ends is None:
            return trial.suggest_categorical(self.key, self.choices)
        if all(isinstance(end, int) for end in self.ends):
            return str(trial.suggest_int(self.key, *self.ends, log=self.log))
        return f"{trial.suggest_float(self.key, *self.ends, log=self.log):.4g}"
