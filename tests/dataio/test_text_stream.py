"""A training text that is streamed: every line once, in batches of similar lengths, on from where an epoch ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_text_loaders import Letters

from toolkit.dataio import text_stream
from toolkit.dataio.buckets import Caps
from toolkit.dataio.text import load_text_splits
from toolkit.dataio.text_stream import TextStream
from toolkit.errors import ConfigError, DataError

LINES = [chr(65 + number % 26) * (number % 9 + 1) + " " + "Z" * (number // 26) for number in range(100)]


@pytest.fixture
def hparams(tmp_path: Path) -> dict[str, Any]:
    """40 of 100 lines an epoch, from two files."""
    for name, part in (("a", LINES[:30]), ("b", LINES[30:]), ("test", ["A B", "C"])):
        (tmp_path / f"{name}.txt").write_text("\n".join(part) + "\n")
    return {
        "train_text": [str(tmp_path / "a.txt"), str(tmp_path / "b.txt")],
        "valid_text": str(tmp_path / "test.txt"),
        "test_text": {"test": str(tmp_path / "test.txt")},
        "batch_tokens": 40,
        "epoch_sentences": 40,
        "seed": 1,
        "output_folder": str(tmp_path / "results"),
        "tokenizer": Letters(),
    }


def test_epochs_follow_each_other_through_the_text(hparams: dict[str, Any]) -> None:
    train, valid, _ = load_text_splits(hparams)
    epochs = [list(train) for _ in range(3)]
    words = [sorted(words for batch in epoch for words in batch.words) for epoch in epochs]
    expected = [LINES[:40], LINES[40:80], LINES[80:] + LINES[:20]]
    assert words == [sorted(line.strip() for line in lines) for lines in expected]
    assert sum(map(len, valid)) == 2
    for batch in epochs[0]:
        assert len(batch) * (batch.token_ids.shape[1] + 1) <= 40
        tokens = [row[:size] for row, size in zip(batch.token_ids.tolist(), batch.token_counts.tolist(), strict=True)]
        assert tokens == [Letters().encode(text) for text in batch.words]


def test_an_epoch_is_shuffled_and_entered_anywhere(hparams: dict[str, Any]) -> None:
    train, *_ = load_text_splits(hparams)
    whole = [batch.words for batch in train]
    assert [text for batch in whole for text in batch] != [line.strip() for line in LINES[:40]]
    again, *_ = load_text_splits(hparams)
    again.load_state_dict({**train.state_dict(), "epoch": 0, "batches": 3})
    assert [batch.words for batch in again] == whole[3:]


def test_ranks_share_the_batches(hparams: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    shares = []
    for rank in (0, 1):
        monkeypatch.setattr(text_stream, "rank_and_world_size", lambda rank=rank: (rank, 2))
        paths = [Path(one) for one in hparams["train_text"]]
        stream = TextStream(paths, Letters(), Caps(40), sentences=100, seed=1, window=25)
        shares.append([texts for texts, _ in stream.batches(0)])
    assert len(shares[0]) == len(shares[1])
    assert {text for share in shares for batch in share for text in batch} == {line.strip() for line in LINES}


def test_what_is_no_text_or_no_count(hparams: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="epoch_sentences: expected a whole number above 0, not -1"):
        load_text_splits({**hparams, "epoch_sentences": -1})
    (tmp_path / "a.txt").write_text("\n" * 50)
    train, *_ = load_text_splits(hparams)
    with pytest.raises(DataError, match=r"b.txt: 40 lines without a sentence"):
        list(train)
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\n")
    train, *_ = load_text_splits(hparams)
    with pytest.raises(DataError, match=r"b.txt: datasets cannot stream it"):
        list(train)
