"""Every error a user can see.

    ToolkitError
    ├── ConfigError              a YAML, an override or an option says something that cannot be done
    ├── ExperimentError          the output folder belongs to another experiment, or holds no run
    ├── MissingDependencyError   an optional package is needed; names the extra that installs it
    ├── DataError
    │   ├── ManifestError        a manifest is missing, damaged or contradicts itself
    │   └── AudioError           an audio file cannot be read, or is not what its manifest says
    │       └── NotAudioError    it is no audio of any known kind
    ├── TokenizerError           a tokenizer cannot be trained or does not fit the model
    ├── ModelError               weights, vocabulary or input do not fit the model
    └── ServiceError             the service refuses a request; toolkit/serving/service_errors.py has its kinds

Each message names the thing (file, field, value), what was wanted, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ToolkitError(Exception):
    """Base of every error that is the input's fault rather than the program's."""


class ConfigError(ToolkitError):
    """A YAML, an override or an option says something that cannot be done."""


class ExperimentError(ToolkitError):
    """An output folder belongs to another experiment, or holds no run."""


class MissingDependencyError(ToolkitError):
    """An optional package is needed; the message names the extra that installs it."""


class DataError(ToolkitError):
    """The data cannot be used."""


class ManifestError(DataError):
    """A manifest is missing, damaged or contradicts itself."""


class AudioError(DataError):
    """An audio file cannot be read, or is not what its manifest says."""


class NotAudioError(AudioError):
    """A file is no audio of any known kind."""


class TokenizerError(ToolkitError):
    """A tokenizer cannot be trained, or does not fit the model."""


class ModelError(ToolkitError):
    """Weights, vocabulary or input do not fit the model."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The hint that ends an unknown-name message: ``" (did you mean 'lr'?)"``, or ``""`` when nothing is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""
