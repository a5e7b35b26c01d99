"""One vocabulary out of the tokenizers of several languages. The names are NeMo's."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from itertools import accumulate, groupby
from typing import Any

from toolkit.errors import TokenizerError, did_you_mean


class AggregateTokenizer:
    """The ids of each language's tokenizer, one range after the other; the special ids are those of the first.

    Parameters
    ----------
    tokenizers
        By language, e.g. ``{"en": SentencePieceTokenizer(...), "es": ...}``. The first may be one
        of special marks, such as ``{"spl_tokens": ...}`` of the format ``canary``.
    """

    def __init__(self, tokenizers: Mapping[str, Any]) -> None:
        if not tokenizers:
            raise TokenizerError("an aggregate tokenizer needs at least one tokenizer")
        self.tokenizers_dict = dict(tokenizers)
        self.langs = list(self.tokenizers_dict)
        *starts, self.vocab_size = accumulate((len(one) for one in self.tokenizers_dict.values()), initial=0)
        self.token_id_offset = dict(zip(self.langs, starts, strict=True))
        self._starts = starts

    def __len__(self) -> int:
        return self.vocab_size

    @property
    def vocab(self) -> list[str]:
        """The pieces in the order of their ids."""
        return [piece for tokenizer in self.tokenizers_dict.values() for piece in tokenizer.vocab]

    def text_to_ids(self, text: str, lang_id: str) -> list[int]:
        """The ids of a text in a language.

        Raises
        ------
        TokenizerError
            There is no tokenizer for the language, or none is named.
        """
        offset = self._offset(lang_id)
        return [offset + token for token in self.tokenizers_dict[lang_id].text_to_ids(text)]

    def text_to_tokens(self, text: str, lang_id: str) -> list[str]:
        """The pieces of a text in a language."""
        return self.ids_to_tokens(self.text_to_ids(text, lang_id))

    def token_to_id(self, token: str, lang_id: str) -> int:
        """The id of a piece of a language."""
        return self._offset(lang_id) + self.tokenizers_dict[lang_id].token_to_id(token)

    def ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        """The piece of each id."""
        parts = map(self._split, ids)
        return [self.tokenizers_dict[lang].ids_to_tokens([token])[0] for lang, token in parts]

    def ids_to_text(self, ids: Iterable[int]) -> str:
        """The text of ids; where the language changes, a word ends."""
        runs = groupby(map(self._split, ids), key=lambda part: part[0])
        texts = (self.tokenizers_dict[lang].ids_to_text([token for _, token in run]) for lang, run in runs)
        return " ".join(filter(None, texts))

    def ids_to_lang(self, ids: Iterable[int]) -> list[str]:
        """The language of each id."""
        return [self._split(token)[0] for token in ids]

    @property
    def unk_id(self) -> int:
        """The id of what no piece of the first tokenizer covers."""
        return self.tokenizers_dict[self.langs[0]].unk_id

    @property
    def bos_id(self) -> int:
        """The id that begins a text."""
        return self.tokenizers_dict[self.langs[0]].bos_id

    @property
    def eos_id(self) -> int:
        """The id that ends a text."""
        return self.tokenizers_dict[self.langs[0]].eos_id

    @property
    def pad_id(self) -> int:
        """The id that fills up a batch."""
        return self.tokenizers_dict[self.langs[0]].pad_id

    def _offset(self, lang: str) -> int:
        if lang in self.token_id_offset:
            return self.token_id_offset[lang]
        if lang is None:
            raise TokenizerError(f"a tokenizer of {', '.join(self.langs)} needs to know the language of each text")
        hint = did_you_mean(str(lang), self.langs)
        raise TokenizerError(f"language {lang!r}: no such tokenizer{hint}; there are {', '.join(self.langs)}")

    def _split(self, token: int) -> tuple[str, int]:
        """The language of an id, and the id that its own tokenizer gives it."""
        if not 0 <= token < self.vocab_size:
            raise TokenizerError(f"token {int(token)}: expected 0 to {self.vocab_size - 1}")
        place = bisect_right(self._starts, token) - 1
        return self.langs[place], int(token) - self._starts[place]
