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
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lhotse import AudioSource
from lhotse.cut import Cut

from toolkit.dataio.containers import AudioInfo, read_header
from toolkit.dataio.nemo_adapters import Paths, expand_sharded_filepaths
from toolkit.dataio.shards import Shards
from toolkit.dataio.tar_members import TarMember, find_member
from toolkit.dataio.text_adapters import AudioTurn, NeMoMultimodalConversation, TextTurn, Turn
from toolkit.dataio.text_readers import Seed, json_lines, text_of
from toolkit.dataio.utterances import Utterance, file_source, locate
from toolkit.errors import ConfigError, ManifestError
from toolkit.files import replacing

Item = dict[str, Any]


class NeMoMultimodalConversationJsonlAdapter(Shards):
    """Conversations of JSONL files, whose audio is in files or in tar files.

    Parameters
    ----------
    manifest_filepath
        The JSONL files.
    audio_locator_tag
        What marks the place of audio in a prompt: a token of its own, such as ``[audio]``.
    tarred_audio_filepaths
        A tar file for each JSONL file, with the audio under the names that the turns have as ``value``.
    token_equivalent_duration
        Seconds of audio that take the place of a token.
    """

    def __init__(
        self,
        manifest_filepath: Paths,
        audio_locator_tag: str,
        tarred_audio_filepaths: Paths | None = None,
        token_equivalent_duration: float | None = None,
        *,
        shuffle_shards: bool = False,
        shard_seed: Seed = "trng",
    ) -> None:
        manifests = expand_sharded_filepaths(manifest_filepath)
        finders, tars = [partial(_file, Path(manifest).parent) for manifest in manifests], None
        if tarred_audio_filepaths is not None:
            tars = expand_sharded_filepaths(tarred_audio_filepaths)
            finders = [partial(_member, tar) for tar in tars]
        if len(manifests) != len(finders):
            counts = f"{len(manifests)} and {len(finders)} files"
            raise ConfigError(
                f"manifest_filepath, tarred_audio_filepaths: {counts}; expected one tar for each manifest"
            )
        sources = [
            json_lines(manifest, _Builder(find, audio_locator_tag, token_equivalent_duration))
            for manifest, find in zip(manifests, finders, strict=True)
        ]
        super().__init__(sources, shuffle=shuffle_shards, seed=shard_seed, stored_in=tars)


@dataclass(frozen=True)
class _Builder:
    """From a line to a conversation, whose audio ``find`` finds."""

    find: Callable[[str], AudioSource]
    audio_locator_tag: str
    token_equivalent_duration: float | None

    def __call__(self, item: Item) -> NeMoMultimodalConversation:
        names = (f"{item['id']}_turn{number}" for number in range(len(item["conversations"])))
        turns = [self._turn(name, turn) for name, turn in zip(names, item["conversations"], strict=True)]
        if not turns:
            raise ValueError("a conversation of no turns")
        return NeMoMultimodalConversation(item["id"], turns, self.token_equivalent_duration, item.get("custom"))

    def _turn(self, name: str, turn: Item) -> Turn:
        role, value = text_of(turn, "from").lower(), text_of(turn, "value")
        if turn["type"] == "text":
            return TextTurn(value, role)
        if turn["type"] != "audio":
            raise ValueError(f"turn of type {turn['type']!r}; expected 'text' or 'audio'")
        return AudioTurn(self._cut(name, turn), role, self.audio_locator_tag, turn.get("text"))

    def _cut(self, name: str, turn: Item) -> Cut:
        source, start, length = self.find(turn["value"]), turn.get("offset", 0.0), turn.get("duration")
        if "sampling_rate" in turn and length is not None:
            info = AudioInfo(turn["sampling_rate"], round((start + length) * turn["sampling_rate"]))
        else:
            info = source.probe() if isinstance(source, TarMember) else read_header(source.source)
        return Utterance(name, source, info, start, length, text=turn.get("text")).cut()


def _file(folder: Path, name: str) -> AudioSource:
    return file_source(locate(name, folder))


def _member(tar: str, name: str) -> TarMember:
    member = find_member(tar, name)
    if member is None:
        raise ManifestError(f"{tar}: has no member {name!r}, which its manifest names; make the tar again")
    return member


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
