"""What an utterance of a SpeechBrain manifest says, and the checks of it.

``wav``, ``length`` (seconds) and ``words`` are needed. ``sample_rate`` with ``num_samples`` saves opening every file
when the manifest is first read. ``speaker`` and ``language`` become fields of the cut's supervision, all others its
``custom`` fields. ``wav`` is absolute, relative to the manifest's folder, or begins with ``{data_root}``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.dataio.containers import LENGTH_TOLERANCE_S, AudioInfo, probe_audio
from toolkit.errors import AudioError, ManifestError

REQUIRED = {"wav": str, "length": (int, float), "words": str}
OPTIONAL = {"speaker": str, "language": str, "sample_rate": int, "num_samples": int, "channels": int}
PLACEHOLDER = "{data_root}"
ROOT_FILE = "data_root.txt"


@dataclass(frozen=True)
class Folders:
    """Where the audio of a manifest is: beside it, and where ``{data_root}`` stands for, if anywhere."""

    own: str
    root: str | None

    @classmethod
    def of(cls, manifest: Path, data_root: str | Path | None) -> Folders:
        """Those of a manifest; without ``data_root``, ``data_root.txt`` beside it tells."""
        own = "" if manifest.parent == Path() else str(manifest.parent)
        if data_root is not None:
            return cls(own, str(Path(data_root).resolve()))
        remembered = manifest.parent / ROOT_FILE
        return cls(own, remembered.read_text(encoding="utf-8").strip() if remembered.is_file() else None)

    def rooted(self, path: str) -> str:
        """A path with the folder that ``{data_root}`` stands for in its place.

        Raises
        ------
        ManifestError
            It is not known.
        """
        if PLACEHOLDER not in path:
            return path
        if self.root is None:
            raise ManifestError(f"needs {PLACEHOLDER}: set data_root, or write it to {ROOT_FILE} beside it")
        return path.replace(PLACEHOLDER, self.root)

    def find(self, name: str, entry: Mapping[str, Any]) -> str:
        """The audio file of an utterance.

        Raises
        ------
        ManifestError
            There is none.
        """
        try:
            wav = self.rooted(entry["wav"])
        except ManifestError as error:
            raise ManifestError(f"utterance {name!r}: 'wav' {error}") from None
        # Once for each example: pathlib would take longer than the look at the disk.
        wav = os.path.join(self.own, wav)  # noqa: PTH118
        if not os.path.isfile(wav):  # noqa: PTH113
            raise ManifestError(f"utterance {name!r}: no audio file {wav}; prepare the data again or set data_root")
        return wav


def check_entry(name: str, entry: Any) -> None:
    """Raise a ManifestError that names the utterance and the first field that is not what it must be."""
    try:
        _check_types(entry)
    except ManifestError as error:
        raise ManifestError(f"utterance {name!r}: {error}") from None


def _check_types(entry: Any) -> None:
    if not isinstance(entry, Mapping):
        raise ManifestError(f"expected an object with {', '.join(REQUIRED)}, not {entry!r}")
    if getattr(entry, "repeated", None):
        raise ManifestError(f"field {entry.repeated[0]!r} appears twice")
    for field, kind in REQUIRED.items():
        if field not in entry:
            raise ManifestError(f"field {field!r} is missing")
        _check_type(field, entry[field], kind)
    for field, kind in OPTIONAL.items():
        if field in entry:
            _check_type(field, entry[field], kind)
    if not math.isfinite(entry["length"]) or entry["length"] <= 0:
        raise ManifestError(f"'length' is {entry['length']}; expected seconds above 0")
    for field in ("sample_rate", "num_samples", "channels"):
        if entry.get(field, 1) <= 0:
            raise ManifestError(f"{field!r} is {entry[field]}; expected a number above 0")
    if not entry["words"].strip():
        raise ManifestError("'words' is empty; drop the utterance or transcribe it")


def _check_type(field: str, value: Any, kind: type | tuple[type, ...]) -> None:
    # True is an int to Python, but not a length.
    if not isinstance(value, kind) or isinstance(value, bool):
        wanted = "a text" if kind is str else "a whole number" if kind is int else "a number"
        raise ManifestError(f"{field!r} is {value!r}; expected {wanted}")


def audio_info(name: str, entry: Mapping[str, Any], wav: str) -> AudioInfo:
    """What the entry says of the audio file, else what the file says.

    Raises
    ------
    ManifestError
        They contradict each other, or the file cannot be read.
    """
    if "sample_rate" in entry and "num_samples" in entry:
        info = AudioInfo(entry["sample_rate"], entry["num_samples"], entry.get("channels", 1))
    else:
        try:
            info = probe_audio(wav)
        except AudioError as error:
            raise ManifestError(f"utterance {name!r}: {error}") from error
    if abs(info.length - entry["length"]) > LENGTH_TOLERANCE_S:
        said = f"'length' is {entry['length']} s, but its audio has {info.length:.3f} s"
        raise ManifestError(f"utterance {name!r}: {said}")
    return info
