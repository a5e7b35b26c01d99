"""Word n-grams beside a CTC model, in the layouts of pyctcdecode and of transformers' ``Wav2Vec2ProcessorWithLM``.

::

    alphabet.json                  {"labels": ["", "<s>", "</s>", "⁇", " ", "E", ...], "is_bpe": false}
    language_model/attrs.json      {"alpha": 0.5, "beta": 1.5, "unk_score_offset": -10.0, "score_boundary": true}
    language_model/unigrams.txt    the words that are known, one a line; may be gzipped
    language_model/4gram.arpa      or .arpa.gz, or kenlm's .bin; any name

A folder with an n-gram and no more is one, too.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.decoders.spelling import MARK
from toolkit.errors import ModelError
from toolkit.files import read_unpacked
from toolkit.inference.huggingface_tokenizer import read_json

FOLDER = "language_model"
NGRAMS = ("*.arpa", "*.arpa.gz", "*.bin", "*.binary", "*.kenlm", "*.klm")
UNIGRAMS = ("unigrams.txt", "unigrams.txt.gz")
WEIGHTS = {"alpha": 0.5, "beta": 1.5, "unk_score_offset": -10.0, "score_boundary": True}  # pyctcdecode's


def find_language_model(source: str | Path) -> dict[str, Any]:
    """What a folder or a file says of a word n-gram: ``word_ngram``, perhaps ``unigrams``, and `WEIGHTS`.

    Raises
    ------
    ModelError
        There is no n-gram, or more than one.
    TokenizerError
        ``attrs.json`` is damaged.
    """
    source = Path(source)
    if source.is_file():
        return {"word_ngram": source, **WEIGHTS}
    folder = source / FOLDER if (source / FOLDER).is_dir() else source
    if not folder.is_dir():
        raise ModelError(f"{source}: no such file or folder; expected a word n-gram (ARPA or kenlm's binary)")
    found = sorted(path for pattern in NGRAMS for path in folder.glob(pattern))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ModelError(f"{folder}: expected one n-gram, a file {' or '.join(NGRAMS[:3])}; found {names}")
    given = {key: value for key, value in read_json(folder / "attrs.json", {}).items() if key in WEIGHTS}
    words = [folder / name for name in UNIGRAMS if (folder / name).is_file()]
    return {"word_ngram": found[0], **WEIGHTS, **given} | ({"unigrams": words[0]} if words else {})


def read_unigrams(path: str | Path) -> list[str]:
    """The words of a list, one a line, plain or gzipped; an empty list counts as none being known.

    Raises
    ------
    ModelError
        The file is missing, damaged or not UTF-8.
    """
    try:
        text = read_unpacked(Path(path)).decode()
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ModelError(f"{path}: cannot be read as a list of words: {error}") from None
    return [word for word in map(str.strip, text.splitlines()) if word]


def check_alphabet(folder: Path, columns: Mapping[int, str]) -> None:
    """Raise a ModelError where ``alphabet.json`` has other letters than the tokens of the model's output columns."""
    file = folder / "alphabet.json"
    labels: Sequence[str] = read_json(file, {}).get("labels", ())
    for column, label in enumerate(labels):
        token = columns.get(column, "").replace(MARK, " ")
        if len(label) == len(token) == 1 and label != token:
            raise ModelError(
                f"{file}: label {column} is {label!r}, but the model's token is {token!r}: a decoder of another model"
            )
    if labels and len(labels) < len(columns):
        raise ModelError(f"{file}: {len(labels)} labels, but the model has {len(columns)} outputs; of another model?")
