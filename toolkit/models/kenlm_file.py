r"""kenlm's binary n-gram files, of all data structures that ``build_binary`` writes, as the automaton of `NgramModel`.

A file has a header, a vocabulary by hash, the n-grams, and the words in the order of their ids, each ended by a zero::

    "mmap lm http://kheafield.com/code format version 5\n\0", test values, order, kind, n-grams of each order
    <vocabulary>         hashes, which are not read
    <n-grams>            hash tables (`kenlm_probing`) or a trie (`kenlm_trie`)
    "<unk>\0<s>\0the\0"  left out by ``build_binary -i``: nothing says then which words the model is over

Numbers are those of an ARPA file, as log10; those of a quantised trie are rounded.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.errors import ModelError
from toolkit.models.arpa_reader import LN10, MISSING_LOG10
from toolkit.models.kenlm_probing import ProbingSearch
from toolkit.models.kenlm_trie import TrieSearch
from toolkit.models.ngram import MARKS, NgramModel
from toolkit.models.ngram_build import Listed, build_ngram, sorted_grams

FAMILY = b"mmap lm http://kheafield.com/code "
MAGIC = FAMILY + b"format version 5\n\0"
FIXED = struct.Struct("<B3xfiB3xI")  # order, probing multiplier, kind, has words, version of the data structure
SANITY_BYTES = 88  # the magic bytes, and values that test the machine's byte order
VERSIONS = {0: 0, 1: 0, 2: 1, 3: 1, 4: 1, 5: 1}  # of the data structure, by kind
HIGHEST_ORDER = 20


@dataclass(frozen=True)
class Header:
    """What the beginning of a file says of the rest."""

    kind: int  # 0 probing, 1 with rest costs; trie from 2 on: + 1 quantised, + 2 with compressed pointers
    counts: tuple[int, ...]  # n-grams of each order, from single words on
    multiplier: float  # buckets of a hash table by its entries
    has_words: bool
    size: int  # of itself, in bytes


def is_kenlm(path: str | Path) -> bool:
    """Whether a file is one of kenlm's, or part of one; not so when it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(FAMILY)) == FAMILY
    except OSError:
        return False


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
        return _model(data)
    except (IndexError, ValueError, struct.error) as error:  # what reading beyond the end raises
        raise ModelError(f"{path}: a binary file of kenlm that is cut short or damaged ({error})") from None
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


def _model(data: np.ndarray) -> NgramModel:
    header = _header(data)
    search = (TrieSearch if header.kind >= 2 else ProbingSearch)(data, header)
    words = _words(data[search.end :], header)
    listed = [
        Listed(ids, logp * LN10, backoff * LN10, np.zeros(len(ids), np.int64)) for ids, logp, backoff in search.levels()
    ]
    ours = list(MARKS) + [word for word in words if word not in MARKS]
    numbers = {word: number for number, word in enumerate(ours)}
    renumbered = np.array([numbers[word] for word in words])
    for one in listed:
        one.words = renumbered[one.words]
    missing = np.setdiff1d(np.arange(len(MARKS)), renumbered)[:, None]
    listed[0] = Listed.joined([listed[0], Listed.unscored(missing, MISSING_LOG10 * LN10)])
    twice = ModelError("an n-gram is there twice; the file is damaged")
    return build_ngram(ours, sorted_grams(listed, len(ours), lambda *_: twice))


def _header(data: np.ndarray) -> Header:
    start = data[: SANITY_BYTES + FIXED.size].tobytes()
    if not start.startswith(MAGIC):
        wanted = MAGIC[len(FAMILY) : -2].decode()
        found = start[len(FAMILY) : len(MAGIC)].split(b"\n")[0].decode(errors="replace")
        raise ModelError(f"expected kenlm's {wanted!r}, found {found!r}; build it anew from the ARPA file")
    order, multiplier, kind, has_words, version = FIXED.unpack_from(start, SANITY_BYTES)
    if VERSIONS.get(kind) != version or not 2 <= order <= HIGHEST_ORDER:
        raise ModelError(f"kind {kind}, version {version}, order {order}: not known here; give the ARPA file instead")
    if not has_words:
        raise ModelError("does not hold its words; build it anew without -i, or give the ARPA file")
    counts = struct.unpack_from(f"<{order}Q", data[: SANITY_BYTES + FIXED.size + 8 * order], SANITY_BYTES + FIXED.size)
    if sum(counts) > 8 * len(data):
        raise ModelError(f"promises {sum(counts)} n-grams in {len(data)} bytes; is it cut short?")
    size = SANITY_BYTES + FIXED.size + 8 * order
    return Header(kind, counts, multiplier, bool(has_words), size + -size % 8)


def _words(data: np.ndarray, header: Header) -> list[str]:
    """The word of each id."""
    words = data.tobytes().decode(errors="strict").split("\0")
    if words[0] != MARKS[0] or len(words) - 1 != header.counts[0]:
        raise ModelError(f"expected {header.counts[0]} words at the end, from <unk> on, found {len(words) - 1}")
    return words[:-1]
