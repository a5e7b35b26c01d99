"""Manifests written utterance by utterance: SpeechBrain's JSON and CSV, NeMo's, and Lhotse's cuts.

They refer to the audio files there are. What is not a file of its own, or not as the manifest could say (of a tar,
resampled, a part where the format has none), is written without loss to the folder ``<manifest>_audio``, which is new.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from lhotse import AudioSource, MonoCut, MultiCut, Recording
from lhotse.cut import Cut, MixedCut

from toolkit.dataio.containers import AudioInfo
from toolkit.dataio.exact_audio import audio_file, is_whole
from toolkit.dataio.manifest_entries import check_entry
from toolkit.dataio.manifest_layouts import COLUMNS
from toolkit.dataio.nemo_adapters import AUDIO_FIELDS
from toolkit.dataio.utterances import transcript
from toolkit.errors import ManifestError
from toolkit.files import write_atomically

# What every format has a place for, so that it is not a field of the user's.
_STANDARD = {
    *AUDIO_FIELDS,
    *("id", "duration", "offset", "text", "words", "wav", "length", "lang", "language", "speaker"),
    *("sampling_rate", "sample_rate", "num_samples", "channels", "shard_id", "shard_origin"),
}
_LONGEST_NAME = 200  # bytes; file systems take 255
_CSV_FIELDS = ("length", "wav", "speaker", "words", "language", "sample_rate", "num_samples", "channels")


def audio_folder(path: Path) -> Path:
    """Where the audio is that is written for a manifest."""
    return path.with_name(f"{path.name}_audio")


class ManifestWriter:
    """Writes cuts to an open text file, which will be ``path``; a DataError leaves a cut out, and no trace of it."""

    def __init__(self, stream: TextIO, path: Path) -> None:
        self.stream, self.path = stream, path
        self.audio_folder = audio_folder(path)
        self._seen: set[int] = set()
        self.start()

    def start(self) -> None:
        """Write what stands before the first utterance."""

    def add(self, cut: Cut) -> None:
        """Write an utterance."""
        if hash(cut.id) in self._seen:
            raise ManifestError(f"utterance {cut.id!r} appears twice; ids must be unique")
        line = self.line(cut)
        self.stream.write(line)
        self._seen.add(hash(cut.id))

    def line(self, cut: Cut) -> str:
        """What stands in the manifest for the cut."""
        raise NotImplementedError

    def finish(self) -> None:
        """Write what stands after the last utterance."""

    def place(self, cut: Cut, *, parts: bool = False) -> Place:
        """Where the audio of a cut is; with ``parts``, it may be a part of a file."""
        if _in_a_file(cut) and (is_whole(cut) or parts):
            path, recording = Path(cut.recording.sources[0].source).resolve(), cut.recording
            info = AudioInfo(recording.sampling_rate, recording.num_samples, recording.num_channels)
            return Place(self.portable(path), info, None if is_whole(cut) else cut.start)
        audio = audio_file(cut)
        path = self.audio_folder / f"{file_name(cut.id)}{audio.suffix}"
        write_atomically(path, audio.content)
        return Place(self.portable(path.resolve()), audio.info)

    def portable(self, path: Path) -> str:
        """The path as seen from the manifest's folder where it is below that, else absolute."""
        folder = self.path.parent.resolve()
        return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


@dataclass(frozen=True)
class Place:
    """A file as a manifest has it, what it holds, and the second where the utterance begins where it is a part."""

    path: str
    info: AudioInfo
    offset: float | None = None


def _in_a_file(cut: Cut) -> bool:
    """Whether the cut is a stretch of one file, of all channels, unchanged."""
    if isinstance(cut, MixedCut) or len(cut.recording.sources) != 1 or cut.recording.transforms:
        return False
    channels = 1 if isinstance(cut.channel, int) else len(cut.channel)
    return cut.recording.sources[0].type == "file" and channels == cut.recording.num_channels


class SpeechBrainJson(ManifestWriter):
    """A JSON object, an utterance a line."""

    def start(self) -> None:
        """Open the object."""
        self.stream.write("{")
        self._comma = "\n"

    def line(self, cut: Cut) -> str:
        """``"id": {"wav": ..., "length": ..., "words": ...}``, after a comma where another one stands before it."""
        entry = speechbrain_entry(cut, self.place(cut))
        line = f"{self._comma}{json.dumps(cut.id, ensure_ascii=False)}: {json.dumps(entry, ensure_ascii=False)}"
        self._comma = ",\n"
        return line

    def finish(self) -> None:
        """Close the object."""
        self.stream.write("\n}\n")


class SpeechBrainCsv(ManifestWriter):
    """A line of SpeechBrain's column names, then a line for each utterance; it has no columns for other fields."""

    def start(self) -> None:
        """Name the columns."""
        names = {field: name for name, field in COLUMNS.items()}
        self.stream.write(_row(["ID", *(names.get(field, field) for field in _CSV_FIELDS)]))

    def line(self, cut: Cut) -> str:
        """A value for each column."""
        entry = speechbrain_entry(cut, self.place(cut))
        return _row([cut.id, *(entry.get(field, "") for field in _CSV_FIELDS)])


def _row(values: list[Any]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(values)
    return stream.getvalue()


def speechbrain_entry(cut: Cut, place: Place) -> dict[str, Any]:
    """The fields of an utterance in a SpeechBrain manifest.

    Raises
    ------
    ManifestError
        It has no words.
    """
    info = place.info
    numbers = {"sample_rate": info.sample_rate, "num_samples": info.num_samples}
    numbers |= {"channels": info.channels} if info.channels > 1 else {}
    entry = {"wav": place.path, "length": info.length, "words": said(cut), **_voice(cut, "language"), **numbers}
    check_entry(cut.id, entry)
    return entry | own_fields(cut)


class NeMoManifest(ManifestWriter):
    """A line of JSON for each utterance; parts of recordings have an ``offset``, and ``id`` is the cut's."""

    def line(self, cut: Cut) -> str:
        """``{"audio_filepath": ..., "duration": ..., "text": ...}``."""
        return nemo_line(cut, self.place(cut, parts=True))


def nemo_line(cut: Cut, place: Place, **fields: Any) -> str:
    """The line of an utterance."""
    info = place.info
    entry = {"audio_filepath": place.path, "duration": info.length if place.offset is None else cut.duration}
    entry |= {} if place.offset is None else {"offset": place.offset}
    entry |= {"text": said(cut), **_voice(cut, "lang"), "id": cut.id}
    # With it a reader need not open the file, and takes it for one of a single channel.
    entry |= {"sampling_rate": info.sample_rate} if info.channels == 1 else {}
    return json.dumps(entry | fields | own_fields(cut), ensure_ascii=False) + "\n"


class LhotseCuts(ManifestWriter):
    """A cut a line, with all that Lhotse knows of it."""

    def line(self, cut: Cut) -> str:
        """All of the cut, with its audio in files."""
        parts = [track.cut for track in cut.tracks] if isinstance(cut, MixedCut) else [cut]
        if all(source.type in ("file", "url", "command") for part in parts for source in _sources(part)):
            return cut_line(_absolute(cut))
        place = self.place(cut)
        path = (self.path.parent / place.path).resolve()
        return cut_line(moved(cut, AudioSource("file", list(range(place.info.channels)), str(path)), place.info))


def _sources(cut: Cut) -> list[AudioSource]:
    return cut.recording.sources if cut.has_recording else []


def _absolute(cut: Cut) -> Cut:
    """The cut itself, whose files can be found from any working folder."""
    for part in [track.cut for track in cut.tracks] if isinstance(cut, MixedCut) else [cut]:
        for source in _sources(part):
            if source.type == "file":
                source.source = str(Path(source.source).resolve())
    return cut


def cut_line(cut: Cut) -> str:
    """The JSON of a cut."""
    values = cut.to_dict()
    if "custom" in values:
        values["custom"] = own_fields(cut)
    return json.dumps(values, ensure_ascii=False) + "\n"


def moved(cut: Cut, source: AudioSource, info: AudioInfo) -> Cut:
    """The cut with its audio, and nothing else, in another place."""
    recording = Recording(cut.id, [source], info.sample_rate, info.num_samples, info.length)
    kind, channel = (MultiCut, list(range(info.channels))) if info.channels > 1 else (MonoCut, 0)
    supervisions = [one.with_offset(0.0) for one in cut.supervisions]
    for one in supervisions:
        one.channel, one.recording_id = channel, cut.id
    custom = own_fields(cut) or None
    return kind(cut.id, 0.0, info.length, channel, supervisions, recording=recording, custom=custom)


def said(cut: Cut) -> str:
    """The words of a cut, one space apart."""
    return " ".join(transcript(cut).split())


def _voice(cut: Cut, language_field: str) -> dict[str, str]:
    """Speaker and language, where they are known."""
    first = cut.supervisions[0] if cut.supervisions else None
    custom = own_custom(cut)
    language = (first and first.language) or custom.get("language")  # a tag
    values = {"speaker": first and first.speaker, language_field: language}
    return {key: value for key, value in values.items() if value is not None}


def own_fields(cut: Cut) -> dict[str, Any]:
    """The user's fields of a cut that JSON can hold."""
    return {key: value for key, value in own_custom(cut).items() if key not in _STANDARD and _is_json(value)}


def own_custom(cut: Cut) -> Mapping[str, Any]:
    """The custom fields of a cut; of a mixed one, those of its first track."""
    return getattr(cut, "custom", None) or {}


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def file_name(name: str) -> str:
    """An id as the name of a file, without a suffix; different ones for different ids."""
    written = re.sub(r"[^\w\-. ]", lambda match: f"%{ord(match[0]):02X}", name)
    if len(written.encode()) <= _LONGEST_NAME:
        return written
    return f"{written[: _LONGEST_NAME // 4]}-{hashlib.blake2b(name.encode(), digest_size=8).hexdigest()}"


def open_text(path: Path, mode: str = "w") -> TextIO:
    """The file, open to write or read UTF-8; compressed where its name ends in ``.gz``."""
    opened = gzip.open if path.suffix == ".gz" else open
    return opened(path, f"{mode}t", encoding="utf-8", newline="\n")


WRITERS = {
    "speechbrain_json": SpeechBrainJson,
    "speechbrain_csv": SpeechBrainCsv,
    "nemo": NeMoManifest,
    "lhotse": LhotseCuts,
}
