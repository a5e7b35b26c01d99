"""Bins pad least: against every choice there is."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from toolkit.cli.main import main
from toolkit.dataio.bins import duration_bins, duration_bins_2d, padded_to_2d
from toolkit.dataio.multimodal_sampling import FixedBucketBatchSizeConstraint2D
from toolkit.tokenizer import Tokenizer

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=12)


def padded_to(lengths: np.ndarray, ends: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Total length when each is padded to the upper end of its bin, or to the longest of all."""
    ends = np.append(ends, lengths.max())
    return float(np.sum(ends[np.searchsorted(ends, lengths)] * (1 if weights is None else weights)))


def least_padded(lengths: np.ndarray, count: int, weights: np.ndarray | None = None) -> float:
    choices = itertools.combinations(np.unique(lengths)[:-1], min(count, len(np.unique(lengths))) - 1)
    return min(padded_to(lengths, np.array(ends), weights) for ends in choices)


@given(LENGTHS, st.integers(1, 6))
def test_no_other_ends_pad_less(lengths: list[int], count: int) -> None:
    values = np.array(lengths) / 4
    ends = duration_bins(values, count)
    assert len(ends) == min(count, len(set(lengths))) - 1
    assert (np.diff(ends) > 0).all()
    assert set(ends) <= set(values)
    assert padded_to(values, ends) == pytest.approx(least_padded(values, count))


@given(LENGTHS, st.integers(1, 4), st.data())
def test_weights_are_repetitions(lengths: list[int], count: int, data: st.DataObject) -> None:
    weights = np.array(data.draw(st.lists(st.integers(1, 9), min_size=len(lengths), max_size=len(lengths))))
    values = np.array(lengths) / 4
    ends = duration_bins(values, count, weights)
    repeated = np.repeat(values, weights)
    assert padded_to(repeated, ends) == pytest.approx(least_padded(repeated, count))


def test_many_lengths_are_nearly_as_good_as_all_of_them() -> None:
    lengths = np.random.default_rng(0).gamma(9.0, 1.4, 3000).round(3)
    ends = duration_bins(lengths, 8)
    # The same programme over every length there is.
    values, counts = np.unique(lengths, return_counts=True)
    at_most = np.cumsum(counts)
    least = values * at_most
    for _ in range(7):
        least = np.array(
            [
                min([least[end], *(least[:end] + value * (at_most[end] - at_most[:end]))])
                for end, value in enumerate(values)
            ]
        )
    optimum = least[-1] / lengths.sum() - 1
    assert optimum <= padded_to(lengths, ends) / lengths.sum() - 1 < optimum + 0.002


def test_two_lengths() -> None:
    rng = np.random.default_rng(0)
    seconds = rng.choice([2.0, 5.0, 9.0], 60)
    tokens = (seconds * 10).astype(int) + rng.integers(0, 3, 60)
    assert duration_bins_2d(seconds, tokens, 3, 2)[-1] == (9.0, 92.0)
    pairs = duration_bins_2d(seconds, tokens, 2, 3)
    assert pairs == sorted(pairs)
    assert {pair[0] for pair in pairs} <= {2.0, 5.0, 9.0}
    for first, second in zip(seconds, tokens, strict=True):
        assert any(first <= end and second <= sub for end, sub in pairs)


def test_weights_of_two_lengths_are_repetitions() -> None:
    rng = np.random.default_rng(1)
    seconds, tokens, weights = rng.integers(1, 9, 50) / 2, rng.integers(1, 40, 50), rng.integers(1, 5, 50)
    repeated = duration_bins_2d(np.repeat(seconds, weights), np.repeat(tokens, weights), 3, 2)
    assert duration_bins_2d(seconds, tokens, 3, 2, weights) == repeated


def test_two_lengths_are_padded_to_the_bucket_that_the_sampler_takes() -> None:
    rng = np.random.default_rng(2)
    seconds, tokens = rng.uniform(1, 9, 80), rng.integers(1, 40, 80)
    pairs = duration_bins_2d(seconds, tokens, 4, 3)
    constraint = FixedBucketBatchSizeConstraint2D(max_seq_len_buckets=pairs, batch_sizes=[1] * len(pairs))
    expected = [pairs[constraint.find_bucket(lengths)] for lengths in zip(seconds, tokens, strict=True)]
    assert list(zip(*padded_to_2d(pairs, seconds, tokens), strict=True)) == expected


@pytest.fixture
def manifests(tmp_path: Path) -> list[Path]:
    """Short utterances and long ones, whose audio is not there."""
    paths = []
    for name, seconds in (("short", [1.0, 1.0, 1.2345678, 2.0]), ("long", [8.0, 9.0])):
        lines = [
            {"audio_filepath": f"{name}{number}.wav", "duration": length, "text": "AB " * round(length)}
            for number, length in enumerate(seconds)
        ]
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text("".join(json.dumps(line) + "\n" for line in lines))
    return paths


def test_command_prints_yaml(manifests: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [{"type": "nemo", "manifest_filepath": str(path), "weight": 1} for path in manifests]
    (tmp_path / "data.yaml").write_text(yaml.safe_dump({"input_cfg": parts, "num_buckets": 4}))
    assert main(["data", "bins", str(tmp_path / "data.yaml")]) == 0
    shown = capsys.readouterr().out
    # 1.234 would leave out what is as long as its end; 9.0 is the longest and has none.
    assert yaml.safe_load(shown) == {"num_buckets": 4, "use_bucketing": True, "bucket_duration_bins": [1.235, 2, 8]}
    # The short ones, a quarter each of half of all, and the long ones.
    mean = (1 + 1 + 1.2345678 + 2) / 8 + (8 + 9) / 4
    assert f"a single bin would pad by {9 / mean - 1:.1%}" in shown
    padded = (1.235 + 1.235 + 1.235 + 2) / 8 + (8 + 9) / 4
    assert f"# padding: {padded / mean - 1:.1%} at most" in shown


def test_command_prints_pairs(manifests: list[Path], tokenizer: Tokenizer, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--buckets", "2", "--sub-buckets", "2", "--tokenizer", str(tokenizer.model_file)]
    assert main(["data", "bins", str(manifests[0]), *options]) == 0
    pairs = yaml.safe_load(capsys.readouterr().out)["bucket_duration_bins"]
    one, two = (len(tokenizer.encode("AB " * count)) for count in (1, 2))
    assert pairs == [[1.235, one], [2, two]]


def test_command_leaves_out_what_is_too_long(manifests: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "bins", str(manifests[0]), "--max-duration", "1.5"]) == 0
    assert "# 3 utterances" in capsys.readouterr().out
    assert main(["data", "bins", str(manifests[0]), "--max-duration", "0.5"]) == 2
    assert "none of 4 examples is left" in capsys.readouterr().err
