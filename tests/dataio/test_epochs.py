"""Sharing of batches among ranks, and entering an epoch anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset

from toolkit.dataio.epochs import EpochLoader, EpochSampler, share
from toolkit.errors import AudioError

SIZES = st.lists(st.integers(1, 5), max_size=12)


def numbered(sizes: list[int]) -> list[list[int]]:
    items = iter(range(sum(sizes)))
    return [[next(items) for _ in range(size)] for size in sizes]


@given(SIZES, st.integers(1, 4))
def test_ranks_have_the_same_number_of_batches_and_all_items(sizes: list[int], world_size: int) -> None:
    shares = [share(numbered(sizes), rank, world_size) for rank in range(world_size)]
    assert len({len(one) for one in shares}) == 1
    assert len(shares[0]) == -(-len(sizes) // world_size)
    assert all(batch for one in shares for batch in one)
    items = [item for one in shares for batch in one for item in batch]
    assert set(items) == set(range(sum(sizes)))
    if sum(sizes) >= len(shares[0]) * world_size:
        assert len(items) == sum(sizes)


@given(SIZES, st.integers(1, 4))
def test_dropping_the_last_keeps_whole_batches(sizes: list[int], world_size: int) -> None:
    batches = numbered(sizes)
    shares = [share(batches, rank, world_size, drop_last=True) for rank in range(world_size)]
    assert {len(one) for one in shares} == {len(sizes) // world_size}
    assert sorted(batch for one in shares for batch in one) == batches[: len(sizes) // world_size * world_size]


class Numbers(EpochSampler):
    def batches(self, epoch: int) -> list[list[int]]:
        return [[10 * epoch + place] for place in range(5)]


class Echo(Dataset):
    def __init__(self, bad: int = -1) -> None:
        self.bad = bad

    def __getitem__(self, drawn: tuple[int, list[int]]) -> object:
        epoch, items = drawn
        return AudioError("utterance 'x': a.wav: empty") if items[0] == self.bad else f"{epoch}:{items[0]}"


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_follow_each_other_and_can_be_entered_anywhere(workers: int) -> None:
    loader = EpochLoader(Echo(), Numbers(), num_workers=workers, persistent_workers=workers > 0)
    assert len(loader) == 5
    assert list(loader) == ["0:0", "0:1", "0:2", "0:3", "0:4"]
    assert next(iter(loader)) == "1:10"
    loader.seek(3, 2)
    assert list(loader) == ["3:32", "3:33", "3:34"]
    assert list(loader) == ["4:40", "4:41", "4:42", "4:43", "4:44"]
    loader.seek(4, batches=5)
    assert list(loader) == []


def test_ranks_take_turns() -> None:
    assert [item for _, [item] in Numbers(rank=1, world_size=2, drop_last=True)] == [1, 3]
    assert len(Numbers(rank=0, world_size=2, drop_last=True)) == 2
    assert len(Numbers(rank=0, world_size=2)) == 3


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_is_raised_as_itself(workers: int) -> None:
    loader = EpochLoader(Echo(bad=2), Numbers(), num_workers=workers)
    message = None
    try:
        list(loader)
    except AudioError as error:  # pytest.raises would keep the loader alive, and end its workers by their time limit
        message = str(error)
    assert message == "utterance 'x': a.wav: empty"
