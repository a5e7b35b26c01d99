"""Where noises and room impulse responses come from: folders and lists of files, or what Lhotse and NeMo take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lhotse import AudioSource, MonoCut, Recording
from lhotse.cut import Cut, MultiCut

from toolkit.dataio.containers import AUDIO_SUFFIXES, probe_audio
from toolkit.dataio.lhotse_adapters import read_cuts, read_shar, shar_fields
from toolkit.dataio.unpacked import unpacked
from toolkit.dataio.utterances import locate
from toolkit.errors import ConfigError, DataError


def read_noises(path: str | Path) -> tuple[Cut, ...]:
    """The first channel of each noise of Lhotse's cuts (JSONL), of a folder of Shar, or of :func:`list_audio`.

    Raises
    ------
    ConfigError
        No such folder or file.
    DataError
        Nothing in it.
    """
    path = Path(path)
    if path.is_dir() and any(path.glob("cuts.*")):
        cuts = read_shar(shar_fields(path, metadata_only=False), shuffle=False, seed=0, slice_length=None)
    elif path.is_file() and _holds_cuts(path):
        cuts = read_cuts(path)
    else:
        return tuple(noise_cut(file) for file in list_audio(path, "noise"))
    noises = tuple(_first_channel(cut).drop_supervisions().drop_features() for cut in cuts)
    if not noises:
        raise DataError(f"noise_path: {path}: holds no cut")
    return noises


def _holds_cuts(path: Path) -> bool:
    """Whether the first line is a cut, as Lhotse writes it."""
    with unpacked(path).open(encoding="utf-8") as file:
        try:
            entry = json.loads(file.readline())
        except ValueError:
            return False
    return isinstance(entry, dict) and ("recording" in entry or "tracks" in entry)


def _first_channel(cut: Cut) -> Cut:
    return cut.to_mono()[0].with_id(cut.id) if isinstance(cut, MultiCut) else cut


def noise_cut(path: Path) -> MonoCut:
    """The first channel of a noise."""
    info = probe_audio(path)
    source = AudioSource("file", list(range(info.channels)), str(path))
    recording = Recording(path.name, [source], info.sample_rate, info.num_samples, info.length)
    return MonoCut(path.name, 0.0, info.length, 0, [], recording=recording)


def list_audio(path: str | Path, kind: str) -> list[Path]:
    """Audio files of a folder or of a JSONL list (a folder's ``manifest.jsonl`` counts as its list), sorted.

    A line of the list holds ``audio`` or ``audio_filepath``, relative to the list, and possibly ``kind``, or is a
    recording of Lhotse's; the list may be compressed (``.gz``)::

        {"audio": "rirs/rir_clap.wav", "kind": "rir", "sample_rate": 44100}
        {"id": "rir_clap", "sources": [{"type": "file", "channels": [0], "source": "rirs/rir_clap.wav"}], ...}

    Raises
    ------
    ConfigError
        No such folder or list.
    DataError
        Nothing of that kind in it.
    """
    path = Path(path)
    if path.is_dir():
        listed = path / "manifest.jsonl"
        files = _read_list(listed, kind) if listed.is_file() else [one for one in path.rglob("*") if _is_audio(one)]
    elif path.is_file():
        files = _read_list(path, kind)
    else:
        raise ConfigError(f"{kind}_path: {path}: no such folder or list")
    if not files:
        raise DataError(f"{kind}_path: {path}: holds no audio file of kind {kind!r}")
    return sorted(files)


def _is_audio(path: Path) -> bool:
    return path.suffix.lower() in AUDIO_SUFFIXES


def _read_list(path: Path, kind: str) -> list[Path]:
    files = []
    for number, line in enumerate(unpacked(path).read_text(encoding="utf-8").splitlines(), start=1):
        try:
            entry = json.loads(line)
            file = _file_of(entry, path.parent)
        except (ValueError, TypeError, KeyError) as error:
            wanted = '{"audio": FILE, ...}, nor a recording of one file'
            raise DataError(f"{path}: line {number} is not {wanted}: {line[:80]!r}") from error
        if entry.get("kind", kind) == kind:
            files.append(file)
    return files


def _file_of(entry: dict[str, Any], folder: Path) -> Path:
    """The file of a line; of a recording, by Lhotse's rule, in the working folder, else beside the list."""
    if "sources" not in entry:
        return folder / (entry["audio"] if "audio" in entry else entry["audio_filepath"])
    [source] = entry["sources"]
    if source["type"] != "file":
        raise ValueError(f"expected a file, not {source['type']}")
    return Path(locate(source["source"], folder))
