"""Which checkpoints are best, and what their mean is."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from toolkit.checkpoints import best_checkpoints, model_weights, read_weights
from toolkit.errors import ExperimentError


def checkpoint(run: Path, name: str, weights: dict[str, Tensor] | None = None, **meta: float) -> Path:
    """A checkpoint folder as SpeechBrain writes it."""
    folder = run / "save" / f"CKPT+{name}"
    folder.mkdir(parents=True)
    (folder / "CKPT.yaml").write_text(yaml.dump({"end-of-epoch": True, "unixtime": 0.0, **meta}))
    torch.save({} if weights is None else weights, folder / "model.ckpt")
    return folder


def names(folders: list[Path]) -> list[str]:
    return [folder.name.removeprefix("CKPT+") for folder in folders]


def test_lowest_rank_is_best(tmp_path: Path) -> None:
    for name, rank in {"a": 12.5, "b": 3.0, "c": 100.0, "d": 9.0}.items():
        checkpoint(tmp_path, name, rank=rank)
    assert names(best_checkpoints(tmp_path / "save", 3)) == ["b", "d", "a"]
    assert names(best_checkpoints(tmp_path / "save")) == ["b"]
    assert names(best_checkpoints(tmp_path / "save", 9)) == ["b", "d", "a", "c"]


def test_latest_of_equals_is_best(tmp_path: Path) -> None:
    for name, time in {"first": 10.0, "last": 30.0, "second": 20.0}.items():
        checkpoint(tmp_path, name, rank=5.0, unixtime=time)
    assert names(best_checkpoints(tmp_path / "save", 3)) == ["last", "second", "first"]


def test_diverged_is_worst(tmp_path: Path) -> None:
    for name, rank in {"a": 2.0, "diverged": math.nan, "b": 1.0, "lost": math.inf, "c": 3.0}.items():
        checkpoint(tmp_path, name, rank=rank)
    assert names(best_checkpoints(tmp_path / "save", 3)) == ["b", "a", "c"]


def test_checkpoints_in_mid_epoch_and_without_weights_do_not_count(tmp_path: Path) -> None:
    checkpoint(tmp_path, "mid-epoch", unixtime=99.0)
    (checkpoint(tmp_path, "no weights", rank=0.0) / "model.ckpt").unlink()
    checkpoint(tmp_path, "good", rank=50.0)
    (tmp_path / "save/other").mkdir()
    assert names(best_checkpoints(tmp_path / "save", 9)) == ["good"]


def test_average_is_the_mean_of_the_best(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    # large numbers with small differences: a sum in float32 would lose them
    states = [{"w": 1000 + torch.rand(50, 3, generator=generator), "n": torch.tensor(7 + i)} for i in range(4)]
    for number, state in enumerate(states):
        checkpoint(tmp_path, str(number), state, rank=float(number), unixtime=float(number))
    averaged = model_weights(tmp_path, average=3)
    reference = sum(state["w"].numpy().astype("float64") for state in states[:3]) / 3
    assert averaged["w"].dtype == torch.float32
    torch.testing.assert_close(averaged["w"], torch.from_numpy(reference).float(), rtol=0, atol=0)
    assert (averaged["n"].dtype, averaged["n"].item()) == (torch.int64, 7)  # a counter has no mean: that of the best


def test_average_of_half_precision_stays_half_precision(tmp_path: Path) -> None:
    for number, value in enumerate([1.0, 2.0]):
        checkpoint(tmp_path, str(number), {"w": torch.full((2,), value, dtype=torch.bfloat16)}, rank=1.0)
    assert torch.equal(model_weights(tmp_path, 2)["w"], torch.full((2,), 1.5, dtype=torch.bfloat16))


def test_fewer_checkpoints_than_asked_for_are_averaged(tmp_path: Path) -> None:
    for number, value in enumerate([1.0, 2.0]):
        checkpoint(tmp_path, str(number), {"w": torch.tensor([value])}, rank=1.0)
    assert model_weights(tmp_path, 10)["w"].item() == 1.5


def test_exported_folder_has_its_weights_beside_the_yaml(tmp_path: Path) -> None:
    torch.save({"w": torch.tensor([4.0])}, tmp_path / "model.ckpt")
    assert model_weights(tmp_path, 5)["w"].item() == 4.0
    checkpoint(tmp_path, "newer", {"w": torch.tensor([5.0])}, rank=1.0)
    assert model_weights(tmp_path)["w"].item() == 5.0


def test_folder_without_weights_is_refused(tmp_path: Path) -> None:
    checkpoint(tmp_path, "mid-epoch")
    with pytest.raises(ExperimentError, match="no finished epoch"):
        model_weights(tmp_path)


def test_weights_are_read_to_the_cpu(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "model.ckpt")
    assert read_weights(tmp_path / "model.ckpt")["w"].device.type == "cpu"
