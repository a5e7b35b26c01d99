r"""kenlm's binary n-gram files, of all data structures that ``build_binary`` writes, as the automaton of `NgramModel`.

A file has a header, a vocabulary by hash, the n-grams, and the words in the order of their ids, each ended by a zero::

    "mmap lm http://kheafield.com/code format version 5\n\0", test values, order, kind, n-grams of each order
    <vocabulary>         hashes, which are not read
    <n-grams>            hash tables (`kenlm_probing`) or a trie (`kenlm_trie`)
    "<unk>\0<s>\0the\0"  left out by ``build_binary -v``: nothing says then which words the model is over

Numbers are those of an ARPA file, as log10; those of a quantised trie are rounded.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from toolkit.errors import ModelError
from toolkit.models.arpa_reader import LN10, MISSING_LOG10
from toolkit.models.kenlm_header import Header, read_header
from toolkit.models.kenlm_probing import ProbingSearch
from toolkit.models.kenlm_trie import TrieSearch
from toolkit.models.ngram import MARKS, NgramModel
from toolkit.models.ngram_build import Listed, build_ngram, sorted_grams


def read_kenlm(path: str | Path) -> NgramModel:
    """The model of one of kenlm's binary files.

    Hash tables do not say which words their entries are of: those are found by trying, in seconds for a vocabulary
    of 50,000 words and minutes for one of 400,000.

    Raises
    ------
    ModelError
        The file is missing, cut short, damaged, of another version or without its words.
    """
    path = Path(path)
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); expected a binary file of kenlm") from None
    try:
        with np.errstate(invalid="ignore"):  # damage can be a NaN that must not be touched
            return _model(data)
    except (IndexError, ValueError, struct.error) as error:  # what reading beyond the end raises
        raise ModelError(f"{path}: a binary file of kenlm that is cut short or damaged ({error})") from None
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


def _model(data: np.ndarray) -> NgramModel:
    header = read_header(data)
    search = (TrieSearch if header.kind >= 2 else ProbingSearch)(data, header)
    words = _words(data[search.end :], header)
    listed = [
        Listed(ids, logp * LN10, backoff * LN10, np.zeros(len(ids), np.int64)) for ids, logp, backoff in search.levels()
    ]
    if not all(np.isfinite(numbers).all() for one in listed for numbers in (one.logp, one.backoff)):
        raise ModelError("a probability or back-off weight is no number; the file is damaged")
    ours = list(MARKS) + [word for word in words if word not in MARKS]
    numbers = {word: number for number, word in enumerate(ours)}
    renumbered = np.array([numbers[word] for word in words])
    for one in listed:
        one.words = renumbered[one.words]
    missing = np.setdiff1d(np.arange(len(MARKS)), renumbered)[:, None]
    listed[0] = Listed.joined([listed[0], Listed.unscored(missing, MISSING_LOG10 * LN10)])
    twice = ModelError("an n-gram is there twice; the file is damaged")
    return build_ngram(ours, sorted_grams(listed, len(ours), lambda *_: twice))


def _words(data: np.ndarray, header: Header) -> list[str]:
    """The word of each id."""
    words = data.tobytes().decode(errors="strict").split("\0")
    if words[0] != MARKS[0] or len(words) - 1 != header.counts[0]:
        raise ModelError(f"expected {header.counts[0]} words at the end, from <unk> on, found {len(words) - 1}")
    return words[:-1]
