"""Tensors by name in a safetensors file, which runs nothing when it is read; as they are, or matrices as int8.

As int8, a matrix (R, ...) is whole numbers from -127 to 127 and a scale for each of its rows, in a tensor (R,) named
``NAME.int8_scale``: a quarter of the size. Reading gives floats again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from toolkit.errors import ModelError
from toolkit.files import write_atomically

SCALE = ".int8_scale"
LARGEST = 127  # of int8; -128 is left out, so that a row is as exact in both directions
LEAST = 1e-12  # a row of zeros has some scale


def write_tensors(tensors: Mapping[str, Tensor], file: str | Path, *, int8: bool = False) -> None:
    """Write a whole file."""
    stored = dict(_as_int8(tensors)) if int8 else dict(tensors)
    apart = {name: value.detach().clone().contiguous() for name, value in stored.items()}  # shared memory is refused
    write_atomically(file, save(apart))


def read_tensors(file: str | Path) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU, as they were or, of int8, nearly.

    Raises
    ------
    ModelError
        The file is missing or damaged.
    """
    try:
        tensors = load_file(file)
        for name in [name for name in tensors if name + SCALE in tensors]:
            tensors[name] = from_rows(tensors[name], tensors.pop(name + SCALE))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ModelError(f"{file}: not weights, or damaged: {' '.join(str(error).split())}") from error
    return tensors


def holds_int8(file: str | Path) -> bool:
    """Whether there are matrices as int8 in a file, which is whole."""
    with safe_open(file, framework="pt") as stored:
        return any(name.endswith(SCALE) for name in stored.keys())  # noqa: SIM118 - no mapping


def to_rows(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix (R, ...) -> int8 of the same shape and the scale (R,) of each row."""
    scale = matrix.detach().float().flatten(1).abs().amax(1).clamp_min(LEAST) / LARGEST
    return (matrix / _columns(scale, matrix)).round().to(torch.int8), scale


def from_rows(rows: Tensor, scale: Tensor) -> Tensor:
    """What `to_rows` made int8, as floats: off by half a scale at most."""
    return rows * _columns(scale, rows)


def _columns(scale: Tensor, matrix: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (matrix.dim() - 1))


def _as_int8(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, value in tensors.items():
        if value.dim() < 2 or not value.is_floating_point():  # biases and normalisations are small, and matter
            yield name, value
        else:
            rows, scale = to_rows(value)
            yield from ((name, rows), (name + SCALE, scale))
