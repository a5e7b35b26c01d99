"""Text files become batches of tokens, each sentence once, longest with longest."""

from __future__ import annotations

from pathlib import Path

import datasets
import pytest

from toolkit.dataio import text as text_module
from toolkit.dataio.text import load_text_splits
from toolkit.errors import ConfigError, DataError


class Letters:
    """A tokenizer of letters."""

    def encode(self, text: str) -> list[int]:
        return [ord(letter) - 64 for letter in text if letter != " "]


@pytest.fixture
def hparams(tmp_path: Path) -> dict[str, object]:
    lines = [chr(65 + number % 26) * (number % 9 + 1) for number in range(100)]
    (tmp_path / "train.txt").write_text("\n".join(lines) + "\n\n  \n")
    (tmp_path / "test.txt").write_text("A B C\nÀ\n D \n")
    files = {name: str(tmp_path / f"{name}.txt") for name in ("train", "test")}
    return {
        "train_text": files["train"],
        "valid_text": Path(files["test"]),
        "test_text": {"both": [files["test"], files["train"]]},
        "batch_tokens": 40,
        "seed": 1,
        "output_folder": str(tmp_path / "results"),
        "tokenizer": Letters(),
    }


def test_every_sentence_once_with_its_tokens(hparams: dict[str, object]) -> None:
    train, valid, tests = load_text_splits(hparams)
    for loader, count in ((train, 100), (valid, 3), (tests["both"], 103)):
        batches = list(loader)
        assert sum(map(len, batches)) == count
        assert len(batches) == len(loader)
        for batch in batches:
            assert batch.token_ids.shape == (len(batch), batch.token_counts.max())
            assert len(batch) * (batch.token_ids.shape[1] + 1) <= 40
            for words, tokens, size in zip(
                batch.words, batch.token_ids.tolist(), batch.token_counts.tolist(), strict=True
            ):
                assert tokens[:size] == Letters().encode(words)
                assert not any(tokens[size:])
    assert sorted(words for batch in train for words in batch.words) == sorted(
        line for line in Path(hparams["train_text"]).read_text().splitlines() if line.strip()
    )
    assert [words for batch in valid for words in batch.words] == ["A B C", "À", "D"]


def test_epochs_differ_repeat_and_resume(hparams: dict[str, object]) -> None:
    train, *_ = load_text_splits(hparams)
    epochs = [[batch.words for batch in train] for _ in range(2)]
    assert {len(epoch) for epoch in epochs} == {len(train)}
    assert not {frozenset(batch) for batch in epochs[0]} & {frozenset(batch) for batch in epochs[1] if len(batch) > 1}
    again, valid, _ = load_text_splits(hparams)
    again.seek(1, batches=3)
    assert [batch.words for batch in again] == epochs[1][3:]
    other, *_ = load_text_splits(hparams | {"seed": 2})
    assert [batch.words for batch in other] != epochs[0]
    assert [batch.words for batch in valid] == [batch.words for batch in valid]


def test_ranks_share_training_text_only(hparams: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    train, valid = [], []
    for rank in range(3):
        monkeypatch.setattr(text_module, "rank_and_world_size", lambda rank=rank: (rank, 3))
        loaders = load_text_splits(hparams)
        train.append([words for batch in loaders[0] for words in batch.words])
        valid.append([words for batch in loaders[1] for words in batch.words])
    assert sum(map(len, train)) == 100
    assert valid[0] == valid[1] == valid[2]


def test_a_changed_file_is_read_anew(hparams: dict[str, object]) -> None:
    load_text_splits(hparams)
    Path(hparams["valid_text"]).write_text("NEW\n")
    _, valid, _ = load_text_splits(hparams)
    assert [batch.words for batch in valid] == [["NEW"]]


def test_nothing_is_written_outside_the_output_folder(
    hparams: dict[str, object], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    datasets.enable_progress_bars()
    load_text_splits(hparams)
    assert {one.name for one in tmp_path.iterdir()} == {"train.txt", "test.txt", "results"}
    assert not datasets.are_progress_bars_disabled()
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"train_text": "none.txt"}, DataError, r"train_text: none\.txt: no such text file"),
        ({"valid_text": "{tmp}/empty.txt"}, DataError, r"valid_text: .*empty\.txt: holds no sentence"),
        ({"valid_text": "{tmp}/blank.txt"}, DataError, r"valid_text: .*blank\.txt: holds no sentence"),
        ({"valid_text": "{tmp}/latin.txt"}, DataError, r"valid_text: .*latin\.txt: cannot be read"),
        ({"batch_tokens": 0}, ConfigError, "batch_tokens: expected a whole number above 0, not 0"),
        ({"batch_tokens": "many"}, ConfigError, "batch_tokens: expected a whole number above 0, not 'many'"),
        ({"test_text": "test.txt"}, ConfigError, "test_text: expected the name and the data of each test"),
    ],
)
def test_bad_texts(hparams: dict[str, object], tmp_path: Path, changes: dict, error: type, said: str) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "blank.txt").write_text("\n \n")
    (tmp_path / "latin.txt").write_bytes("\xe9t\xe9\n".encode("latin-1") * 3)
    filled = {key: value.format(tmp=tmp_path) if isinstance(value, str) else value for key, value in changes.items()}
    with pytest.raises(error, match=said):
        load_text_splits(hparams | filled)


def test_a_missing_key(hparams: dict[str, object]) -> None:
    del hparams["train_text"]
    with pytest.raises(ConfigError, match="the YAML has no train_text"):
        load_text_splits(hparams)


def test_a_path_is_no_pattern(hparams: dict[str, object], tmp_path: Path) -> None:
    odd = tmp_path / "g[1]*.txt"
    odd.write_text("A B\n")
    train, _, _ = load_text_splits({**hparams, "train_text": str(odd)})
    assert [words for batch in train for words in batch.words] == ["A B"]
