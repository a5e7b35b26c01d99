"""What a YAML says of one data set, checked once at the door.

The keys and their meanings are those of NeMo's Lhotse integration, with ``data_root`` of ours::

    train_data:
        manifest_filepath: manifests/train.json
        batch_duration: 100      # seconds a batch, padding included; a cap
        num_buckets: 10
        shuffle: true
        seed: !ref <seed>
        perturb_speed: true
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.errors import ConfigError, did_you_mean

_NUMBER = (int, float)


@dataclass(frozen=True)
class DataConfig:
    """One data set and how it is batched and augmented.

    Attributes
    ----------
    manifest_filepath, data_root
        The manifest, and what its ``{data_root}`` stands for where that is not in ``data_root.txt`` beside it.
    sample_rate
        Of the batches; audio of another rate is resampled.
    batch_duration, batch_size
        Most seconds (with padding) and most utterances of a batch; at least one of them is needed.
    num_buckets
        Groups of similar duration that batches are drawn from when shuffling.
    shuffle
        Training: batches of random utterances of similar duration, in an order that ``seed`` and the epoch decide.
        Without it, evaluation: utterances from the longest to the shortest, always the same.
    seed
        Of the order and of the augmentation.
    num_workers, pin_memory
        Of the DataLoader: processes that read audio ahead (0: none), and page-locked batches for a GPU.
    drop_last
        Leave out the last batch of each bucket where it is not full.
    min_duration, max_duration
        Utterances outside (seconds) are left out.
    perturb_speed
        Add a copy of every utterance at 0.9 and one at 1.1 of its speed.
    noise_path, noise_snr, noise_mix_prob
        Noises (a folder, or a JSONL list of files), range of the signal-to-noise ratio (dB), share of utterances.
    rir_enabled, rir_path, rir_prob
        Whether to reverberate, room impulse responses (as noises), share of utterances.
    """

    manifest_filepath: str
    data_root: str | None = None
    sample_rate: int = 16000
    batch_duration: float | None = None
    batch_size: int | None = None
    num_buckets: int = 30
    shuffle: bool = False
    seed: int = 0
    num_workers: int = 0
    pin_memory: bool = False
    drop_last: bool = False
    min_duration: float = 0.0
    max_duration: float = math.inf
    perturb_speed: bool = False
    noise_path: str | None = None
    noise_snr: tuple[float, float] = (10.0, 20.0)
    noise_mix_prob: float = 0.5
    rir_enabled: bool = False
    rir_path: str | None = None
    rir_prob: float = 0.5

    @classmethod
    def from_hparams(cls, name: str, values: Mapping[str, Any]) -> DataConfig:
        """The configuration under the YAML's key ``name``.

        Raises
        ------
        ConfigError
            Names every key that is unknown, missing or impossible, at once.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(f"{name}: expected keys such as manifest_filepath and batch_duration, not {values!r}")
        problems = list(_problems(values))
        if problems:
            raise ConfigError("\n".join(f"{name}.{problem}" for problem in problems))
        given = {key: value for key, value in values.items() if value is not None}
        if "noise_snr" in given:
            given["noise_snr"] = tuple(given["noise_snr"])
        return cls(**{key: str(value) if _KINDS[key] is str else value for key, value in given.items()})


_KINDS: dict[str, Any] = {
    "manifest_filepath": str,
    "data_root": str,
    "sample_rate": int,
    "batch_duration": _NUMBER,
    "batch_size": int,
    "num_buckets": int,
    "shuffle": bool,
    "seed": int,
    "num_workers": int,
    "pin_memory": bool,
    "drop_last": bool,
    "min_duration": _NUMBER,
    "max_duration": _NUMBER,
    "perturb_speed": bool,
    "noise_path": str,
    "noise_snr": (list, tuple),
    "noise_mix_prob": _NUMBER,
    "rir_enabled": bool,
    "rir_path": str,
    "rir_prob": _NUMBER,
}
_WANTED = {int: "a whole number", _NUMBER: "a number", bool: "true or false", (list, tuple): "[low, high] in dB"}
_ABOVE_ZERO = ("sample_rate", "batch_duration", "batch_size", "num_buckets", "max_duration")
_NOT_NEGATIVE = ("num_workers", "min_duration")


def _problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Every complaint, each beginning with its key."""
    known = [field.name for field in dataclasses.fields(DataConfig)]
    for key, value in values.items():
        if key not in known:
            hint = did_you_mean(key, known) or f"; known: {', '.join(known)}"
            yield f"{key}: unknown key{hint}"
        elif value is not None:
            yield from _value_problems(key, value)
    if values.get("manifest_filepath") is None:
        yield "manifest_filepath: missing"
    if values.get("batch_duration") is None and values.get("batch_size") is None:
        yield "batch_duration: missing; give it or batch_size"
    if values.get("rir_enabled") and values.get("rir_path") is None:
        yield "rir_path: missing, and rir_enabled is true"


def _value_problems(key: str, value: Any) -> Iterator[str]:
    kind = _KINDS[key]
    # Paths may be pathlib's; True is an int to Python, but no count.
    if kind is not str and (not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool)):
        yield f"{key}: expected {_WANTED[kind]}, not {value!r}"
    elif key in _ABOVE_ZERO and not value > 0:
        yield f"{key}: expected more than 0, not {value!r}"
    elif key in _NOT_NEGATIVE and not value >= 0:
        yield f"{key}: expected 0 or more, not {value!r}"
    elif key.endswith("_prob") and not 0 <= value <= 1:
        yield f"{key}: expected a probability from 0 to 1, not {value!r}"
    elif key == "noise_snr" and not _is_range(value):
        yield f"noise_snr: expected [low, high] in dB, not {value!r}"


def _is_range(value: Any) -> bool:
    return len(value) == 2 and all(isinstance(end, _NUMBER) for end in value) and value[0] <= value[1]
