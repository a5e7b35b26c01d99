"""SentencePiece tokenizers of language models: pieces of their own for BOS, EOS, padding and the marks of a prompt.

Recognisers use :class:`toolkit.tokenizer.Tokenizer`, whose one special number is 0. The names are NeMo's.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sentencepiece

from toolkit.errors import TokenizerError
from toolkit.files import write_atomically
from toolkit.tokenizer import explain_training, load_model

# SentencePiece takes no smaller one.
_LEAST_SAMPLE = 100


class SentencePieceTokenizer:
    """A trained SentencePiece model; picklable, and ``len(tokenizer)`` is the size of its vocabulary.

    Parameters
    ----------
    model_path
        The model's file, e.g. ``spt/tokenizer.model``.

    Raises
    ------
    TokenizerError
        The file is missing or is no SentencePiece model.
    """

    def __init__(self, model_path: str | Path) -> None:
        self.model_path = Path(model_path)
        self.tokenizer = load_model(self.model_path)

    def __len__(self) -> int:
        return len(self.tokenizer)

    @property
    def vocab_size(self) -> int:
        """The number of pieces."""
        return len(self)

    @property
    def vocab(self) -> list[str]:
        """The pieces in the order of their ids; a space is written as ``▁``."""
        return self.ids_to_tokens(range(len(self)))

    def text_to_ids(self, text: str) -> list[int]:
        """The ids of a text; marks among the user-defined symbols are one id each."""
        return self.tokenizer.encode(text)

    def text_to_tokens(self, text: str) -> list[str]:
        """The pieces of a text."""
        return self.tokenizer.encode(text, out_type=str)

    def ids_to_text(self, ids: Iterable[int]) -> str:
        """The text of ids (also of a tensor): BOS, EOS and padding are silent, the unknown piece is `` ⁇ ``."""
        return self.tokenizer.decode([int(token) for token in ids])

    def ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        """The piece of each id."""
        return [self.tokenizer.id_to_piece(int(token)) for token in ids]

    def tokens_to_ids(self, tokens: Iterable[str]) -> list[int]:
        """The id of each piece."""
        return [self.token_to_id(token) for token in tokens]

    def token_to_id(self, token: str) -> int:
        """The id of a piece; ``unk_id`` when it is none."""
        return self.tokenizer.piece_to_id(token)

    @property
    def unk_id(self) -> int:
        """The id of what no other piece covers."""
        return self.tokenizer.unk_id()

    @property
    def bos_id(self) -> int:
        """The id that begins a text."""
        return self._special("bos")

    @property
    def eos_id(self) -> int:
        """The id that ends a text."""
        return self._special("eos")

    @property
    def pad_id(self) -> int:
        """The id that fills up a batch."""
        return self._special("pad")

    def _special(self, name: str) -> int:
        number = getattr(self.tokenizer, f"{name}_id")()
        if number < 0:
            raise TokenizerError(f"{self.model_path}: has no {name} piece; train it with {name}=True")
        return number


def create_spt_model(
    data_file: str | Path,
    vocab_size: int,
    sample_size: int,
    do_lower_case: bool,
    *,
    tokenizer_type: str = "unigram",
    output_dir: str | Path | None = None,
    bos: bool = False,
    eos: bool = False,
    pad: bool = False,
    **options: Any,
) -> tuple[str, str]:
    """Train SentencePiece on a text file; the paths of ``tokenizer.model`` and of ``vocab.txt``, its pieces one a line.

    Parameters
    ----------
    data_file
        Texts, one a line.
    vocab_size
        The number of pieces; fewer where the texts don't have that many.
    sample_size
        Train on so many lines of the file, drawn at random; -1 for all.
    do_lower_case
        Whether upper and lower case are one.
    tokenizer_type
        ``unigram``, ``bpe``, ``char`` or ``word``.
    output_dir
        Where the two files go, in place of older ones; by default the folder ``spt`` beside the texts.
    bos, eos, pad
        Whether there is such a piece: ids 1, 2 and 3 (0 is the unknown piece), without a gap.
    **options
        Any other option of SentencePiece's trainer by its name, such as ``character_coverage`` or
        ``user_defined_symbols``, a list of marks that are one piece each, whatever stands around them. Its own defaults
        are kept.

    Raises
    ------
    TokenizerError
        The file is missing, an option is unknown, or no tokenizer of that size can be trained.
    """
    data_file = Path(data_file)
    if not data_file.is_file():
        raise TokenizerError(f"{data_file}: no such text file to train a tokenizer on")
    folder = Path(output_dir) if output_dir is not None else data_file.parent / "spt"
    options = {"character_coverage": 1.0, **_special_ids(bos, eos, pad), **options}
    if do_lower_case:
        options["normalization_rule_name"] = "nmt_nfkc_cf"
    if sample_size > 0:
        if sample_size <= _LEAST_SAMPLE:
            raise TokenizerError(f"sample_size {sample_size}: expected more than {_LEAST_SAMPLE} lines, or -1 for all")
        options["input_sentence_size"] = sample_size
    folder.mkdir(parents=True, exist_ok=True)
    model = _train(data_file, vocab_size, {"model_type": tokenizer_type, **options})
    tokenizer = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [tokenizer.id_to_piece(number) for number in range(len(tokenizer))]
    write_atomically(folder / "vocab.txt", "".join(f"{piece}\n" for piece in pieces))
    write_atomically(folder / "tokenizer.model", model)
    return str(folder / "tokenizer.model"), str(folder / "vocab.txt")


def _special_ids(*wanted: bool) -> dict[str, int]:
    """Ids from 1 on for the pieces wanted of BOS, EOS and padding, in that order; -1 for the others."""
    names = ("bos_id", "eos_id", "pad_id")
    return {name: sum(wanted[: place + 1]) if wanted[place] else -1 for place, name in enumerate(names)}


def _train(data_file: Path, vocab_size: int, options: dict[str, Any]) -> bytes:
    """The serialised SentencePiece model; its trainer reads the file itself, line by line."""
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            input=str(data_file),
            model_writer=model,
            vocab_size=vocab_size,
            hard_vocab_limit=False,
            shuffle_input_sentence=True,
            minloglevel=2,
            **options,
        )
    except (RuntimeError, ValueError) as error:
        raise TokenizerError(f"{data_file}: {explain_training(str(error), vocab_size)}") from error
    return model.getvalue()
