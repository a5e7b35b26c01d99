"""Entering an epoch anywhere."""

from __future__ import annotations

import numpy as np
import pytest
from torch.utils.data import Dataset

from toolkit.dataio.epochs import EpochLoader, EpochSampler
from toolkit.dataio.plan import Plan
from toolkit.errors import AudioError


class Numbers(EpochSampler):
    """Epochs of five, six, seven... batches of one example."""

    def plan(self, epoch: int) -> Plan:
        ends = np.arange(epoch + 5) + 1
        return Plan(10 * epoch + ends - 1, ends - 1, ends)


class Echo(Dataset):
    def __init__(self, bad: int = -1) -> None:
        self.bad = bad

    def __getitem__(self, drawn: tuple[int, list[int]]) -> object:
        epoch, items = drawn
        return AudioError("utterance 'x': a.wav: empty") if items[0] == self.bad else f"{epoch}:{items[0]}"


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_follow_each_other_and_can_be_entered_anywhere(workers: int) -> None:
    loader = EpochLoader(Echo(), Numbers(), num_workers=workers, persistent_workers=workers > 0)
    assert list(loader) == ["0:0", "0:1", "0:2", "0:3", "0:4"]
    assert next(iter(loader)) == "1:10"
    loader.seek(3, 6)
    assert list(loader) == ["3:36", "3:37"]
    assert list(loader) == [f"4:4{place}" for place in range(9)]
    loader.seek(4, batches=9)
    assert list(loader) == []


def test_the_length_is_of_the_epoch_under_way() -> None:
    loader = EpochLoader(Echo(), Numbers())
    assert len(loader) == 5
    assert [len(loader) for _ in loader] == [5] * 5
    assert [len(loader) for _ in loader] == [6] * 6
    loader.seek(9, batches=12)
    assert len(loader) == 14
    assert [len(loader) for _ in loader] == [14] * 2


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_is_raised_as_itself(workers: int) -> None:
    loader = EpochLoader(Echo(bad=2), Numbers(), num_workers=workers)
    message = None
    try:
        list(loader)
    except AudioError as error:  # pytest.raises would keep the loader alive, and end its workers by their time limit
        message = str(error)
    assert message == "utterance 'x': a.wav: empty"
