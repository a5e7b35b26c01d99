"""A recogniser's tokenizer of several languages: the tokens that a model says tell which one it heard."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from toolkit.aggregate_tokenizer import AggregateTokenizer
from toolkit.errors import TokenizerError
from toolkit.tokenizer import Tokenizer, languages_of


class MultilingualTokenizer(AggregateTokenizer):
    """One tokenizer for each language of a file that `toolkit.tokenizer.train_tokenizer` made of texts by language.

    Token 0, of the first language, is blank, start and end. To encode, the language has to be known: that of an
    utterance is in its manifest, or ``tags: {language: de}`` of its data set says it. To decode, it has not.

    Parameters
    ----------
    model_file : str or Path
        The file, with a model for each language.

    Raises
    ------
    TokenizerError
        The file is missing or damaged, or holds one model alone.
    """

    blank = pad = bos = eos = unk = 0

    def __init__(self, model_file: str | Path) -> None:
        self.model_file, languages = Path(model_file), languages_of(model_file)
        if None in languages:
            raise TokenizerError(
                f"{model_file}: holds one tokenizer, of a language that it does not name; train one with the text of "
                "each language: `train_text: {de: ..., fr: ...}`"
            )
        super().__init__({language: _Part(model_file, language) for language in languages})

    def pieces(self) -> list[str]:
        """The pieces in the order of their numbers; two languages may have one of the same spelling."""
        return self.vocab

    def text_to_ids(self, text: str, lang_id: str) -> list[int]:
        """The token numbers of a text in a language; an unknown stretch becomes one 0."""
        ids = super().text_to_ids(text, lang_id)
        return [self.unk if token == self.token_id_offset[lang_id] else token for token in ids]

    def encode(self, text: str, language: str | None = None) -> list[int]:
        """The token numbers of a text in a language; a TokenizerError names those that there are."""
        return self.text_to_ids(text, language)

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of token numbers; zeros are skipped, and where the language changes, a word ends."""
        return self.ids_to_text(token for token in tokens if token != self.blank)


class _Part(Tokenizer):
    """A recogniser's tokenizer under the names that `AggregateTokenizer` calls."""

    text_to_ids, ids_to_text = Tokenizer.encode, Tokenizer.decode

    @property
    def vocab(self) -> list[str]:
        return self.pieces()

    def ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        return [self._processor.id_to_piece(token) for token in ids]
