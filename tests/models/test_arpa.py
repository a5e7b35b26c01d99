"""ARPA files: what tools write, what is malformed, and back again."""

from __future__ import annotations

import gzip
import math
import os
import tracemalloc

import kenlm
import numpy as np
import pytest
from arpa_texts import LN10, arpa_text, random_grams
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import ModelError
from toolkit.models import arpa, arpa_reader
from toolkit.models.arpa import load_ngram, read_arpa, write_arpa
from toolkit.models.ngram import ARRAYS

TEXT = """\
made by hand

\\data\\
ngram 1=5
ngram 2=2

\\1-grams:
-1.5\t<unk>
-99\t<s>\t-0.3
-0.7\t</s>
-0.4\tA\t-0.2
-0.6\tB

\\2-grams:
-0.1\t<s> A
-0.5\tA B

\\end\\
"""


def read(folder, text):
    path = folder / "lm.arpa"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_arpa(path)


def same(one, other):
    arrays = [(getattr(one, name), getattr(other, name)) for name in ARRAYS]
    return one.words == other.words and one.order == other.order and all(np.array_equal(*pair) for pair in arrays)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), order=st.integers(1, 4), zipped=st.booleans())
def test_a_model_comes_back_from_its_file_bit_by_bit(tmp_path_factory, seed, order, zipped):
    folder = tmp_path_factory.mktemp("arpa")
    model = read(folder, arpa_text(random_grams(seed, order, 0.4)))
    file = folder / ("again.arpa.gz" if zipped else "again.arpa")
    write_arpa(model, file)
    assert same(read_arpa(file), model)
    assert file.read_bytes().startswith(b"\x1f\x8b") == zipped
    assert {path.name for path in folder.iterdir()} == {"lm.arpa", file.name}


def test_kenlm_reads_what_is_written(tmp_path):
    model = read(tmp_path, arpa_text(random_grams(2, 3, 0.5, closed=True)))
    write_arpa(model, tmp_path / "again.arpa")
    theirs = kenlm.Model(str(tmp_path / "again.arpa"))
    for sentence in (["A", "B", "É"], ["B", "nobody", "A"], []):
        assert model.sentence_log_prob(sentence) / LN10 == pytest.approx(theirs.score(" ".join(sentence)), abs=1e-4)


def test_white_space_line_ends_and_compression_do_not_matter(tmp_path):
    plain = read(tmp_path, TEXT)
    assert plain.words == ["<unk>", "<s>", "</s>", "A", "B"]
    spaces = TEXT.replace("\t", " ").replace("\\end\\\n", " \\end\\").replace(" \\end", "\\end")
    for variant in (TEXT.replace("\n", "\r\n"), spaces, TEXT.replace("\n\n", "\n"), TEXT.replace("\t", "  \t ")):
        assert same(read(tmp_path, variant), plain)
    assert same(read(tmp_path, gzip.compress(TEXT.encode())), plain)


def test_sections_are_read_in_blocks(tmp_path, monkeypatch):
    text = arpa_text(random_grams(1, 3, 0.9))
    whole = read(tmp_path, text)
    monkeypatch.setattr(arpa_reader, "BLOCK_BYTES", 64)
    assert same(read(tmp_path, text), whole)


def test_marks_that_are_not_listed_have_kenlms_score_of_unknown_words(tmp_path):
    text = TEXT.replace("-1.5\t<unk>\n", "").replace("-0.7\t</s>\n", "").replace("1=5", "1=3")
    model = read(tmp_path, text)
    assert model.words == ["<unk>", "<s>", "</s>", "A", "B"]
    assert model.sentence_log_prob(["A", "B"], end=False) / LN10 == pytest.approx(-0.6)
    assert model.sentence_log_prob(["C"], end=False) / LN10 == pytest.approx(-100.3)
    assert model.sentence_log_prob([]) / LN10 == pytest.approx(-100.3)
    write_arpa(model, tmp_path / "again.arpa")
    assert same(read_arpa(tmp_path / "again.arpa"), model)


def test_unknown_words_may_be_written_in_capitals(tmp_path):
    text = TEXT.replace("<unk>", "<UNK>").replace("A B\n", "A <UNK>\n")
    model = read(tmp_path, text)
    assert model.words[0] == "<unk>"
    assert "<UNK>" not in model.words
    assert model.sentence_log_prob(["A", "C"], end=False) / LN10 == pytest.approx(-0.6)


def test_an_order_may_have_no_ngrams(tmp_path):
    text = TEXT.replace("2=2\n", "2=2\nngram 3=0\n").replace("\\end", "\\3-grams:\n\n\\end")
    model = read(tmp_path, text.replace("A B", "A B\t-0.5"))
    assert model.sentence_log_prob(["A", "B", "B"], end=False) / LN10 == pytest.approx(-0.1 - 0.5 - 0.5 - 0.6)
    write_arpa(model, tmp_path / "again.arpa")
    assert same(read_arpa(tmp_path / "again.arpa"), model)


def test_minus_infinity_is_read_and_written_as_a_log_of_zero(tmp_path):
    model = read(tmp_path, TEXT.replace("-0.6\tB", "-inf\tB").replace("-0.2\n", "-inf\n"))
    assert model.sentence_log_prob(["B"]) == -math.inf
    assert model.sentence_log_prob(["A", "A"]) == -math.inf
    write_arpa(model, tmp_path / "again.arpa")
    assert read_arpa(tmp_path / "again.arpa").sentence_log_prob(["B"], end=False) / LN10 == pytest.approx(-99.3)


@pytest.mark.parametrize(
    ("old", "new", "line", "problem"),
    [
        ("\\data\\", "\\date\\", 3, r"not an ARPA file: "),
        ("ngram 2=2", "ngram 3=2", 5, "expected `ngram 2=COUNT`, found 'ngram 3=2'"),
        ("ngram 1=5\nngram 2=2\n", "", 3, "no line `ngram 1=COUNT` follows"),
        ("ngram 1=5", "ngram 1=4", 7, "the header promises 4 1-grams, here are 5"),
        ("ngram 2=2", "ngram 2=3", 14, "the header promises 3 2-grams, here are 2; is the file cut short"),
        ("\\2-grams:", "\\3-grams:", 14, r"expected \\2-grams:, found '\\\\3-grams:'"),
        ("\\end\\\n", "", 16, r"the file ends before \\end\\; is it cut short"),
        ("-0.5\tA B", "-0.5\tA B -1 -1", 16, "expected a log10 probability, 2 words and perhaps .*, found 5 fields"),
        ("-0.5\tA B", "-0.5\tA", 16, "expected a log10 probability, .*, found 2 fields"),
        ("-0.4\tA", "x0.4\tA", 11, "expected a log10 number of at most 0, found 'x0.4'"),
        ("-0.4\tA\t-0.2", "-0.4\tA\t-0.2.1", 11, "expected a log10 number, found '-0.2.1'"),
        ("-0.4\tA", "nan\tA", 11, "expected a log10 number of at most 0, found 'nan'"),
        ("-0.4\tA", "0.4\tA", 11, "expected a log10 number of at most 0, found '0.4'"),
        ("-0.4\tA\t-0.2", "-0.4\tA\tinf", 11, "expected a log10 number, found 'inf'"),
        ("A B\n", "A C\n", 16, "the word 'C' is not among the 1-grams"),
        ("A B\n", "<s> A\n", 16, "the 2-gram '<s> A' is listed twice"),
        ("-0.7\t</s>", "-0.7\tB", 12, "the 1-gram 'B' is listed twice"),
    ],
)
def test_what_is_malformed_is_named_with_its_line(tmp_path, old, new, line, problem):
    assert TEXT.count(old) == 1
    with pytest.raises(ModelError, match=rf"lm\.arpa, line {line}: {problem}"):
        read(tmp_path, TEXT.replace(old, new))


def test_files_that_are_no_arpa_files(tmp_path):
    with pytest.raises(ModelError, match=r"none\.arpa: cannot be read \(No such file or directory\)"):
        read_arpa(tmp_path / "none.arpa")
    with pytest.raises(ModelError, match=r"line 1: not an ARPA file"):
        read(tmp_path, "")
    with pytest.raises(ModelError, match=r"cannot be unpacked: .* is it cut short"):
        read(tmp_path, gzip.compress(TEXT.encode())[:40])
    with pytest.raises(ModelError, match=r"line 12: the word 'B.*' is not UTF-8"):
        read(tmp_path, TEXT.encode().replace(b"\tB", b"\tB\xff"))


def test_a_copy_is_read_until_the_file_changes(tmp_path, monkeypatch):
    path = tmp_path / "lm.arpa"
    model = read(tmp_path, TEXT)
    assert same(load_ngram(path), model)
    reads = []
    monkeypatch.setattr(arpa, "read_arpa", lambda file: reads.append(file) or read_arpa(file))
    assert same(load_ngram(path), model)
    assert reads == []
    path.write_text(TEXT.replace("-0.5\tA B", "-0.4\tA B"))
    os.utime(path, ns=(0, 0))
    assert load_ngram(path).sentence_log_prob(["A", "B"], end=False) / LN10 == pytest.approx(-0.5)
    assert reads == [path]


@pytest.mark.parametrize(("size", "more"), [(300, b""), (0, b""), (0, b"PK" * 500), (700, bytes(4000))])
def test_what_is_no_copy_or_damaged_is_left_alone(tmp_path, size, more, caplog):
    model, copy = read(tmp_path, TEXT), tmp_path / "lm.arpa.npz"
    load_ngram(tmp_path / "lm.arpa")
    whole = copy.read_bytes()
    copy.write_bytes(whole[:size] + more)
    assert same(load_ngram(tmp_path / "lm.arpa"), model)
    assert "lm.arpa.npz: not an n-gram model, or damaged" in caplog.text
    assert copy.read_bytes() == whole[:size] + more


def test_no_copy_is_made_of_a_model_that_is_not_wanted(tmp_path):
    read(tmp_path, TEXT)

    def refuse(model):
        raise ModelError(f"{len(model.words)} words")

    with pytest.raises(ModelError, match="words"):
        load_ngram(tmp_path / "lm.arpa", check=refuse)
    assert not (tmp_path / "lm.arpa.npz").exists()


def test_a_gzipped_file_that_grows_without_end_is_refused(tmp_path):
    with gzip.open(tmp_path / "lm.arpa.gz", "wb") as file:
        for _ in range(64):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(ModelError, match=r"lm\.arpa\.gz: unpacked it is more than 50 times as large"):
        read_arpa(tmp_path / "lm.arpa.gz")
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_a_copy_with_a_pickle_in_it_is_not_loaded(tmp_path):
    model = read(tmp_path, TEXT)
    stat = (tmp_path / "lm.arpa").stat()
    source = np.array([1, stat.st_size, stat.st_mtime_ns])
    with (tmp_path / "lm.arpa.npz").open("wb") as file:
        np.savez(file, source=source, words=np.array([Spy()], dtype=object))
    assert same(load_ngram(tmp_path / "lm.arpa"), model)
    assert Spy.loaded == []


class Spy:
    """Notes that it was unpickled."""

    loaded: list[str] = []  # noqa: RUF012 (shared by all on purpose)

    def __setstate__(self, state):
        Spy.loaded.append("unpickled")

    def __getstate__(self):
        return {"some": "state"}


def test_copies_of_many_files_in_one_folder(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder, text in ((first, TEXT), (second, TEXT.replace("\tB", "\tC").replace("A B", "A C"))):
        folder.mkdir()
        read(folder, text)
        for _ in range(2):
            load_ngram(folder / "lm.arpa", cache_folder=tmp_path / "cache")
    assert load_ngram(first / "lm.arpa", cache_folder=tmp_path / "cache").words[-1] == "B"
    assert load_ngram(second / "lm.arpa", cache_folder=tmp_path / "cache").words[-1] == "C"
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert [path.name for path in first.iterdir()] == ["lm.arpa"]


def test_where_no_copy_can_be_written_there_is_none(tmp_path):
    model = read(tmp_path, TEXT)
    (tmp_path / "file").write_text("in the way")
    assert same(load_ngram(tmp_path / "lm.arpa", cache_folder=tmp_path / "file"), model)
