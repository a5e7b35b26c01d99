"""Tensors in safetensors files: as they were, or as int8 within half a step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from toolkit.errors import ModelError
from toolkit.tensor_file import from_rows, holds_int8, read_tensors, to_rows, write_tensors


def test_what_is_written_is_read(tmp_path: Path) -> None:
    shared = torch.randn(3, 4)
    tensors = {
        "a": shared,
        "tied": shared,
        "turned": torch.randn(5, 2).t(),
        "half": torch.randn(4, dtype=torch.bfloat16),
        "count": torch.tensor(7),
        "nothing": torch.zeros(0, 3),
        "bytes": torch.arange(9, dtype=torch.uint8),
    }
    write_tensors(tensors, tmp_path / "w.safetensors")
    found = read_tensors(tmp_path / "w.safetensors")
    assert found.keys() == tensors.keys()
    assert all(found[name].dtype == value.dtype and torch.equal(found[name], value) for name, value in tensors.items())
    assert not holds_int8(tmp_path / "w.safetensors")


def test_as_int8_matrices_are_within_half_a_step_of_their_row(tmp_path: Path) -> None:
    tensors = {
        "w": torch.randn(6, 50) * 10.0 ** torch.arange(-3, 3).unsqueeze(1),  # rows of very different sizes
        "kernel": torch.randn(4, 3, 2, 2),
        "silent": torch.zeros(2, 3),
        "bias": torch.randn(6),
        "ids": torch.arange(6).view(2, 3),
    }
    write_tensors(tensors, tmp_path / "w.safetensors", int8=True)
    assert holds_int8(tmp_path / "w.safetensors")
    found = read_tensors(tmp_path / "w.safetensors")
    assert found.keys() == tensors.keys()
    for name in ("w", "kernel", "silent"):
        step = tensors[name].double().flatten(1).abs().amax(1) / 127
        error = (found[name].double() - tensors[name].double()).flatten(1).abs().amax(1)
        assert bool((error <= 0.5001 * step).all())
    assert torch.equal(found["bias"], tensors["bias"])
    assert torch.equal(found["ids"], tensors["ids"])


def test_int8_made_once_more_is_the_same() -> None:
    rows, scale = to_rows(torch.randn(200, 300))
    again, _ = to_rows(from_rows(rows, scale))
    assert torch.equal(again, rows)


def test_a_scale_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    write_tensors({"w": torch.ones(2, 3, dtype=torch.int8), "w.int8_scale": torch.ones(5)}, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"w\.safetensors: not weights, or damaged"):
        read_tensors(tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"gone\.safetensors: not weights"):
        read_tensors(tmp_path / "gone.safetensors")
