r"""ARPA files of back-off n-gram models, plain or gzipped.

::

    \data\
    ngram 1=5
    ngram 2=2

    \1-grams:
    -1.2  <unk>
    -99   <s>    -0.3          log10 probability, word, log10 back-off weight (0 where it is left out)
    -0.7  </s>
    -0.4  A      -0.2
    -0.6  B

    \2-grams:
    -0.1  <s> A
    -0.5  A B

    \end\

What tools leave out is put in: ``<unk>``, ``<s>`` and ``</s>`` where missing have a log10 probability of -100, and an
n-gram whose context is not listed (models can be pruned so) gets one that says what backing off says. Words end at
ASCII white space only: any other character can be part of one.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from toolkit.errors import ModelError
from toolkit.files import replacing
from toolkit.models.arpa_reader import LN10, ArpaReader
from toolkit.models.kenlm_file import read_kenlm
from toolkit.models.kenlm_header import is_kenlm
from toolkit.models.ngram import NgramModel
from toolkit.models.ngram_binary import restore_ngram, save_ngram

logger = logging.getLogger(__name__)


def read_arpa(path: str | Path) -> NgramModel:
    """The model of an ARPA file, plain or gzipped.

    Raises
    ------
    ModelError
        The file is missing, cut short or malformed; the message names the line.
    """
    return ArpaReader(Path(path)).model()


def write_arpa(model: NgramModel, path: str | Path) -> None:
    """Write a model as an ARPA file, gzipped where the name ends in ``.gz``; reading it gives the same model.

    Numbers have nine digits, which is what single precision takes. A zero probability is written as -99 (SRILM's).
    """
    zipped = Path(path).suffix == ".gz"
    with replacing(path) as partial, gzip.open(partial, "wb", 6) if zipped else partial.open("wb") as file:
        file.writelines(line.encode() for line in _arpa_lines(model))


def load_ngram(
    path: str | Path, *, cache_folder: str | Path | None = None, check: Callable[[NgramModel], None] | None = None
) -> NgramModel:
    """The model of an ARPA file or of a binary file of kenlm; read from a copy when there is one of this very file.

    The first call makes the copy: ``<name>.npz`` beside the file, or in ``cache_folder``. It is made anew when the
    file's size or time differ, and done without where it cannot be written. What is no copy, or damaged, is left alone.

    Parameters
    ----------
    check
        Raises where the model is not one that is wanted; no copy is made of it then.

    Raises
    ------
    ModelError
        As `read_arpa` and `read_kenlm`.
    """
    path = Path(path)
    copy = _copy_of(path, cache_folder)
    try:
        stat = path.stat()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); expected an ARPA file or one of kenlm") from None
    source = stat.st_size, stat.st_mtime_ns
    try:
        model = _read_copy(copy, source)
        copying = model is None
    except ModelError as error:
        logger.warning("%s: %s; it is left as it is, and %s read each time until you delete it", copy, error, path.name)
        model, copying = None, False
    if model is None:
        model = read_kenlm(path) if is_kenlm(path) else read_arpa(path)
    if check is not None:
        check(model)
    if copying:
        _write_copy(model, copy, source)
    return model


def _copy_of(path: Path, folder: str | Path | None) -> Path:
    """Where the binary copy of an ARPA file lies; in a folder for many, its name tells files of one name apart."""
    if folder is None:
        return path.with_name(f"{path.name}.npz")
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    return Path(folder) / f"{path.name}.{place}.npz"


def _read_copy(copy: Path, source: tuple[int, int]) -> NgramModel | None:
    """The model of a binary copy; ``None`` when there is none, or not of this version; a ModelError of what is none."""
    try:
        with copy.open("rb") as file:
            return restore_ngram(file, source=source)
    except OSError:
        return None


def _write_copy(model: NgramModel, copy: Path, source: tuple[int, int]) -> None:
    """Write a binary copy, if the folder can be written to."""
    try:
        with replacing(copy) as partial, partial.open("wb") as file:
            save_ngram(model, file, source=source)
    except OSError as error:
        logger.info("%s: not written (%s); the ARPA file will be read again", copy, error.strerror)


def _arpa_lines(model: NgramModel) -> Iterator[str]:
    """The lines of an ARPA file."""
    contexts, lengths = _context_words(model)
    arc_length = np.array(lengths)[model.arc_source] + 1
    yield "\\data\\\n"
    yield from (f"ngram {order}={np.count_nonzero(arc_length == order)}\n" for order in range(1, model.order + 1))
    owned = _owned_states(model)
    for order in range(1, model.order + 1):
        yield f"\n\\{order}-grams:\n"
        yield from _gram_lines(model, contexts, owned, np.flatnonzero(arc_length == order))
    yield "\n\\end\\\n"


def _gram_lines(model: NgramModel, contexts: list[str], owned: np.ndarray, arcs: np.ndarray) -> Iterator[str]:
    """The lines of some arcs: log10 probability, words, and the back-off weight of those that are contexts."""
    logp, backoff = _log10(model.arc_logp[arcs]), _log10(np.append(model.backoff_logp, 0.0)[owned[arcs]])
    columns = (logp, model.arc_source[arcs], model.arc_word[arcs], owned[arcs], backoff)
    for value, source, word, state, weight in zip(*(column.tolist() for column in columns), strict=True):
        tail = f"\t{weight:.9g}\n" if state >= 0 else "\n"
        yield f"{value:.9g}\t{contexts[source]}{model.words[word]}{tail}"


def _log10(logs: np.ndarray) -> np.ndarray:
    """Natural logs as log10, -99 for those of zero."""
    return np.where(logs == -np.inf, -99.0, logs.astype(np.float64) / LN10)


def _owned_states(model: NgramModel) -> np.ndarray:
    """(A,) the state whose context is exactly the n-gram of the arc; -1 for n-grams that are no context.

    Arcs that lead to a state come from contexts at least as long as its own, and those with longer ones come later.
    """
    states, first = np.unique(model.arc_next, return_index=True)
    owned = np.full(len(model), -1)
    owned[first[states > 0]] = states[states > 0]
    return owned


def _context_words(model: NgramModel) -> tuple[list[str], list[int]]:
    """The words of each state, with a space after each, and their number."""
    owned = _owned_states(model)
    contexts, lengths = [""] * model.states, [0] * model.states
    arcs = np.flatnonzero(owned >= 0)
    columns = (owned[arcs], model.arc_source[arcs], model.arc_word[arcs])
    for state, source, word in zip(*(column.tolist() for column in columns), strict=True):
        contexts[state] = f"{contexts[source]}{model.words[word]} "
        lengths[state] = lengths[source] + 1
    return contexts, lengths
