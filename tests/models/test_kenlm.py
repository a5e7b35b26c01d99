"""kenlm's binary files: the n-grams of the ARPA file they were made of, and the scores that kenlm itself gives."""

from __future__ import annotations

import math
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from toolkit.errors import ModelError
from toolkit.models.arpa import load_ngram, read_arpa
from toolkit.models.kenlm_file import read_kenlm
from toolkit.models.kenlm_header import is_kenlm
from toolkit.models.kenlm_probing import _keys, _overlapping

FILES = Path(__file__).parent / "kenlm"
BINARY = sorted(path.name for path in FILES.glob("*.bin") if path.name != "no_words.bin")
EXACT = [name for name in BINARY if "quantised" not in name]


def arpa_of(name: str) -> Path:
    return FILES / ("gaps.arpa" if name.startswith("gaps") else "sample.arpa")


def sentences(words: list[str], count: int = 200) -> list[list[str]]:
    draw = random.Random(3)
    return [draw.choices([*words, "unheard"], k=draw.randint(0, 8)) for _ in range(count)]


@pytest.mark.parametrize("name", BINARY)
def test_scores_are_those_of_kenlm(name: str):
    kenlm = pytest.importorskip("kenlm")
    ours, theirs = read_kenlm(FILES / name), kenlm.Model(str(FILES / name))
    for sentence in sentences(ours.words[3:]):
        text = " ".join(sentence)
        assert ours.sentence_log_prob(sentence) / math.log(10.0) == pytest.approx(theirs.score(text), abs=1e-4)
        inside = theirs.score(text, bos=False, eos=False)
        found = ours.sentence_log_prob(sentence, begin=False, end=False)
        assert found / math.log(10.0) == pytest.approx(inside, abs=1e-4)


@pytest.mark.parametrize("name", EXACT)
def test_the_model_is_that_of_the_arpa_file(name: str):
    ours, expected = read_kenlm(FILES / name), read_arpa(arpa_of(name))
    assert (len(BINARY), len(EXACT)) == (8, 6)
    assert sorted(ours.words) == sorted(expected.words)
    put_in = 4 if name.startswith("gaps") else 0  # by kenlm, with what backing off gives
    assert (len(ours) - put_in, ours.states, ours.order) == (len(expected), expected.states, expected.order)
    for sentence in sentences(expected.words[3:]):
        assert ours.sentence_log_prob(sentence) == pytest.approx(expected.sentence_log_prob(sentence), abs=1e-4)


def test_they_are_known_by_what_is_in_them_and_copied(tmp_path: Path):
    shutil.copy(FILES / "probing.bin", tmp_path / "model.arpa")
    expected = read_arpa(FILES / "sample.arpa")
    for _ in ("read", "from the copy"):
        assert len(load_ngram(tmp_path / "model.arpa")) == len(expected)
    assert (tmp_path / "model.arpa.npz").is_file()
    assert not is_kenlm(FILES / "sample.arpa")
    assert not is_kenlm(tmp_path / "missing.bin")


def test_keys_are_found_among_all_pairs_of_words():
    draw = np.random.default_rng(4)
    V = 1500  # several tiles
    pairs = np.unique(draw.integers(V, size=(4000, 2)), axis=0)
    keys = _keys(pairs)
    order = np.argsort(keys)
    everything = np.arange(V)
    found = _overlapping(everything[:, None], everything, everything, keys[order])
    assert len(found) == len(pairs)
    assert (pairs[order][found[:, 2]] == found[:, [1, 0]]).all()


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("kept", [0.999, 0.7, 0.3, 0.04])
def test_a_file_that_is_cut_short_is_said_to_be(name: str, kept: float, tmp_path: Path):
    content = (FILES / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ModelError, match=name):
        read_kenlm(tmp_path / name)


@pytest.mark.parametrize("name", ["trie.bin", "array_trie.bin", "quantised_array_trie.bin", "probing.bin"])
def test_a_damaged_file_is_an_error_or_another_model(name: str, tmp_path: Path):
    content, draw = (FILES / name).read_bytes(), random.Random(5)
    for _ in range(40):
        damaged = bytearray(content)
        for place in draw.choices(range(88, len(content)), k=20):
            damaged[place] = draw.randrange(256)
        (tmp_path / name).write_bytes(damaged)
        try:
            read_kenlm(tmp_path / name)
        except ModelError as error:
            assert name in str(error)  # noqa: PT017 - of many, some are no errors


def test_what_cannot_be_read_says_why(tmp_path: Path):
    with pytest.raises(ModelError, match="does not hold its words"):
        read_kenlm(FILES / "no_words.bin")
    with pytest.raises(ModelError, match="cannot be read"):
        read_kenlm(tmp_path / "missing.bin")
    content = (FILES / "trie.bin").read_bytes()
    (tmp_path / "old.bin").write_bytes(content.replace(b"version 5", b"version 4"))
    with pytest.raises(ModelError, match=r"old.bin: expected kenlm's 'format version 5', found 'format version 4'"):
        read_kenlm(tmp_path / "old.bin")
