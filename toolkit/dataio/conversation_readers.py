"""Conversations of text and audio, read from JSONL files and written to them. The names are NeMo's.

A line is::

    {"id": "convo-1", "conversations": [
        {"from": "User", "type": "text", "value": "Tell me what you hear."},
        {"from": "User", "type": "audio", "value": "audio/rec.flac", "duration": 17.11},
        {"from": "Assistant", "type": "text", "value": "Somebody welcomes me."}]}

A turn of audio may have ``offset``, where in the file it begins, ``text``, its transcript, and ``sampling_rate``; with
it and ``duration`` the file is not opened before its samples are asked for.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lhotse import AudioSource, Recording
from lhotse.audio import AudioLoadingError
from lhotse.cut import Cut

from toolkit.dataio.containers import LENGTH_TOLERANCE_S, AudioInfo, probe_audio
from toolkit.dataio.nemo_adapters import expand_sharded_filepaths
from toolkit.dataio.text_adapters import AudioTurn, NeMoMultimodalConversation, TextTurn, Turn
from toolkit.dataio.text_readers import Paths, ShardReader, read_jsonl
from toolkit.errors import AudioError, ConfigError, ManifestError
from toolkit.files import replacing

Item = dict[str, Any]


@dataclass
class NeMoMultimodalConversationJsonlAdapter(ShardReader):
    """Conversations of JSONL files, whose audio is in files or in tar files.

    Attributes
    ----------
    manifest_filepath
        The JSONL files.
    audio_locator_tag
        What marks the place of audio in a prompt: a token of its own, such as ``[audio]``.
    tarred_audio_filepaths
        A tar file for each JSONL file, whose members come in the order of the turns and are named by their ``value``;
        members that no turn names are passed over.
    token_equivalent_duration
        Seconds of audio that take the place of a token.
    """

    manifest_filepath: Paths
    audio_locator_tag: str
    tarred_audio_filepaths: Paths | None = None
    token_equivalent_duration: float | None = None

    def shards(self) -> list[tuple[str, str | None]]:
        """The JSONL files with their tar files."""
        manifests = expand_sharded_filepaths(self.manifest_filepath)
        if self.tarred_audio_filepaths is None:
            return [(manifest, None) for manifest in manifests]
        tars = expand_sharded_filepaths(self.tarred_audio_filepaths)
        if len(manifests) != len(tars):
            counts = f"{len(manifests)} and {len(tars)} files"
            raise ConfigError(
                f"manifest_filepath, tarred_audio_filepaths: {counts}; expected one tar for each manifest"
            )
        return list(zip(manifests, tars, strict=True))

    def read(self, shard: tuple[str, str | None]) -> Iterator[NeMoMultimodalConversation]:
        """The conversations of one file."""
        manifest, tar = shard
        recording_of = _TarredAudio(tar) if tar is not None else partial(_recording_of_file, Path(manifest))
        return read_jsonl(manifest, partial(self._conversation, recording_of))

    def _conversation(self, recording_of: Callable[[Item], Recording], item: Item) -> NeMoMultimodalConversation:
        turns = [
            self._turn(recording_of, f"{item['id']}_turn{number}", turn)
            for number, turn in enumerate(item["conversations"])
        ]
        if not turns:
            raise ValueError("a conversation of no turns")
        return NeMoMultimodalConversation(item["id"], turns, self.token_equivalent_duration, item.get("custom"))

    def _turn(self, recording_of: Callable[[Item], Recording], name: str, turn: Item) -> Turn:
        role, kind = turn["from"].lower(), turn["type"]
        if kind == "text":
            return TextTurn(turn["value"], role)
        if kind != "audio":
            raise ValueError(f"turn of type {kind!r}; expected 'text' or 'audio'")
        return AudioTurn(_stretch(recording_of(turn), name, turn), role, self.audio_locator_tag, turn.get("text"))


def _recording_of_file(manifest: Path, turn: Item) -> Recording:
    """The audio file of a turn: as it is named, or in the folder of the manifest."""
    path = Path(turn["value"])
    if not path.is_absolute() and not path.exists():
        path = manifest.parent / path
    if "sampling_rate" in turn and "duration" in turn:
        samples = round((turn.get("offset", 0.0) + turn["duration"]) * turn["sampling_rate"])
        info = AudioInfo(turn["sampling_rate"], samples, 1)
    else:
        info = probe_audio(path)
    source = AudioSource("file", list(range(info.channels)), str(path))
    return Recording(path.stem, [source], info.sample_rate, info.num_samples, info.length)


class _TarredAudio:
    """The recordings of a tar file, in the order in which they are asked for; the tar is read once, to its end."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._members = _members(path)

    def __call__(self, turn: Item) -> Recording:
        for name, content in self._members:
            if name == turn["value"]:
                return self._recording(name, content)
        raise ManifestError(
            f"{self._path}: no member {turn['value']!r} after those of the turns before it; members must come in the "
            "order of the manifest's turns"
        )

    def _recording(self, name: str, content: bytes) -> Recording:
        try:
            return Recording.from_bytes(content, Path(name).stem)
        except AudioLoadingError as error:
            raise AudioError(f"{self._path}: member {name!r} is no audio that can be read ({error})") from error


def _members(path: str) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path, "r|*") as tar:
            for member in tar:
                if member.isfile():
                    yield member.name.removeprefix("./"), tar.extractfile(member).read()
    except (OSError, tarfile.TarError) as error:
        raise ManifestError(f"{path}: cannot be read as a tar file ({error})") from error


def _stretch(recording: Recording, name: str, turn: Item) -> Cut:
    """The part of a recording that a turn speaks of; all of it where it says nothing."""
    offset, duration = turn.get("offset", 0.0), turn.get("duration")
    missing = offset + (duration or 0.0) - recording.duration
    if missing > LENGTH_TOLERANCE_S or offset >= recording.duration:
        asked = f"from {offset} s on" if duration is None else f"{duration} s from {offset} s on"
        raise ValueError(f"{turn['value']}: {asked}, but its audio has {recording.duration:.3f} s")
    cut = recording.to_cut()
    cut.id = name
    if duration is not None:
        duration = min(duration, recording.duration - offset)
    return cut.truncate(offset=offset, duration=duration, preserve_id=True)


def write_conversations(path: str | Path, conversations: Iterable[NeMoMultimodalConversation]) -> None:
    """A JSONL file of conversations, one in memory at a time; it appears when it is whole.

    Raises
    ------
    DataError
        A turn's audio is in no file.
    """
    with replacing(path) as partial_path, partial_path.open("w", encoding="utf-8") as file:
        for conversation in conversations:
            file.write(json.dumps(conversation.to_dict(), ensure_ascii=False) + "\n")
