"""Examples get their tokens while they are read, by tokenizers of any kind."""

from __future__ import annotations

from typing import Any

import numpy as np
from lhotse.cut import Cut

from toolkit.errors import DataError


class TokenizerWrapper:
    """``(text, language) -> ids`` of any tokenizer: the recognisers', SentencePiece's, one of several languages."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._encode = tokenizer.text_to_ids if hasattr(tokenizer, "text_to_ids") else tokenizer.encode
        self._is_aggregate = hasattr(tokenizer, "tokenizers_dict")

    def __call__(self, text: str, lang: str | None = None) -> list[int]:
        """The ids of a text; only tokenizers of several languages are told which one it is in."""
        return list(self._encode(text, lang) if self._is_aggregate else self._encode(text))


def encode_cut(cut: Cut, tokenizer: TokenizerWrapper) -> list[int]:
    """The ids of what is said in a cut, each of its supervisions in its own language."""
    said = sorted(cut.supervisions, key=lambda one: one.start)
    return [token for one in said if one.text for token in tokenizer(one.text, one.language)]


def tokenize(example: Any, tokenizer: TokenizerWrapper) -> Any:
    """The example itself, with ``tokens`` of each of its texts; of a cut, of each supervision.

    Raises
    ------
    DataError
        Examples of that type have no texts to tokenize.
    """
    if isinstance(example, Cut):
        for supervision in example.supervisions:
            if supervision.text is not None:
                supervision.tokens = np.asarray(tokenizer(supervision.text, supervision.language))
        return example
    if hasattr(example, "tokenize"):
        return example.tokenize(tokenizer)
    raise DataError(f"{type(example).__name__} cannot be tokenized: it has no method tokenize(tokenizer)")
