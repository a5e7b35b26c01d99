"""n-gram models as bytes: numpy arrays in an uncompressed zip, read without running anything that is in it."""

from __future__ import annotations

import io
import zlib
from typing import IO
from zipfile import BadZipFile

import numpy as np

from toolkit.errors import ModelError
from toolkit.models.ngram import ARRAYS, NgramModel

FORMAT = 1  # to be raised when the arrays change
# What reading raises where something else is, or half of it.
DAMAGE = (OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError, EOFError, zlib.error, BadZipFile)


def save_ngram(model: NgramModel, file: IO[bytes], *, source: tuple[int, ...] = ()) -> None:
    """Write a model; ``source`` are numbers that say what it was made from."""
    words = np.frombuffer("\n".join(model.words).encode(), dtype=np.uint8)
    arrays = {name: getattr(model, name) for name in ARRAYS}
    np.savez(file, source=np.array([FORMAT, *source]), words=words, order=model.order, **arrays)


def restore_ngram(file: IO[bytes], *, source: tuple[int, ...] = ()) -> NgramModel | None:
    """The model that was written; ``None`` when it was made from something else, or in another format.

    Raises
    ------
    ModelError
        The file is damaged.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            if stored["source"].tolist() != [FORMAT, *source]:
                return None
            words = stored["words"].tobytes().decode().split("\n")
            return NgramModel(words, int(stored["order"]), **{name: stored[name] for name in ARRAYS})
    except DAMAGE as error:
        raise ModelError(f"not an n-gram model, or damaged: {error}") from None


def to_bytes(model: NgramModel) -> bytes:
    """A model as bytes."""
    stream = io.BytesIO()
    save_ngram(model, stream)
    return stream.getvalue()


def from_bytes(content: bytes) -> NgramModel:
    """The model that `to_bytes` wrote; a ModelError for anything else."""
    model = restore_ngram(io.BytesIO(content))
    if model is None:
        raise ModelError("an n-gram model in the format of another version")
    return model
