"""The files of a SpeechBrain model folder: which belong to which object of its YAML, and putting them in.

::

    pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
        loadables:
            asr: !ref <asr_model>            # asr.ckpt
            normalizer: !ref <normalizer>    # normalizer.ckpt
        paths:
            asr: !ref <pretrained_path>/asr.ckpt
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sentencepiece
from torch import Tensor, nn

from toolkit.checkpoints import read_plain, read_weights
from toolkit.errors import ConfigError, ExperimentError, ModelError, TokenizerError, ToolkitError
from toolkit.inference.sources import Origin
from toolkit.tokenizer import load_model

logger = logging.getLogger(__name__)

# Names of weights that SpeechBrain has corrected since.
MISSPELT = {".mutihead_attn": ".multihead_attn"}


class Pretrainer:
    """SpeechBrain's ``Pretrainer`` by its arguments, which looks for files in the folder of the YAML first.

    Parameters
    ----------
    loadables : mapping of str to object
        Modules and tokenizers, by name.
    paths : mapping of str to str, optional
        Their files, in the folder or as ``owner/name/file`` on the hub; by default ``NAME.ckpt``.
    conditions : mapping of str to bool, optional
        Those that are false are not loaded.
    collect_in
        Where SpeechBrain copies the files to; they are read from where they are.
    """

    def __init__(
        self,
        loadables: Mapping[str, Any],
        paths: Mapping[str, str] | None = None,
        conditions: Mapping[str, Any] | None = None,
        collect_in: str | None = None,  # noqa: ARG002
    ) -> None:
        self.paths = dict(paths or {})
        self.files: dict[str, Path] = {}
        self.loadables = {name: thing for name, thing in loadables.items() if (conditions or {}).get(name, True)}

    def load(self, origin: Origin) -> None:
        """Put every file into its object, and keep the names of the ``files``.

        Raises
        ------
        ConfigError
            A path leads out of the folder, unless it is trusted.
        ModelError, TokenizerError
            A file is missing or damaged, or does not fit.
        """
        for name, thing in self.loadables.items():
            try:
                file = origin.file(self.paths.get(name, f"{name}.ckpt"))
            except ExperimentError as error:
                raise ModelError(f"pretrainer, {name}: {error}") from None
            try:
                _load(thing, file, trusted=origin.trusted)
            except ToolkitError:
                raise
            except Exception as error:  # values of other types than SpeechBrain's, at any place of the file
                raise ModelError(f"{file}: damaged, or of another class; {type(error).__name__}: {error}") from error
            self.files[name] = file


def _load(thing: Any, file: Path, *, trusted: bool) -> None:
    """Put a file into an object of any kind that SpeechBrain's models have."""
    if hasattr(thing, "_load_statistics_dict"):
        _load_statistics(thing, file)
    elif isinstance(thing, nn.Module):
        _load_weights(thing, read_plain(file, trusted=True) if trusted else read_weights(file), file)
    elif isinstance(thing, sentencepiece.SentencePieceProcessor):
        thing.LoadFromSerializedProto(load_model(file).serialized_model_proto())
    elif hasattr(thing, "load_if_possible"):
        _load_labels(thing, file)
    else:
        raise ConfigError(f"{file}: nothing is known of how to load it into a {type(thing).__name__}")


def _load_weights(module: nn.Module, weights: Mapping[str, Tensor], file: Path) -> None:
    """Put weights into a module; all that it has must be there, others are named in the log."""
    for old, new in MISSPELT.items():
        weights = {name.replace(old, new): value for name, value in weights.items()}
    try:
        missing, unexpected = module.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise ModelError(f"{file}: does not fit the model of the YAML: {' '.join(str(error).split())}") from None
    parameters = dict(module.named_parameters())
    if lacking := [name for name in missing if name in parameters]:  # buffers are computed
        raise ModelError(f"{file}: has no {lacking[0]!r}, and {len(lacking) - 1} more that the YAML's model needs")
    if unexpected:
        logger.warning("%s: %d tensors are not used, the first is %r", file, len(unexpected), unexpected[0])


def _load_statistics(normalizer: nn.Module, file: Path) -> None:
    """Put means and deviations into an ``InputNormalization``, as buffers, so that they move with the model."""
    statistics = read_plain(file)
    if not isinstance(statistics, dict) or not {"count", "glob_mean", "glob_std"} <= statistics.keys():
        raise ModelError(f"{file}: expected the statistics of an InputNormalization: count, glob_mean, glob_std")
    normalizer.count = statistics["count"]
    for name in ("glob_mean", "glob_std"):
        delattr(normalizer, name)
        normalizer.register_buffer(name, statistics[name], persistent=False)


def _load_labels(encoder: Any, file: Path) -> None:
    """Put labels into a ``CTCTextEncoder``: lines such as ``'A' => 3``."""
    try:
        encoder.load(file)
    except (ValueError, SyntaxError, OSError, RecursionError, MemoryError) as error:
        raise TokenizerError(f"{file}: not the labels of a {type(encoder).__name__}: {error}") from None
