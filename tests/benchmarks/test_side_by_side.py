"""How often a comparison times its two sides, and that it says so."""

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def side_by_side(monkeypatch):
    """The module, in which a call that returns a number takes as many seconds."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    module = importlib.import_module("side_by_side")
    monkeypatch.setattr(module, "cpu_seconds", lambda work: work())
    return module


def compared(module, peer_seconds, **options):
    """The row of a peer that takes that long, and how often it was called."""
    calls = []

    def peer():
        calls.append(peer_seconds)
        return peer_seconds

    same = {"peer_name": "peer", "goal": 2.0, "same": lambda ours, theirs: ours <= theirs}
    return module.compare("row", lambda: 1.0, peer, **same, **options), len(calls)


@pytest.mark.parametrize(("seconds", "times"), [(9.0, 5), (11.0, 2)])
def test_a_slow_peer_is_timed_less_often(side_by_side, seconds, times):
    row, calls = compared(side_by_side, seconds, note="words")
    assert calls == times + 1  # the first is for the answers only
    assert row.note == f"words; peer timed {times} times"
    assert row.ratio == seconds


def test_different_answers_are_not_timed(side_by_side):
    with pytest.raises(ValueError, match="row: ours and peer answer differently"):
        compared(side_by_side, 0.5)
