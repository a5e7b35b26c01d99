"""From a configuration to examples: data sets of any type, their weights and tags.

::

    input_cfg:
      - type: nemo_tarred
        manifest_filepath: en/manifest__OP_0..31_CL_.json
        tarred_audio_filepaths: en/audio__OP_0..31_CL_.tar
        weight: 0.7
        tags: {language: en}
      - type: group              # its weight among its neighbours; inside, its members are weighed anew
        weight: 0.3
        input_cfg:
          - {type: speechbrain_json, manifest_filepath: an4/train.json, weight: 2}
          - {type: kaldi, data_dir: digits, weight: 1}

Weights are of examples, in any unit; without any, each data set weighs as much as it has examples. The keys and their
meanings are NeMo's; :mod:`toolkit.dataio.data_types` says how to add a type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lhotse import CutSet
from lhotse.cut import Cut
from omegaconf import DictConfig, OmegaConf

import toolkit.dataio.audio_types
import toolkit.dataio.text_types  # noqa: F401 (both register their types)
from toolkit.dataio.blend import blend, check_weight, count_examples, mapped, sources_of
from toolkit.dataio.config import INPUTS, DataConfig
from toolkit.dataio.config_values import as_mapping, load_yaml, plain
from toolkit.dataio.data_types import data_type, data_type_parser, get_known_config_data_types
from toolkit.dataio.text_adapters import AudioTurn, NeMoMultimodalConversation, TextTurn
from toolkit.dataio.utterances import transcript
from toolkit.errors import ConfigError, DataError

__all__ = ["data_type_parser", "get_known_config_data_types", "read_cutset_from_config"]

# A data set has these of the configuration around it, unless it says otherwise.
PROPAGATED = (
    "shuffle", "seed", "shard_seed", "text_field", "lang_field", "metadata_only", "force_finite", "max_open_streams",
    "slice_length", "skip_missing_manifest_entries", "audio_locator_tag", "token_equivalent_duration", "data_root",
)  # fmt: skip
_OF_ANY_TYPE = ("type", "weight", "tags", *PROPAGATED)


def read_cutset_from_config(
    config: DictConfig | Mapping[str, Any] | str | Path | DataConfig, where: str = "config"
) -> tuple[CutSet, bool]:
    """Examples of the data sets that a configuration names, and whether they are read best in the worker processes.

    ``where`` is its name, for messages. The CutSet is lazy. Its ``data`` is :class:`~toolkit.dataio.indexed.Indexed`
    where the data sets have an index, and a :class:`~toolkit.dataio.blend.Blend` of such where they are several.

    Raises
    ------
    ConfigError
        Names all unknown, missing and impossible keys.
    DataError
        A data set cannot be read.
    """
    if not isinstance(config, DataConfig):
        config = DataConfig.from_hparams(where, as_mapping(where, config), batched=False)
    propagated = {key: getattr(config, key) for key in PROPAGATED}
    if config.input_cfg is not None:
        return _read_group(f"{where}.input_cfg", config.input_cfg, propagated)
    return _read_data_set(where, _as_data_set(config), propagated)


def _as_data_set(config: DataConfig) -> dict[str, Any]:
    """The one data set of a configuration without ``input_cfg``, of the type that its paths tell."""
    inputs = ("manifest_filepath", "tarred_audio_filepaths", "cuts_path", "shar_path")
    given = {key: getattr(config, key) for key in inputs if getattr(config, key) is not None}
    if "shar_path" in given:
        return {"type": "lhotse_shar", "shar_path": given["shar_path"]}
    if "cuts_path" in given:
        return {"type": "lhotse", "cuts_path": given["cuts_path"]}
    return {"type": "nemo_tarred" if "tarred_audio_filepaths" in given else "manifest", **given}


def _read_group(where: str, group: Any, propagated: Mapping[str, Any]) -> tuple[CutSet, bool]:
    """The blend of the data sets of a list, or of a YAML file that holds one."""
    if isinstance(group, (str, Path)):
        where, group = f"{where} of {group}", load_yaml(where, group)
    if not isinstance(group, Sequence) or not group or not all(isinstance(item, Mapping) for item in group):
        raise ConfigError(f"{where}: expected a list of data sets, each with its type, or a YAML file, not {group!r}")
    weights = _weights(where, group)
    read = [_read_data_set(f"{where}[{number}]", item, propagated) for number, item in enumerate(group)]
    if len(read) == 1:
        return read[0]
    tarred = any(is_tarred for _, is_tarred in read)
    parts = {f"input_cfg[{number}]": cuts for number, (cuts, _) in enumerate(read)}
    return blend(parts, weights, propagated, tarred=tarred), tarred


def _weights(where: str, group: Sequence[Mapping[str, Any]]) -> list[float] | None:
    """The weights of a group's data sets; None where none is given."""
    weights = [item.get("weight") for item in group]
    for number, weight in enumerate(weights):
        if weight is not None:
            check_weight(f"{where}[{number}].weight", weight)
        elif any(other is not None for other in weights):
            raise ConfigError(f"{where}[{number}]: has no weight, but others have; give one to each or to none")
    return None if weights[0] is None else weights


def _read_data_set(where: str, item: Mapping[str, Any], propagated: Mapping[str, Any]) -> tuple[CutSet, bool]:
    kind = data_type(where, item.get("type"))
    item = {**propagated, **item}
    kind.check(where, item["type"], item, _OF_ANY_TYPE)
    try:
        cuts, is_tarred = kind.parse(OmegaConf.create(item, flags={"allow_objects": True}))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    if count_examples(sources_of(cuts)) == 0:
        raise DataError(f"{where}: holds no example")
    tags = item.get("tags")
    return (mapped(cuts, partial(attach_tags, tags=tags)) if tags else cuts), is_tarred


def attach_tags(example: Any, tags: Mapping[str, Any]) -> Any:
    """The example itself, with each tag as an attribute; a cut keeps them in ``custom``.

    ``language`` is also that of a cut's supervisions which have none.
    """
    for key, value in tags.items():
        setattr(example, key, value)
    if isinstance(example, Cut) and "language" in tags:
        for supervision in example.supervisions:
            supervision.language = supervision.language or tags["language"]
    return example


@data_type_parser("group", needs="input_cfg", takes="")
def read_group(config: DictConfig) -> tuple[CutSet, bool]:
    """The blend of a list of data sets."""
    return _read_group("input_cfg", plain(config.input_cfg), {key: config.get(key) for key in PROPAGATED})


@data_type_parser(
    "lhotse_as_conversation", needs="audio_locator_tag", takes=" ".join(INPUTS) + " tarred_audio_filepaths"
)
def read_lhotse_as_conversation(config: DictConfig) -> tuple[CutSet, bool]:
    """Utterances as conversations: the user says them, and the assistant answers with their text."""
    values = {key: plain(config.get(key)) for key in (*INPUTS, "tarred_audio_filepaths", *PROPAGATED)}
    cuts, is_tarred = read_cutset_from_config({key: value for key, value in values.items() if value is not None})
    if config.get("tags"):
        cuts = mapped(cuts, partial(attach_tags, tags=plain(config.tags)))
    change = partial(
        cut_to_conversation,
        audio_locator_tag=config.audio_locator_tag,
        token_equivalent_duration=config.get("token_equivalent_duration"),
    )
    return mapped(cuts, change), is_tarred


def cut_to_conversation(
    cut: Cut, audio_locator_tag: str, token_equivalent_duration: float | None
) -> NeMoMultimodalConversation:
    """Two turns of a cut: its audio, and its text; before them what it has as ``system_prompt`` and ``context``.

    Raises
    ------
    DataError
        It has no text.
    """
    if isinstance(cut, NeMoMultimodalConversation):
        return cut
    if all(supervision.text is None for supervision in cut.supervisions):
        raise DataError(f"cut {cut.id!r} has no text, so the assistant has no answer; leave it out of the manifest")
    text = transcript(cut)
    before = [("system", getattr(cut, "system_prompt", None)), ("user", getattr(cut, "context", None))]
    turns = [TextTurn(value=said, role=role) for role, said in before if said is not None]
    turns += [AudioTurn(cut, "user", audio_locator_tag, text=text), TextTurn(value=text, role="assistant")]
    return NeMoMultimodalConversation(cut.id, turns, token_equivalent_duration, custom=cut.custom)
