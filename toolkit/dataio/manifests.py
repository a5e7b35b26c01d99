"""Manifests: the contract between data preparation and training.

A manifest is a JSON object, one utterance a line where we write it::

    {
    "an251-fash-b": {"wav": "{data_root}/wav/an4_clstk/fash/an251-fash-b.flac", "length": 1.1, "words": "YES",
                     "speaker": "fash", "sample_rate": 16000, "num_samples": 17600},
    ...
    }

``wav``, ``length`` (seconds) and ``words`` are needed. ``sample_rate`` with ``num_samples`` saves opening every file
when the manifest is loaded. ``speaker`` and ``language`` become fields of the cut's supervision, all others its
``custom`` fields. ``wav`` is absolute, relative to the manifest's folder, or begins with ``{data_root}``, which stands
for the folder named in ``data_root.txt`` beside the manifest, so that a corpus can move without its manifests.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.dataio.containers import AudioInfo, probe_audio
from toolkit.errors import AudioError, ManifestError
from toolkit.files import write_atomically

if TYPE_CHECKING:
    from lhotse import CutSet
    from lhotse.cut import Cut

REQUIRED = {"wav": str, "length": (int, float), "words": str}
OPTIONAL = {"speaker": str, "language": str, "sample_rate": int, "num_samples": int, "channels": int}
PLACEHOLDER = "{data_root}"
ROOT_FILE = "data_root.txt"

# Between `length` and the samples of the file: manifests written elsewhere round to a hundredth of a second.
LENGTH_TOLERANCE_S = 0.05


def read_manifest(path: str | Path, data_root: str | Path | None = None, *, prepare_hint: str | None = None) -> CutSet:
    """Cuts of a manifest, one for each utterance, in its order, with ids, words and speakers.

    Parameters
    ----------
    path
        The JSON file.
    data_root
        What ``{data_root}`` stands for; by default the content of ``data_root.txt`` beside the manifest.
    prepare_hint
        The command that makes the manifest, for the message when it is missing.

    Raises
    ------
    ManifestError
        Names the file, the utterance and the field of the first damage.
    """
    from lhotse import CutSet  # with torch it takes three seconds: preparing a corpus does without

    path = Path(path)
    entries = _read_json(path, prepare_hint)
    root = _root(path, data_root)
    return CutSet.from_cuts([_cut(path, name, entry, root) for name, entry in entries.items()])


def write_manifest(
    path: str | Path, utterances: Mapping[str, Mapping[str, Any]], data_root: str | Path | None = None
) -> None:
    """A manifest at ``path``, whole or not at all, after the same checks as reading it.

    ``data_root`` is remembered in ``data_root.txt`` beside it; all manifests of a folder share it.
    """
    path = Path(path)
    root = _root(path, data_root)
    _check_entries(path, utterances)
    for name, entry in utterances.items():
        _check_entry(path, name, entry, root)
    path.parent.mkdir(parents=True, exist_ok=True)
    if data_root is not None:
        write_atomically(path.parent / ROOT_FILE, f"{Path(data_root).resolve()}\n")
    lines = (f"{json.dumps(name)}: {json.dumps(entry, ensure_ascii=False)}" for name, entry in utterances.items())
    write_atomically(path, "{\n" + ",\n".join(lines) + "\n}\n")


class _Object(dict):
    """A JSON object that remembers the keys that stood in it more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        seen: set[str] = set()
        self.repeated = [key for key, _ in pairs if key in seen or seen.add(key)] if len(self) < len(pairs) else []


def _read_json(path: Path, prepare_hint: str | None) -> dict[str, dict[str, Any]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_Object)
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such manifest; make it with: {prepare_hint or _guess_hint(path)}") from None
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ManifestError(f"{path}: damaged JSON at {where} ({error.msg}); prepare the data again") from error
    _check_entries(path, entries)
    if entries.repeated:
        raise ManifestError(f"{path}: utterance {entries.repeated[0]!r} appears twice; ids must be unique")
    return entries


def _guess_hint(path: Path) -> str:
    """The command of the preparation script in the working folder: a recipe is run from inside its own."""
    scripts = sorted(Path().glob("*_prepare.py"))
    return f"python {scripts[0] if scripts else '<dataset>_prepare.py'} DATA_FOLDER {path.parent}"


def _root(path: Path, data_root: str | Path | None) -> Path | None:
    if data_root is not None:
        return Path(data_root).resolve()
    remembered = path.parent / ROOT_FILE
    return Path(remembered.read_text(encoding="utf-8").strip()) if remembered.is_file() else None


def _check_entries(path: Path, entries: Any) -> None:
    if not isinstance(entries, Mapping):
        kind = type(entries).__name__
        raise ManifestError(f"{path}: a manifest is a JSON object {{id: {{wav, length, words}}}}, not a {kind}")
    if not entries:
        raise ManifestError(f"{path}: the manifest holds no utterance")


def _check_entry(path: Path, name: str, entry: Any, root: Path | None) -> Path:
    """The entry's audio file, once every field is what it must be."""
    _check_types(path, name, entry)
    where = f"{path}: utterance {name!r}"
    if not math.isfinite(entry["length"]) or entry["length"] <= 0:
        raise ManifestError(f"{where}: 'length' is {entry['length']}; expected seconds above 0")
    for field in ("sample_rate", "num_samples", "channels"):
        if entry.get(field, 1) <= 0:
            raise ManifestError(f"{where}: {field!r} is {entry[field]}; expected a number above 0")
    if not entry["words"].strip():
        raise ManifestError(f"{where}: 'words' is empty; drop the utterance or transcribe it")
    if PLACEHOLDER in entry["wav"] and root is None:
        raise ManifestError(f"{where}: 'wav' needs {PLACEHOLDER}: set data_root, or write it to {ROOT_FILE} beside it")
    wav = path.parent / entry["wav"].replace(PLACEHOLDER, str(root))
    if not wav.is_file():
        raise ManifestError(f"{where}: no audio file {wav}; prepare the data again or set data_root")
    return wav


def _check_types(path: Path, name: str, entry: Any) -> None:
    where = f"{path}: utterance {name!r}"
    if not isinstance(entry, Mapping):
        raise ManifestError(f"{where}: expected an object with {', '.join(REQUIRED)}, not {entry!r}")
    if getattr(entry, "repeated", None):
        raise ManifestError(f"{where}: field {entry.repeated[0]!r} appears twice")
    for field, kind in REQUIRED.items():
        if field not in entry:
            raise ManifestError(f"{where}: field {field!r} is missing")
        _check_type(where, field, entry[field], kind)
    for field, kind in OPTIONAL.items():
        if field in entry:
            _check_type(where, field, entry[field], kind)


def _check_type(where: str, field: str, value: Any, kind: type | tuple[type, ...]) -> None:
    # True is an int to Python, but not a length.
    if not isinstance(value, kind) or isinstance(value, bool):
        wanted = "a text" if kind is str else "a whole number" if kind is int else "a number"
        raise ManifestError(f"{where}: {field!r} is {value!r}; expected {wanted}")


def _cut(path: Path, name: str, entry: Mapping[str, Any], root: Path | None) -> Cut:
    from lhotse import AudioSource, MonoCut, MultiCut, Recording, SupervisionSegment

    wav = _check_entry(path, name, entry, root)
    info = _audio_info(path, name, entry, wav)
    channels = list(range(info.channels))
    source = AudioSource(type="file", channels=channels, source=str(wav))
    recording = Recording(name, [source], info.sample_rate, info.num_samples, info.length)
    fields = {"text": entry["words"], "speaker": entry.get("speaker"), "language": entry.get("language")}
    supervision = SupervisionSegment(name, name, 0.0, info.length, channels if info.channels > 1 else 0, **fields)
    custom = {key: value for key, value in entry.items() if key not in REQUIRED and key not in OPTIONAL}
    kind, channel = (MonoCut, 0) if info.channels == 1 else (MultiCut, channels)
    return kind(name, 0.0, info.length, channel, [supervision], recording=recording, custom=custom or None)


def _audio_info(path: Path, name: str, entry: Mapping[str, Any], wav: Path) -> AudioInfo:
    """What the manifest says of the audio file, else what the file says."""
    where = f"{path}: utterance {name!r}"
    if "sample_rate" in entry and "num_samples" in entry:
        info = AudioInfo(entry["sample_rate"], entry["num_samples"], entry.get("channels", 1))
    else:
        try:
            info = probe_audio(wav)
        except AudioError as error:
            raise ManifestError(f"{where}: {error}") from error
    if abs(info.length - entry["length"]) > LENGTH_TOLERANCE_S:
        raise ManifestError(f"{where}: 'length' is {entry['length']} s, but its audio has {info.length:.3f} s")
    return info
