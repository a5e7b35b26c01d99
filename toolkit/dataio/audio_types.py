"""Data types of utterances: what their configurations say, handed to their readers."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from lhotse import CutSet
from omegaconf import DictConfig

from toolkit.dataio.audio_folder import AudioFolder
from toolkit.dataio.blend import blend, check_weight, endless
from toolkit.dataio.config_values import plain
from toolkit.dataio.data_types import data_type_parser
from toolkit.dataio.indexed import Indexed
from toolkit.dataio.kaldi import KaldiFolder
from toolkit.dataio.lhotse_adapters import read_cuts, read_shar, shar_fields
from toolkit.dataio.manifests import read_manifest
from toolkit.dataio.nemo_adapters import (
    AUDIO_FIELDS,
    LazyNeMoIterator,
    LazyNeMoTarredIterator,
    NeMoFields,
    expand_sharded_filepaths,
)
from toolkit.dataio.shards import Shards
from toolkit.errors import ConfigError

# No line of a manifest is longer (bytes); a SpeechBrain manifest may be one long line.
_LONGEST_LINE = 1 << 20

# Lines that tell what a manifest is.
_FIRST_LINES = 5


@data_type_parser("manifest", needs="manifest_filepath", takes="")
def read_any_manifest(config: DictConfig) -> tuple[CutSet, bool]:
    """Manifests of NeMo or of SpeechBrain, as their first lines tell."""

    def read(path: Any) -> CutSet:
        return _nemo(path, config) if is_nemo(expand_sharded_filepaths(path)[0]) else _speechbrain(path, config)

    return _one_or_blend(config, read, "manifest_filepath"), False


def is_nemo(path: str) -> bool:
    """Whether one of the first lines of a file, of which some may be damaged, is an entry of a NeMo manifest."""
    try:
        with Path(path).open("rb") as file:
            return any(_is_nemo_entry(file.readline(_LONGEST_LINE)) for _ in range(_FIRST_LINES))
    except OSError:  # missing: the other reader says so
        return False


def _is_nemo_entry(line: bytes) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    return isinstance(entry, dict) and any(field in entry for field in AUDIO_FIELDS)


@data_type_parser("nemo", needs="manifest_filepath", takes="tarred_audio_filepaths")
def read_nemo(config: DictConfig) -> tuple[CutSet, bool]:
    """Manifests of NeMo, whose audio is in files, or in tars where it says so."""
    if config.get("tarred_audio_filepaths") is not None:
        return read_nemo_tarred(config)
    return _one_or_blend(config, lambda path: _nemo(path, config), "manifest_filepath"), False


def _nemo(path: Any, config: DictConfig) -> CutSet:
    return CutSet(LazyNeMoIterator(path, _fields(config)))


def _fields(config: DictConfig) -> NeMoFields:
    return NeMoFields(config.text_field, config.lang_field, config.metadata_only, config.data_root)


@data_type_parser("nemo_tarred", needs="manifest_filepath tarred_audio_filepaths", takes="")
def read_nemo_tarred(config: DictConfig) -> tuple[CutSet, bool]:
    """Manifests of NeMo, whose audio is in tars."""
    if config.metadata_only:
        return _one_or_blend(config, lambda path: _nemo(path, config), "manifest_filepath"), True

    def read(path: Any, tar: Any) -> CutSet:
        skip = config.skip_missing_manifest_entries
        return endless(LazyNeMoTarredIterator(path, tar, _fields(config), skip_missing=skip, **_order(config)), config)

    return _one_or_blend(config, read, "manifest_filepath", "tarred_audio_filepaths"), True


def _order(config: DictConfig) -> dict[str, Any]:
    """Of shards; a pass that ends has all of each."""
    sliced = None if config.force_finite else config.slice_length
    return {"shuffle": config.shuffle, "seed": config.shard_seed, "slice_length": sliced}


@data_type_parser(["speechbrain_json", "speechbrain_csv"], needs="manifest_filepath", takes="")
def read_speechbrain(config: DictConfig) -> tuple[CutSet, bool]:
    """Manifests of SpeechBrain."""
    return _one_or_blend(config, lambda path: _speechbrain(path, config), "manifest_filepath"), False


def _speechbrain(path: Any, config: DictConfig) -> CutSet:
    sources = [read_manifest(one, config.data_root).data for one in expand_sharded_filepaths(path)]
    return CutSet(sources[0] if len(sources) == 1 else Shards(sources))


@data_type_parser("lhotse", needs="cuts_path", takes="")
def read_lhotse(config: DictConfig) -> tuple[CutSet, bool]:
    """Lhotse's cuts."""

    def read(path: Any) -> CutSet:
        sources = [read_cuts(one) for one in expand_sharded_filepaths(path)]
        return CutSet(sources[0] if len(sources) == 1 else Shards(sources))

    return _one_or_blend(config, read, "cuts_path"), False


@data_type_parser("lhotse_shar", needs="shar_path", takes="")
def read_lhotse_shar(config: DictConfig) -> tuple[CutSet, bool]:
    """Lhotse's shards: a folder, or a mapping of fields to files, or a list of such with weights."""

    def read(path: Any) -> CutSet:
        return endless(read_shar(shar_fields(path, metadata_only=config.metadata_only), **_order(config)), config)

    return _one_or_blend(config, read, "shar_path"), True


@data_type_parser("kaldi", needs="data_dir", takes="")
def read_kaldi(config: DictConfig) -> tuple[CutSet, bool]:
    """Kaldi's data folders."""
    read = partial(KaldiFolder, metadata_only=config.metadata_only)
    return _one_or_blend(config, lambda folder: CutSet(read(folder)), "data_dir"), False


@data_type_parser("audio_folder", needs="audio_dir", takes="")
def read_audio_folder(config: DictConfig) -> tuple[CutSet, bool]:
    """Folders of audio files and their transcripts."""
    return _one_or_blend(config, lambda folder: CutSet(AudioFolder(folder)), "audio_dir"), False


@data_type_parser(
    "hf_dataset", needs="path", takes="name data_dir data_files split revision streaming audio_field speaker_field"
)
def read_hf(config: DictConfig) -> tuple[CutSet, bool]:
    """A data set of HuggingFace's `datasets`."""
    from toolkit.dataio.hf_adapters import Columns, read_hf_dataset  # half a second to import

    keys = ("name", "data_dir", "data_files", "revision")
    options = {key: plain(config[key]) for key in keys if config.get(key) is not None}
    options |= {"split": config.get("split", "train"), "streaming": config.get("streaming", False)}
    fields = (config.get("audio_field", "audio"), config.text_field, config.lang_field)
    data = read_hf_dataset(str(config.path), options, Columns(*fields, config.get("speaker_field", "speaker")))
    return CutSet(data), not isinstance(data, Indexed)


def _one_or_blend(config: DictConfig, read: Callable[..., CutSet], *keys: str) -> CutSet:
    """What ``read`` makes of one path under each key; where they are lists, the blend of what it makes of each.

    The list of the first key may say weights: ``[[a.json, 0.8], [b.json, 0.2]]``.
    """
    values = [plain(config[key]) for key in keys]
    if not isinstance(values[0], list):
        return read(*values)
    for key, value in zip(keys, values, strict=True):
        if not isinstance(value, list) or len(value) != len(values[0]):
            raise ConfigError(f"{key}: expected a list like that of {keys[0]}, of {len(values[0])}, not {value!r}")
    sources = [[_source(key, item) for item in value] for key, value in zip(keys, values, strict=True)]
    weights = [weight for _, weight in sources[0]]
    if None in weights and any(weight is not None for weight in weights):
        raise ConfigError(f"{keys[0]}: some paths have a weight and others have none; give one to each or to none")
    parts = [read(*(path for path, _ in places)) for places in zip(*sources, strict=True)]
    if len(parts) == 1:
        return parts[0]
    named = {f"{keys[0]}[{number}]": part for number, part in enumerate(parts)}
    return blend(named, None if weights[0] is None else weights, config, tarred=len(keys) > 1)


def _source(key: str, item: Any) -> tuple[Any, float | None]:
    """Path and weight of ``path``, ``[path]`` or ``[path, weight]``."""
    if not isinstance(item, list):
        return item, None
    if len(item) == 2:
        check_weight(f"{key}: the weight of {item[0]}", item[1])
    return item[0], item[1] if len(item) == 2 else None
