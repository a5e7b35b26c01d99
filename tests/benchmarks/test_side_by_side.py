"""How often a comparison times its two sides, and that it says so."""

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

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


def test_a_ratio_says_how_much_better_ours_is(side_by_side):
    figures = ("row", "peer", 30.0, 10.0, None, True)
    assert side_by_side.Row(*figures, unit="s/s", more_is_better=True).ratio == 3
    assert side_by_side.Row(*figures).ratio == pytest.approx(1 / 3)


def test_options_of_a_table_are_arguments_of_its_parts(side_by_side, monkeypatch, capsys, tmp_path):
    def rows(quick, *, model):
        yield side_by_side.Row(f"{model}, quick: {quick}", "peer", 1.0, 2.0, None, True)

    monkeypatch.setitem(sys.modules, "table_part", SimpleNamespace(rows=rows))
    arguments = ["--quick", "--model", "small", "--json", str(tmp_path / "rows.json")]
    side_by_side.report("table", "", ("part",), arguments, add_options=lambda parser: parser.add_argument("--model"))
    assert "| small, quick: True | peer | 1.0000 s | 2.0000 s | 2.00 x |" in capsys.readouterr().out
    assert json.loads((tmp_path / "rows.json").read_text())[0]["ratio"] == 2
