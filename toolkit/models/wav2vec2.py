"""Pretrained wav2vec 2.0 (Baevski et al. 2020; XLS-R: Babu et al. 2021) and its kin as encoders to be fine-tuned.

Training begins with a model of transformers: a folder, or a name of the hub. A run keeps what it takes to build it as
one file, a description (`describe`), and its weights in its checkpoints: to use the run, neither the folder nor the hub
is needed. Code that lies beside a model is never run, and of pickled weights nothing but tensors is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from toolkit.errors import ConfigError, ExperimentError, MissingDependencyError, ModelError, did_you_mean
from toolkit.hub import HUB_NAME, from_hub
from toolkit.models.waveform_encoder import WaveformEncoder

CONFIG_FILE = "config.json"  # of a folder of transformers
# How a model hears a waveform: newer folders have it in the first.
EXTRACTOR_FILES = ("processor_config.json", "preprocessor_config.json")
NORMALISE = "do_normalize"  # of a description, beside the model's configuration
# What of a configuration is a matter of training: the rest is decided by the weights.
SETTINGS = (
    *("attention_dropout", "activation_dropout", "hidden_dropout", "feat_proj_dropout", "final_dropout", "layerdrop"),
    *("mask_time_prob", "mask_time_length", "mask_feature_prob", "mask_feature_length"),
)


class Wav2Vec2(WaveformEncoder):
    """Waveforms (B, S) with (B,) samples -> (B, T, output_size) with (B,) frames, of 20 ms in wav2vec 2.0.

    ::

        model: !new:toolkit.models.recogniser.CTCModel
          features: !new:toolkit.models.features.Waveform
          encoder: !new:toolkit.models.wav2vec2.Wav2Vec2
            source: facebook/wav2vec2-xls-r-300m
            settings: {layerdrop: 0.0, mask_time_prob: 0.05}
          vocab_size: !ref <vocab_size>
        freeze: [encoder.wav2vec2.feature_extractor]

    Parameters
    ----------
    source : str or Path
        A folder of transformers or a name of the hub, which have weights; or a description, whose weights are random
        until those of a checkpoint take their place.
    settings : mapping, optional
        Of `SETTINGS`, in the place of the source's own: dropout, and what is masked in training.
    gradient_checkpointing : bool
        Compute layers again when gradients are, rather than keep them: less memory, a third more time.

    Raises
    ------
    ConfigError
        A setting is none.
    ExperimentError
        There is no such source.
    ModelError
        It is no model of waveforms, or lacks weights.
    MissingDependencyError
        transformers is not installed.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        settings: Mapping[str, Any] | None = None,
        gradient_checkpointing: bool = False,
    ) -> None:
        transformers, path, settings = import_transformers(source), find_source(source), dict(settings or {})
        if unknown := [name for name in settings if name not in SETTINGS]:
            raise ConfigError(
                f"settings: unknown {unknown[0]!r}{did_you_mean(unknown[0], SETTINGS)}; "
                f"expected some of {', '.join(SETTINGS)}"
            )
        description = read_description(path)
        config = _config(transformers, path, description | settings)
        network = _with_weights(transformers, path, config) if path.is_dir() else _random(transformers, path, config)
        super().__init__(network, normalise=description[NORMALISE])
        if gradient_checkpointing:
            old = network.gradient_checkpointing_enable  # which later releases of transformers 5 warn of
            getattr(network, "activation_checkpointing_enable", old)({"use_reentrant": False})


def import_transformers(needed_by: str | Path) -> ModuleType:
    """The package transformers, which does not show how it reads tensors.

    Raises
    ------
    MissingDependencyError
        It is not installed; names what needs it.
    """
    try:
        import transformers
        from transformers.utils.logging import disable_progress_bar
    except ImportError as error:
        raise MissingDependencyError(
            f"{needed_by}: a HuggingFace model needs transformers ({error}): pip install 'asr-recipes[hf]'"
        ) from None
    disable_progress_bar()  # of tensors, which are there at once
    return transformers


def find_source(source: str | Path) -> Path:
    """The folder of a pretrained model, downloaded where it is a name of the hub and not yet here; or a description.

    Raises
    ------
    ExperimentError
        There is no such source.
    """
    path = Path(source)
    if path.exists():
        return path
    if HUB_NAME.fullmatch(str(source)):
        return from_hub(str(source))
    raise ExperimentError(
        f"{source}: no such folder; name the folder of a model of transformers, or owner/name on the hub, such as "
        "facebook/wav2vec2-xls-r-300m"
    )


def describe(source: str | Path) -> str:
    """All that it takes to build a model but its weights, as JSON: its configuration, and how it hears a waveform."""
    return json.dumps(read_description(find_source(source)), indent=1, sort_keys=True) + "\n"


def read_description(path: Path) -> dict[str, Any]:
    """The description that a file holds, or of the model in a folder.

    Raises
    ------
    ModelError
        A file is missing or damaged.
    """
    if path.is_file():
        return {NORMALISE: True, **_read_json(path)}
    for extractor in (_read_json(path / name) for name in EXTRACTOR_FILES if (path / name).is_file()):
        normalise = extractor.get("feature_extractor", extractor).get(NORMALISE, True)
        return {**_read_json(path / CONFIG_FILE), NORMALISE: bool(normalise)}
    return {**_read_json(path / CONFIG_FILE), NORMALISE: True}  # as of transformers' Wav2Vec2FeatureExtractor


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{file}: missing; expected the folder of a model of transformers") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file}: not a JSON file, or damaged: {error}") from None
    if not isinstance(content, dict):
        raise ModelError(f"{file}: expected an object, found {type(content).__name__}")
    return content


def _config(transformers: ModuleType, path: Path, description: Mapping[str, Any]) -> Any:
    """The configuration of a description; what it says of how to compute or quantise, or of other code, is not read."""
    kind = description.get("model_type")
    values = {
        key: value
        for key, value in description.items()
        if not key.startswith("_") and "implementation" not in key
        if key not in ("model_type", NORMALISE, "auto_map", "quantization_config", "dtype", "torch_dtype")
    }
    try:
        config = transformers.AutoConfig.for_model(kind, **values)
    except Exception as error:  # transformers' errors have no common base
        raise ModelError(f"{path}: not a model's configuration: {' '.join(str(error).split())[:500]}") from None
    if not hasattr(config, "conv_kernel"):
        raise ModelError(
            f"{path}: a {kind} does not hear waveforms; expected a model such as wav2vec2, hubert or wavlm"
        )
    return config


def _random(transformers: ModuleType, path: Path, config: Any) -> nn.Module:
    try:
        return transformers.AutoModel.from_config(config, dtype=torch.float32)
    except Exception as error:
        raise ModelError(f"{path}: cannot be built: {' '.join(str(error).split())[:500]}") from None


def _with_weights(transformers: ModuleType, folder: Path, config: Any) -> nn.Module:
    """The network with the weights of a folder, all of which have to be there."""
    options = {"dtype": torch.float32, "output_loading_info": True, "local_files_only": True}
    try:
        network, report = transformers.AutoModel.from_pretrained(folder, config=config, **options)
    except Exception as error:  # as damaged weights raise anything
        raise ModelError(f"{folder}: cannot be loaded: {' '.join(str(error).split())[:500]}") from None
    # which a model that was fine-tuned without masks may lack
    if missing := sorted(name for name in report["missing_keys"] if "masked_spec_embed" not in name):
        raise ModelError(f"{folder}: its weights lack {', '.join(missing[:3])}{' ...' * (len(missing) > 3)}")
    return network
