"""What a frame sees: as counted one by one, in testing as asked, in training as drawn."""

from __future__ import annotations

import pytest
import torch

from toolkit.errors import ConfigError
from toolkit.models.chunks import EVERYTHING, Chunks, Context


@pytest.mark.parametrize("left", [None, 0, 1, 3])
@pytest.mark.parametrize("size", [1, 3, 7, 20])
def test_a_frame_sees_its_chunk_and_those_before_it(size: int, left: int | None) -> None:
    valid = torch.arange(11) < torch.tensor([[11], [8]])
    mask = Context(size, left).mask(valid)
    assert mask.shape == (2, 1, 11, 11)
    for row, frames in enumerate((11, 8)):
        for query in range(frames):
            chunk = query // size
            oldest = 0 if left is None else max(0, (chunk - left) * size)
            seen = [oldest <= key < (chunk + 1) * size and key < frames for key in range(11)]
            assert mask[row, 0, query].tolist() == seen
        assert mask[row, 0, frames:].any(dim=-1).all()  # padding sees something, or attention makes NaN of it


def test_without_chunks_every_frame_sees_all_that_is_no_padding() -> None:
    valid = torch.tensor([[True, True, False]])
    assert EVERYTHING.mask(valid).expand(1, 1, 3, 3).tolist() == [[[[True, True, False]] * 3]]


def test_training_draws_from_the_ranges_and_testing_takes_what_it_is_told() -> None:
    torch.manual_seed(0)
    chunks = Chunks(5, 2, training_frames=(3, 6), training_left=(0, 2), whole=0.25)
    drawn = [chunks.context(training=True) for _ in range(2000)]
    assert chunks.context(training=False) == Context(5, 2)
    parts = [context for context in drawn if context != EVERYTHING]
    assert 0.2 < 1 - len(parts) / len(drawn) < 0.3
    assert {context.chunk_frames for context in parts} == {3, 4, 5, 6}
    assert {context.left_chunks for context in parts} == {0, 1, 2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 0}, "chunk_frames: expected a whole number, 1 or more, not 0"),
        ({"frames": 2.5}, "chunk_frames: expected a whole number, 1 or more, not 2.5"),
        ({"left": -1}, "left_chunks: expected a whole number, 0 or more, not -1"),
        ({"training_frames": (9, 3)}, "training_frames: expected two whole numbers, 1 or more"),
        ({"training_left": (1,)}, "training_left: expected two whole numbers, 0 or more"),
        ({"whole": 1.5}, "whole: expected a share between 0 and 1, not 1.5"),
    ],
)
def test_impossible_numbers_are_named(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Chunks(**options)
