"""Data types of texts and conversations: what their configurations say, handed to their readers.

Texts come again and again unless ``force_finite`` is set, and are read best in the worker processes.
"""

from __future__ import annotations

from lhotse import CutSet
from omegaconf import DictConfig

from toolkit.dataio.blend import endless
from toolkit.dataio.config_values import plain
from toolkit.dataio.conversation_readers import NeMoMultimodalConversationJsonlAdapter
from toolkit.dataio.data_types import data_type_parser
from toolkit.dataio.text_readers import (
    LhotseTextAdapter,
    LhotseTextPairAdapter,
    LhotseTextPairAdapterFromJsonl,
    NeMoSFTJsonlAdapter,
)


def _read(reader: type, config: DictConfig, *keys: str) -> tuple[CutSet, bool]:
    """What ``reader`` makes of those keys that are set."""
    given = {key: plain(config[key]) for key in keys if config.get(key) is not None}
    return endless(reader(**given, shuffle_shards=config.shuffle, shard_seed=config.shard_seed), config), True


@data_type_parser("txt", needs="paths", takes="language")
def read_txt(config: DictConfig) -> tuple[CutSet, bool]:
    """A text of each line."""
    return _read(LhotseTextAdapter, config, "paths", "language")


@data_type_parser(
    "txt_pair",
    needs="source_paths target_paths",
    takes="source_language target_language questions_path questions_language",
)
def read_txt_pair(config: DictConfig) -> tuple[CutSet, bool]:
    """A source and a target of the same lines of two files."""
    languages = ("source_language", "target_language", "questions_path", "questions_language")
    return _read(LhotseTextPairAdapter, config, "source_paths", "target_paths", *languages)


@data_type_parser("txt_pair_jsonl", needs="manifest_path", takes="")
def read_txt_pair_jsonl(config: DictConfig) -> tuple[CutSet, bool]:
    """A source and a target of each line."""
    return _read(LhotseTextPairAdapterFromJsonl, config, "manifest_path")


@data_type_parser("nemo_sft_jsonl", needs="paths", takes="language")
def read_nemo_sft_jsonl(config: DictConfig) -> tuple[CutSet, bool]:
    """A chat of each line."""
    return _read(NeMoSFTJsonlAdapter, config, "paths", "language")


@data_type_parser(
    "multimodal_conversation", needs="manifest_filepath audio_locator_tag", takes="tarred_audio_filepaths"
)
def read_multimodal_conversation(config: DictConfig) -> tuple[CutSet, bool]:
    """A conversation of each line."""
    keys = ("manifest_filepath", "tarred_audio_filepaths", "audio_locator_tag", "token_equivalent_duration")
    return _read(NeMoMultimodalConversationJsonlAdapter, config, *keys)
