"""The tokens of a HuggingFace CTC model, from the files of its ``Wav2Vec2CTCTokenizer``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.decoders.spelling import MARK, tokens_of
from toolkit.errors import TokenizerError

DEFAULTS = {"pad_token": "<pad>", "word_delimiter_token": "|"}  # of transformers
PHONEMES = "Wav2Vec2PhonemeCTCTokenizer"  # whose tokens are written with spaces between them


class HuggingFaceTokenizer:
    """Token numbers -> text, for an output of ``size`` columns; the blank, which is the padding token, is token 0.

    Parameters
    ----------
    folder : Path
        Holds ``vocab.json``, and perhaps ``tokenizer_config.json``, ``special_tokens_map.json``, ``added_tokens.json``.
    size : int
        Columns of the model's output; tokens beyond are never spoken (fine-tuning scripts add ``<s>`` and ``</s>``).

    Attributes
    ----------
    order
        The column of each of our tokens.

    Raises
    ------
    TokenizerError
        A file is missing or damaged, or names no blank, or not each of the columns.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.model_file = folder / "vocab.json"
        config = read_json(folder / "special_tokens_map.json", {}) | read_json(folder / "tokenizer_config.json", {})
        columns = self._columns(folder, config)
        missing = sorted(set(range(size)) - columns.keys())
        if missing:
            raise TokenizerError(
                f"{self.model_file}: names {len(columns)} tokens, but the model has {size} outputs; without a name: "
                f"{', '.join(map(str, missing[:5]))}; use the tokenizer that it was trained with"
            )
        blank = self._blank(config, columns, size)
        self.order = [blank, *(column for column in range(size) if column != blank)]
        self._pieces = [self._piece(columns[column], config) for column in self.order]
        self._lower = bool(config.get("do_lower_case"))

    def __len__(self) -> int:
        return len(self._pieces)

    def pieces(self) -> list[str]:
        """The tokens in the order of their numbers; a space is written as ``▁``."""
        return list(self._pieces)

    def encode(self, text: str) -> list[int]:
        """The token numbers of a text; letters that are unknown are left out."""
        return tokens_of(text, self.pieces())

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token numbers, its words one space apart; zeros are skipped."""
        text = "".join(self._pieces[token] for token in tokens if token).replace(MARK, " ")
        return " ".join((text.lower() if self._lower else text).split())

    def _columns(self, folder: Path, config: Mapping[str, Any]) -> dict[int, str]:
        """Output column -> token."""
        vocabulary = read_json(self.model_file)
        if isinstance(vocabulary.get(config.get("target_lang")), dict):  # of many languages, as in MMS
            vocabulary = vocabulary[config["target_lang"]]
        added = {int(number): _content(token) for number, token in config.get("added_tokens_decoder", {}).items()}
        vocabulary = vocabulary | read_json(folder / "added_tokens.json", {})
        if not all(isinstance(number, int) for number in vocabulary.values()):
            raise TokenizerError(f"{self.model_file}: expected a number for each token, and no more")
        return added | {number: token for token, number in vocabulary.items()}

    def _blank(self, config: Mapping[str, Any], columns: Mapping[int, str], size: int) -> int:
        token = _content(config.get("pad_token") or DEFAULTS["pad_token"])
        places = [column for column in range(size) if columns[column] == token]
        if not places:
            raise TokenizerError(f"{self.model_file}: has no token {token!r}, the padding token, which is CTC's blank")
        return places[0]

    @staticmethod
    def _piece(token: str, config: Mapping[str, Any]) -> str:
        if config.get("tokenizer_class") == PHONEMES:
            return MARK + token
        return (
            MARK if token == _content(config.get("word_delimiter_token") or DEFAULTS["word_delimiter_token"]) else token
        )


def read_json(path: Path, default: Any = None) -> Any:
    """The object in a JSON file; ``default``, where there is one, for a file that is missing.

    Raises
    ------
    TokenizerError
        The file is missing or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if default is not None:
            return default
        raise TokenizerError(
            f"{path}: missing; expected the files of a HuggingFace processor beside the model"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise TokenizerError(f"{path}: not a JSON file, or damaged: {error}") from None
    if not isinstance(content, dict):
        raise TokenizerError(f"{path}: expected an object, found {type(content).__name__}")
    return content


def _content(token: str | Mapping[str, Any]) -> str:
    """A token that is written as a text, or as an object of a text and how it is stripped."""
    return token if isinstance(token, str) else token["content"]
