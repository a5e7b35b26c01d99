"""The algebra of indexed sources, against lists."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lhotse import CutSet, MonoCut

from toolkit.dataio.indexed import Concatenated, Indexed, Lines, Listed, Mapped, Selected
from toolkit.dataio.line_index import LineIndex
from toolkit.errors import ManifestError


def words(*lengths: int) -> Listed[str]:
    return Listed(["abcdefghij"[:length] for length in lengths], len)


def assert_holds(source: Indexed, expected: list) -> None:
    assert list(source) == [source[number] for number in range(len(source))] == expected
    assert source.lengths.shape == (len(expected),)


@given(st.lists(st.lists(st.integers(0, 10), max_size=4), max_size=4), st.data())
def test_sources_are_as_lists(parts: list[list[int]], data: st.DataObject) -> None:
    joined = Concatenated([words(*part) for part in parts])
    expected = ["abcdefghij"[:length] for part in parts for length in part]
    assert_holds(joined, expected)
    numbers = data.draw(st.lists(st.integers(0, len(expected) - 1), max_size=6)) if expected else []
    chosen = Selected(joined, np.array(numbers, np.int64))
    assert_holds(chosen, [expected[number] for number in numbers])
    doubled = Mapped(chosen, lambda text: text * 2, lengths=chosen.lengths * 2)
    assert_holds(doubled, [expected[number] * 2 for number in numbers])
    assert doubled.lengths.tolist() == [len(text) for text in doubled]
    assert Mapped(chosen, str.upper).lengths is chosen.lengths


def test_pieces_are_those_of_the_storage() -> None:
    first, second, free = words(1, 1, 1), words(2, 2), words(3, 3, 3, 3, 3)
    first.pieces, second.pieces = np.array([0, 0, 1]), np.array([0, 0])
    joined = Concatenated([first, free, second])
    assert joined.pieces.tolist() == [0, 0, 1, *[0, 1, 2, 0, 1], 2, 2]
    assert Selected(joined, np.array([2, 9])).pieces.tolist() == [1, 2]
    assert Mapped(first, len).pieces is first.pieces
    assert Concatenated([free]).pieces is None


def test_lines_are_built_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "numbers.txt"
    path.write_text("1\n22\nthree\n")
    source = Lines(LineIndex.of(path, len, "bytes"), int)
    assert source.lengths.tolist() == [2, 3, 6]
    assert (source[0], source[1]) == (1, 22)
    assert pickle.loads(pickle.dumps(source))[1] == 22  # to a worker process that does not share memory
    with pytest.raises(ManifestError, match=r"numbers\.txt: line 3: invalid literal .*: 'three'"):
        source[2]


def shout(cut: MonoCut) -> MonoCut:
    return cut.with_id(f"{cut.id}!")


def test_lhotse_takes_a_source_for_a_lazy_cut_set() -> None:
    cuts = CutSet(Listed([MonoCut(str(number), 0.0, 1.0, 0) for number in range(3)], lambda cut: cut.duration))
    assert cuts.is_lazy
    assert len(cuts) == 3
    assert [cut.id for cut in cuts.map(shout)] == ["0!", "1!", "2!"]
    assert cuts[1].id == "1"
