"""Checks of the options that searchers share: each raises a ConfigError that names the option and what it takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

from torch import nn

from toolkit.errors import ConfigError, did_you_mean


def check_count(name: str, value: int, minimum: int = 1) -> None:
    """Raise unless ``value`` is a whole number of at least ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ConfigError(f"{name} must be a whole number of at least {minimum}, got {value!r}")


def check_range(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Raise unless ``value`` is a number with ``low <= value <= high``."""
    check_number(name, value)
    if not low <= value <= high:
        wanted = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise ConfigError(f"{name} must be {wanted}, got {value!r}")


def check_number(name: str, value: float) -> None:
    """Raise unless ``value`` is a number."""
    if isinstance(value, bool) or not isinstance(value, Real) or math.isnan(value):
        raise ConfigError(f"{name} must be a number, got {value!r}")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise unless ``value`` is one of the choices."""
    if value not in choices:
        raise ConfigError(
            f"{name} must be one of {', '.join(choices)}, got {value!r}{did_you_mean(str(value), choices)}"
        )


def check_beam(beam_size: int, topk: int, temperature: float) -> None:
    """Raise unless a beam of this size can return ``topk`` hypotheses from scores softened by ``temperature``."""
    check_count("beam_size", beam_size)
    check_count("topk", topk)
    if topk > beam_size:
        raise ConfigError(f"topk must be at most beam_size ({beam_size}), got {topk}: a beam holds no more hypotheses")
    check_temperature("temperature", temperature)


def check_temperature(name: str, value: float) -> None:
    """Raise unless a distribution can be softened by ``value``."""
    check_number(name, value)
    if not 0.0 < value < math.inf:
        raise ConfigError(f"{name} must be above 0, got {value!r}")


def check_language_model(lm: nn.Module | None, lm_weight: float) -> None:
    """Raise unless the weight is not negative, and there is a language model to weigh."""
    check_range("lm_weight", lm_weight, 0.0)
    if lm_weight > 0.0 and lm is None:
        raise ConfigError(f"lm_weight is {lm_weight:g}, but no lm is given: give lm, or set lm_weight to 0")


def check_steps(lm: nn.Module | None) -> None:
    """Raise unless frame-synchronous search can ask the language model token by token."""
    if lm is not None and not (hasattr(lm, "start") and hasattr(lm, "step")):
        raise ConfigError(
            f"lm: {type(lm).__name__} cannot be asked for one token after another: give a language model over the "
            "recogniser's tokens, and a word n-gram as word_ngram of a CTCFusion"
        )
