"""Splits of whole groups: none in common, the shares that were asked for, the same every time."""

from __future__ import annotations

import pytest

from toolkit.dataio.prepare import Utterance
from toolkit.dataio.splits import split_by
from toolkit.errors import DataError


def make(speakers: int, utterances: int = 3) -> dict[str, Utterance]:
    """Utterances of two seconds."""
    names = [(f"s{speaker}", f"s{speaker}-{number}") for speaker in range(speakers) for number in range(utterances)]
    return {name: {"speaker": speaker, "length": 2.0} for speaker, name in names}


@pytest.mark.parametrize("speakers", [3, 4, 40])
def test_every_utterance_is_in_one_split_and_every_speaker_too(speakers: int) -> None:
    splits = split_by("speaker", make(speakers))
    names = [name for split in splits.values() for name in split]
    assert sorted(names) == sorted(make(speakers))
    heard = [{one["speaker"] for one in split.values()} for split in splits.values()]
    assert all(heard)
    assert sum(map(len, heard)) == speakers


def test_each_split_has_its_share_of_the_seconds() -> None:
    splits = split_by("speaker", make(40), shares={"test": 0.2, "valid": 0.1})
    assert {name: len(split) for name, split in splits.items()} == {"train": 84, "test": 24, "valid": 12}


def test_the_order_of_the_utterances_does_not_matter() -> None:
    there = make(20)
    back = dict(reversed(there.items()))
    assert split_by("speaker", there) == split_by("speaker", back)


def test_one_speaker_of_most_seconds_leaves_the_others_a_split_each() -> None:
    corpus = make(3)
    for utterance in corpus.values():
        utterance["length"] = 1000.0 if utterance["speaker"] == "s1" else 0.1
    assert all(split_by("speaker", corpus).values())


def test_too_few_speakers() -> None:
    with pytest.raises(
        DataError, match=r"train, test, valid cannot be made of 2 speakers \(s0, s1\): each needs a speaker"
    ):
        split_by("speaker", make(2))
