"""The checkpoints of a run: which are best, and their averaged weights.

A checkpoint is SpeechBrain's ``save/CKPT+<time>/`` with ``model.ckpt`` (weights) and ``CKPT.yaml`` (among others
``rank``, the validation figure that orders checkpoints, lower being better).
"""

from __future__ import annotations

import math
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from toolkit.errors import ExperimentError, ModelError
from toolkit.tensor_file import holds_int8, read_tensors

RANK = "rank"
WEIGHTS = "model.ckpt"
# What torch raises for a file that is not as it wrote it; the last ones where a pickle is cut or made up.
DAMAGED = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError)
DAMAGED += (AssertionError, OverflowError, MemoryError, struct.error)
EXPORTED = "model.safetensors"  # of an exported folder


def best_checkpoints(save_folder: str | Path, count: int = 1) -> list[Path]:
    """Up to ``count`` folders of finished epochs, best first; among equals the latest."""
    ranked = []
    for meta_file in Path(save_folder).glob("CKPT+*/CKPT.yaml"):
        try:
            meta = yaml.safe_load(meta_file.read_text(encoding="utf-8"))
            if RANK not in meta or not (meta_file.parent / WEIGHTS).is_file():
                continue
            rank, time = float(meta[RANK]), float(meta["unixtime"])
        except (yaml.YAMLError, OSError, ValueError, TypeError, KeyError) as error:
            raise ExperimentError(
                f"{meta_file}: damaged ({' '.join(str(error).split())}); delete its folder, a checkpoint of the run"
            ) from None
        ranked.append((math.inf if math.isnan(rank) else rank, -time, meta_file.parent))  # nan: of a run that diverged
    return [folder for *_, folder in sorted(ranked)[:count]]


def read_weights(file: str | Path) -> dict[str, Tensor]:
    """The tensors of a weights file, on the CPU; nothing else in it is unpickled.

    Raises
    ------
    ModelError
        When the file is missing or damaged, or holds anything but tensors by name.
    """
    weights = read_tensors(file) if Path(file).suffix == Path(EXPORTED).suffix else read_plain(file)
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ModelError(f"{file}: expected tensors by name, as model.state_dict() gives them")
    return weights


def read_plain(file: str | Path, *, trusted: bool = False) -> Any:
    """What `torch.save` wrote to a file, tensors on the CPU: tensors, numbers, texts and their lists and dicts.

    Parameters
    ----------
    trusted : bool
        Also unpickle other objects, which may run any program.

    Raises
    ------
    ModelError
        When the file is missing, damaged, or grows when it is unpacked, or holds other objects.
    """
    try:
        _check_archive(Path(file))
        return torch.load(file, map_location="cpu", weights_only=not trusted)
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error.strerror})") from None
    except (*DAMAGED, zipfile.BadZipFile) as error:
        reason = str(error).partition("\n")[0] or "it is empty"
        raise ModelError(f"{file}: not weights, or damaged: {reason}") from error


def _check_archive(file: Path) -> None:
    """Refuse an archive that is larger inside than outside: torch stores weights as they are."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            inside = sum(entry.file_size for entry in archive.infolist())
        if inside > file.stat().st_size:
            raise ModelError(f"{file}: {inside} bytes once unpacked, {file.stat().st_size} now: not as torch saves it")


def model_weights(folder: str | Path, average: int = 1) -> dict[str, Tensor]:
    """The weights of a run: the mean of its best checkpoints; of another folder, those in `EXPORTED` or ``model.ckpt``.

    Raises
    ------
    ExperimentError
        When the folder holds neither.
    """
    best = best_checkpoints(Path(folder) / "save", average)
    if best:
        return _mean([read_weights(checkpoint / WEIGHTS) for checkpoint in best])
    for name in (EXPORTED, WEIGHTS):
        if (Path(folder) / name).is_file():
            return read_weights(Path(folder) / name)
    raise ExperimentError(
        f"{folder}: no finished epoch in save/, no {EXPORTED} and no {WEIGHTS}; train the model, or name a run's "
        "output folder"
    )


def are_int8(folder: str | Path) -> bool:
    """Whether the weights of a folder were exported as int8."""
    file = Path(folder) / EXPORTED
    return file.is_file() and holds_int8(file)


def _mean(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of several state dicts, tensor by tensor, summed in float64; integer buffers come from the first."""
    first = states[0]
    if len(states) == 1:
        return first
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in first.items()
    }
