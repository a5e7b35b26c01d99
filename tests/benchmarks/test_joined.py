"""Utterances joined: in another order each time, as often as it takes, and with the errors of one text."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from toolkit.inference.transcript import Transcript

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("joined")


def test_every_utterance_is_there_as_often_as_the_others(joined: ModuleType) -> None:
    assert sorted(joined.ordered([5.0, 6.0, 7.0], 1, 0)) == [0, 1, 2]
    places = joined.ordered([5.0, 6.0, 7.0], 1, 0.5)
    assert sorted(places) == [0, 0, 1, 1, 2, 2]
    assert places == joined.ordered([5.0, 6.0, 7.0], 1, 0.5)
    assert len({tuple(joined.ordered([1.0] * 9, seed, 0)) for seed in range(5)}) == 5


def test_errors_are_those_of_the_whole(joined: ModuleType) -> None:
    heard: list[int] = []

    def transcribe(wav: torch.Tensor) -> Transcript:
        heard.append(len(wav))
        return Transcript("A B X")

    spoken = [(torch.zeros(3), "A"), (torch.zeros(4), "B C")]
    assert joined.joined(SimpleNamespace(transcribe=transcribe), spoken).errors == 1
    assert heard == [7]
