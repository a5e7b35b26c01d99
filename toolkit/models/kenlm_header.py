"""What the beginning of one of kenlm's binary files says of the rest."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.errors import ModelError

FAMILY = b"mmap lm http://kheafield.com/code "
MAGIC = FAMILY + b"format version 5\n\0"
FIXED = struct.Struct("<B3xfiB3xI")  # order, probing multiplier, kind, has words, version of the data structure
SANITY_BYTES = 88  # the magic bytes, and values that test the machine's byte order
VERSIONS = {0: 0, 1: 0, 2: 1, 3: 1, 4: 1, 5: 1}  # of the data structure, by kind
HIGHEST_ORDER = 20


# Word ids (M, n), log10 p (M,) and log10 back-offs (M,) of the n-grams of an order, which are in any order.
Level = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Header:
    """Kind and size of a model."""

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


def read_header(data: np.ndarray) -> Header:
    """The header of a file's bytes; a ModelError when it is of something that is not known here."""
    start = data[: SANITY_BYTES + FIXED.size].tobytes()
    if not start.startswith(MAGIC):
        wanted = MAGIC[len(FAMILY) : -2].decode()
        found = start[len(FAMILY) : len(MAGIC)].split(b"\n")[0].decode(errors="replace")
        raise ModelError(f"expected kenlm's {wanted!r}, found {found!r}; build it anew from the ARPA file")
    order, multiplier, kind, has_words, version = FIXED.unpack_from(start, SANITY_BYTES)
    if VERSIONS.get(kind) != version or not 2 <= order <= HIGHEST_ORDER or not 1.0 <= multiplier < math.inf:
        raise ModelError(f"kind {kind}, version {version}, order {order}: not known here; give the ARPA file instead")
    if not has_words:
        raise ModelError("does not hold its words; build it anew without -v, or give the ARPA file")
    counts = struct.unpack_from(f"<{order}Q", data[: SANITY_BYTES + FIXED.size + 8 * order], SANITY_BYTES + FIXED.size)
    if sum(counts) > 8 * len(data):
        raise ModelError(f"promises {sum(counts)} n-grams in {len(data)} bytes; is it cut short?")
    size = SANITY_BYTES + FIXED.size + 8 * order
    return Header(kind, counts, multiplier, bool(has_words), size + -size % 8)
