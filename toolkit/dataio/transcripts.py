"""Who said what, by id, from references and from what recognisers wrote, to be scored.

txt      ``an251-fash-b<TAB>YES`` or ``an251-fash-b YES``, as ``asr transcribe``, Kaldi and LibriSpeech write it
jsonl    ``{"file": "an251-fash-b", "text": "YES", ...}``, as ``asr transcribe`` writes it, or with an ``id``
trn      ``YES (an251-fash-b)``
ctm      ``an251-fash-b 1 0.20 0.35 YES``, a word a line
stm      ``an251-fash-b 1 fash 0.00 1.10 <o,f0,female> YES``
json     SpeechBrain's manifests, as csv; their audio need not be there
others   manifests and folders of data of any format that recipes read
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.dataio.containers import AUDIO_SUFFIXES
from toolkit.dataio.manifest_entries import REQUIRED, Folders
from toolkit.dataio.manifest_layouts import CsvLayout, JsonLayout
from toolkit.errors import DataError, ManifestError

NAMED = 5  # ids in a message

# Of NeMo's and Lhotse's manifests, which no line of transcripts has.
_MANIFEST_FIELDS = {"audio_filepath", "audio_file", "supervisions", "recording", "tracks"}


@dataclass(frozen=True)
class Spoken:
    """What was said in a recording.

    Attributes
    ----------
    text
        The words.
    audio, start, seconds
        The file, if it is known, and which part of it; all of it where there are no seconds.
    fields
        What else is known: speaker, language, and what the manifest has.
    """

    text: str
    audio: str = ""
    start: float = 0.0
    seconds: float | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


Named = tuple[str, Spoken]


def read_transcripts(path: str | Path) -> dict[str, Spoken]:
    """What was said, by id, in the order of the file.

    Raises
    ------
    DataError
        The file cannot be read, a line of it says nothing, or an id is there twice.
    """
    path = Path(path)
    found: dict[str, Spoken] = {}
    for name, spoken in _reader(path)(path):
        if name in found:
            raise DataError(f"{path}: {name!r} is there twice; a recording has one transcript")
        found[name] = spoken
    if not found:
        raise DataError(f"{path}: holds no transcript")
    return found


Transcripts = Mapping[str, Spoken]


def match(references: Transcripts, found: Transcripts, *, where: str, missing: bool) -> dict[str, str]:
    """What was recognised, by the ids of the references.

    Ids are the same, or, where none is, paths of audio files whose names without suffix are: those of `asr transcribe`
    for the recordings of a manifest.

    Parameters
    ----------
    where
        What was recognised is from, for messages.
    missing
        Whether a reference without a transcript is one of which nothing was recognised.

    Raises
    ------
    DataError
        A reference has no transcript, or a transcript no reference; names some of both.
    """
    if not references.keys() & found.keys():
        found = _by_stem(references, found)
    lost = [name for name in references if name not in found]
    strange = [name for name in found if name not in references]
    if strange or (lost and not missing):
        parts = [f"{len(lost)} references have no transcript ({_some(lost)})"] if lost else []
        parts += [f"{len(strange)} transcripts have no reference ({_some(strange)})"] if strange else []
        hint = "" if strange else "; --missing deletions counts them as not recognised"
        raise DataError(f"{where}: {', and '.join(parts)}{hint}")
    return {name: found[name].text if name in found else "" for name in references}


def _by_stem(references: Transcripts, found: Transcripts) -> Transcripts:
    """The same by the ids of the references whose id or audio file has that name; unchanged where any has not one."""
    by_id = {stem(name): name for name in references}
    by_audio = {stem(one.audio): name for name, one in references.items()}
    for stems in (by_id, by_audio):
        if len(stems) == len(references) and len({stem(name) for name in found} & stems.keys()) == len(found):
            return {stems[stem(name)]: spoken for name, spoken in found.items()}
    return found


def stem(path: str) -> str:
    """The name of an audio file without folder and suffix."""
    name = path.rpartition("/")[2]
    head, dot, suffix = name.rpartition(".")
    return head if f"{dot}{suffix}".lower() in AUDIO_SUFFIXES else name


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def _reader(path: Path) -> Callable[[Path], Iterable[Named]]:
    """What reads the file."""
    suffix = path.suffix.lower()
    if suffix in _READERS:
        return _READERS[suffix]
    if path.is_dir() or suffix in (".gz", ".zst"):
        return _of_manifest
    if suffix in (".json", ".jsonl") and _MANIFEST_FIELDS & _first_entry(path).keys():
        return _of_manifest
    return {".jsonl": _of_json_lines, ".json": _of_speechbrain, ".csv": _of_speechbrain}.get(suffix, _of_lines)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines that are neither empty nor comments (``;;``)."""
    try:
        with path.open(encoding="utf-8") as file:
            yield from ((number, line.rstrip("\n")) for number, line in enumerate(file, 1) if _says_something(line))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.startswith(";;")


def _of_lines(path: Path) -> Iterator[Named]:
    for _, line in _lines(path):
        name, _, text = line.partition("\t") if "\t" in line else line.partition(" ")
        yield name, Spoken(text, _file(name))


def _first_entry(path: Path) -> Mapping[str, Any]:
    """The JSON object of the first line; an empty one where it is none."""
    try:
        entry = json.loads(next((line for _, line in _lines(path)), ""))
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _of_json_lines(path: Path) -> Iterator[Named]:
    for number, line in _lines(path):
        try:
            entry = json.loads(line)
            name, text = entry.get("id", entry.get("file")), entry["text"]
        except (ValueError, KeyError, AttributeError):
            name = text = None
        if not isinstance(name, str) or not isinstance(text, str):
            raise DataError(f'{path}, line {number}: expected {{"file": "...", "text": "...", ...}}, not {line[:80]}')
        yield name, Spoken(text, _file(entry.get("file", name)), fields=entry)


def _of_trn(path: Path) -> Iterator[Named]:
    for number, line in _lines(path):
        found = re.fullmatch(r"(.*)\(([^()]+)\)\s*", line)
        if not found:
            raise DataError(f"{path}, line {number}: expected WORDS (ID), not {line[:80]}")
        yield found[2].strip(), Spoken(found[1].strip())


def _of_ctm(path: Path) -> Iterator[Named]:
    words: dict[str, list[tuple[float, str]]] = {}
    for number, line in _lines(path):
        fields = line.split()
        if len(fields) < 5 or not _is_number(fields[2]):
            raise DataError(f"{path}, line {number}: expected FILE CHANNEL START SECONDS WORD, not {line[:80]}")
        words.setdefault(fields[0], []).append((float(fields[2]), fields[4]))
    for name, timed in words.items():
        yield name, Spoken(" ".join(word for _, word in sorted(timed, key=lambda pair: pair[0])))


def _of_stm(path: Path) -> Iterator[Named]:
    said: dict[str, list[tuple[float, str, str]]] = {}
    for number, line in _lines(path):
        fields = line.split(maxsplit=5)
        if len(fields) < 5 or not _is_number(fields[3]):
            raise DataError(f"{path}, line {number}: expected FILE CHANNEL SPEAKER START END WORDS, not {line[:80]}")
        name, speaker, text = fields[0], fields[2], re.sub(r"^<[^>]*>\s*", "", "".join(fields[5:]))
        if text.upper() == "IGNORE_TIME_SEGMENT_IN_SCORING":
            raise DataError(f"{path}, line {number}: times that are not scored need sclite, which looks at the times")
        said.setdefault(name, []).append((float(fields[3]), speaker, text))
    for name, parts in said.items():
        speakers = {speaker for _, speaker, _ in parts}
        fields = {"speaker": speakers.pop()} if len(speakers) == 1 else {}
        yield name, Spoken(" ".join(text for *_, text in sorted(parts)), fields=fields)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d+\.?\d*|\.\d+", text) is not None


def _of_speechbrain(path: Path) -> Iterator[Named]:
    folders = Folders.of(path, None)
    layout = (CsvLayout if path.suffix.lower() == ".csv" else JsonLayout)(path)
    try:
        for name, entry in layout.whole():
            if not isinstance(entry, Mapping) or not isinstance(entry.get("words", ""), str):
                raise ManifestError(f"utterance {name!r}: expected an object with 'words', not {entry!r}")
            try:
                audio = folders.find(name, entry)
            except (ManifestError, KeyError):  # is elsewhere
                audio = ""
            fields = {key: value for key, value in entry.items() if key not in REQUIRED}
            yield name, Spoken(entry.get("words", ""), audio, fields=fields)
    except ManifestError as error:
        raise DataError(f"{path}: {error}") from error


def _of_manifest(path: Path) -> Iterator[Named]:
    from toolkit.dataio.corpus import Corpus, config_of_path  # with lhotse it takes two seconds
    from toolkit.dataio.utterances import locate, transcript

    folder = path if path.is_dir() else path.parent
    for cut in Corpus.of(str(path), config_of_path(path), metadata_only=True).examples:
        sources = cut.recording.sources if getattr(cut, "recording", None) else []
        audio = locate(sources[0].source, folder) if len(sources) == 1 and sources[0].type == "file" else ""
        custom = {**(cut.custom or {})} if hasattr(cut, "custom") else {}
        said = cut.supervisions[0] if len(cut.supervisions) == 1 else None
        known = {"speaker": said.speaker, "language": said.language} if said else {}
        whole = not cut.start and audio and abs(cut.duration - cut.recording.duration) < 1e-3
        fields = custom | {name: value for name, value in known.items() if value is not None}
        yield cut.id, Spoken(transcript(cut), audio, cut.start, None if whole else cut.duration, fields)


def _file(name: str) -> str:
    """The name, where it is a file's."""
    return name if name.lower().endswith(AUDIO_SUFFIXES) else ""


_READERS: dict[str, Callable[[Path], Iterable[Named]]] = {".trn": _of_trn, ".ctm": _of_ctm, ".stm": _of_stm}
