"""SentencePiece tokenizers: texts <-> token numbers, and how they are trained.

Token 0 stands for everything that is not text, as in SpeechBrain's models ("blank, bos, eos, unk: 0"): SentencePiece
is trained with its unknown piece there and without pieces for bos, eos and pad. `Tokenizer.encode` therefore never
gives 0 for a text of known characters, and a model is free to use it as CTC blank and as the start and end of a text.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import sentencepiece

from toolkit.errors import TokenizerError, did_you_mean
from toolkit.files import write_atomically

logger = logging.getLogger(__name__)

MODEL_TYPES = ("unigram", "bpe", "char")
TRAIN_COMMAND = "python train_tokenizer.py hparams/tokenizer.yaml"


class Tokenizer:
    """A trained SentencePiece model; picklable, and ``len(tokenizer)`` is the size of its vocabulary.

    For every text of known characters ``decode(encode(text))`` is the text with its words one space apart.

    Parameters
    ----------
    model_file : str or Path
        A SentencePiece model whose unknown piece is number 0.
    language : str, optional
        Which one, of a file that holds those of several languages.

    Raises
    ------
    TokenizerError
        The file is missing, is no SentencePiece model, or uses number 0 for a piece of text.
    """

    blank = pad = bos = eos = unk = 0

    def __init__(self, model_file: str | Path, language: str | None = None):
        self.model_file = Path(model_file)
        self._processor = _load_with_blank(self.model_file, language)
        self._reported: set[str] = set()

    def __len__(self) -> int:
        return len(self._processor)

    def pieces(self) -> list[str]:
        """The pieces in the order of their numbers; a space is written as ``▁``."""
        return _pieces(self._processor)

    def encode(self, text: str) -> list[int]:
        """The token numbers of a text; an unknown stretch becomes one 0, its characters are named in one warning."""
        text = _single_spaced(text)
        tokens = self._processor.encode(text)
        if self.unk in tokens:
            self._warn_of_unknown(text)
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token numbers, its words one space apart; zeros are skipped."""
        try:
            return _single_spaced(self._processor.decode([token for token in tokens if token != self.blank]))
        except IndexError as error:
            raise TokenizerError(
                f"{self.model_file}: tokens up to {max(tokens)} (lowest {min(tokens)}) cannot be decoded with "
                f"{len(self)} pieces; use the tokenizer that the model was trained with"
            ) from error

    def save(self, model_file: str | Path) -> None:
        """Write the model to another file, and its pieces beside it as ``.vocab``."""
        _write_model(self._processor.serialized_model_proto(), Path(model_file))

    def _warn_of_unknown(self, text: str) -> None:
        """Log the unknown characters of a text that no earlier warning named."""
        tokens, stretches = self._processor.encode(text), self._processor.encode(text, out_type=str)
        unknown = {
            character
            for token, stretch in zip(tokens, stretches, strict=True)
            for character in stretch
            if token == self.unk
        }
        if new := sorted(unknown - self._reported):
            self._reported.update(new)
            named = " ".join(f"{character!r} (U+{ord(character):04X})" for character in new)
            logger.warning("%s: characters unknown to the tokenizer: %s, first in %r", self.model_file, named, text)


class PromptTokenizer(Tokenizer):
    """A recogniser's tokenizer for prompts: the mark of audio in them is ``len(tokenizer)``, which no text has.

    A prompt format's BOS and EOS are token 0.

    Parameters
    ----------
    model_file : str or Path
        As of `Tokenizer`.
    audio_locator_tag : str
        What stands for audio in the text of a prompt.
    """

    bos_id = eos_id = unk_id = Tokenizer.blank

    def __init__(self, model_file: str | Path, audio_locator_tag: str = "[audio]") -> None:
        super().__init__(model_file)
        self.audio_locator_tag = audio_locator_tag

    def text_to_ids(self, text: str) -> list[int]:
        """The token numbers of a text in which audio may be marked."""
        first, *others = text.split(self.audio_locator_tag)
        ids = self.encode(first)
        for other in others:
            ids += [len(self), *self.encode(other)]
        return ids

    def token_to_id(self, token: str) -> int:
        """The number of a piece or of the mark; ``unk_id`` when it is neither."""
        return len(self) if token == self.audio_locator_tag else self._processor.piece_to_id(token)


class WordTokenizer:
    """Whole words as tokens, numbered from 1 on as texts bring them; 0 is ``<unk>``. For n-gram models over words."""

    def __init__(self) -> None:
        self._numbers = {"<unk>": 0}

    def __len__(self) -> int:
        return len(self._numbers)

    def pieces(self) -> list[str]:
        """All words so far, in the order of their numbers."""
        return list(self._numbers)

    def encode(self, text: str) -> list[int]:
        """The numbers of a text's words; a new word gets the next one."""
        return [self._numbers.setdefault(word, len(self._numbers)) for word in text.split()]


def train_tokenizer(
    texts: Iterable[str] | Mapping[str, Iterable[str]],
    model_file: str | Path,
    *,
    model_type: str = "unigram",
    vocab_size: int | Mapping[str, int] | None = None,
) -> None:
    """Train SentencePiece on texts; writes the model and, beside it, its pieces as ``.vocab``.

    Every character of the texts gets a piece and none is changed (no Unicode normalisation); runs of white space
    count as one space, and empty texts as nothing. Nothing is written unless every text comes back from its tokens.

    Parameters
    ----------
    texts : iterable of str, or mapping of language to them
        The training texts. They are held in memory: pass a sample of a language model's billion words. By language,
        each gets a model of its own in the one file, for `toolkit.multilingual_tokenizer`.
    model_file : str or Path
        Where the model goes, e.g. ``save/unigram_500.model``.
    model_type : {"unigram", "bpe", "char"}
        How texts are cut into pieces.
    vocab_size : int or mapping of language to it, optional
        The number of pieces, token 0 included, of each. Left out for ``char``: as many as there are characters.

    Raises
    ------
    TokenizerError
        There is no text, the type is unknown, no tokenizer of this size exists (the message names the nearest size
        that does), or a text holds characters that SentencePiece reserves.
    """
    if not isinstance(texts, Mapping):
        _write_model(_trained(texts, str(model_file), model_type, vocab_size), Path(model_file))
        return
    sizes = vocab_size if isinstance(vocab_size, Mapping) else dict.fromkeys(texts, vocab_size)
    models = {}
    for language, some in texts.items():
        try:
            model = _trained(some, f"{model_file}, {language}", model_type, sizes.get(language))
        except TokenizerError as error:
            raise TokenizerError(f"language {language!r}: {error}") from error
        models[language] = base64.b64encode(model).decode()
    write_atomically(Path(model_file), json.dumps(models))


def _trained(texts: Iterable[str], name: str, model_type: str, vocab_size: int | None) -> bytes:
    """A model of some texts, which come back from its tokens; ``name`` is for messages."""
    texts = [text for text in map(_single_spaced, texts) if text]
    if not texts:
        raise TokenizerError(f"{name}: no text to train a tokenizer on; are the manifest's `words` empty?")
    size = _checked_size(texts, model_type, vocab_size)
    model = _train(texts, model_type, size)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    tokens = _count_tokens(processor, texts)
    logger.info(
        "%s: %d %s pieces cover all %d texts, %.2f tokens a word",
        *(name, len(processor), model_type, len(texts), tokens / sum(len(text.split()) for text in texts)),
    )
    return model


def _single_spaced(text: str) -> str:
    """The text with its words one space apart, and none around them."""
    return " ".join(text.split())


def load_model(model_file: Path, language: str | None = None) -> sentencepiece.SentencePieceProcessor:
    """The SentencePiece model of a file, or of a language of it.

    Raises
    ------
    TokenizerError
        The file is missing, is no SentencePiece model, or is one of other languages.
    """
    models = _read_models(model_file)
    if language not in models:
        held = ", ".join(filter(None, models)) or "one language, which it does not name"
        raise TokenizerError(
            f"{model_file}: holds tokenizers of {held}, not of {language or 'one alone'}; a recogniser of several "
            "languages has the tokenizer `!new:toolkit.multilingual_tokenizer.MultilingualTokenizer`"
        )
    model = models[language]
    try:
        if not model:  # SentencePiece takes an empty file for a model without pieces
            raise RuntimeError("the file is empty")
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError as error:
        raise TokenizerError(f"{model_file}: not a SentencePiece model; `{TRAIN_COMMAND}` makes one") from error


def languages_of(model_file: str | Path) -> list[str | None]:
    """The languages of which a file holds a model, in the order of their tokens; None of one that holds one alone."""
    return list(_read_models(Path(model_file)))


def _read_models(model_file: Path) -> dict[str | None, bytes]:
    """The models of a file by language."""
    try:
        content = model_file.read_bytes()
    except OSError as error:
        raise TokenizerError(
            f"{model_file}: cannot be read ({error.strerror}); `{TRAIN_COMMAND}` makes the tokenizer"
        ) from error
    if not content.startswith(b"{"):  # as no SentencePiece model does
        return {None: content}
    try:
        return {language: base64.b64decode(model, validate=True) for language, model in json.loads(content).items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise TokenizerError(f"{model_file}: damaged ({error}); `{TRAIN_COMMAND}` makes one anew") from error


def read_pieces(model_file: str | Path) -> list[str]:
    """The pieces of a tokenizer's file in the order of their numbers, which is all that a model's weights know."""
    return [piece for one in languages_of(model_file) for piece in _pieces(load_model(Path(model_file), one))]


def _pieces(processor: sentencepiece.SentencePieceProcessor) -> list[str]:
    return [processor.id_to_piece(index) for index in range(len(processor))]


def _load_with_blank(model_file: Path, language: str | None = None) -> sentencepiece.SentencePieceProcessor:
    """The SentencePiece model of a file, which leaves number 0 free."""
    processor = load_model(model_file, language)
    if processor.unk_id() != Tokenizer.unk:
        raise TokenizerError(
            f"{model_file}: its unknown piece is number {processor.unk_id()}, expected 0, which models use as blank; "
            f"`{TRAIN_COMMAND}` makes one that fits"
        )
    return processor


def _checked_size(texts: list[str], model_type: str, vocab_size: int | None) -> int:
    """The number of pieces to ask for."""
    if model_type not in MODEL_TYPES:
        hint = did_you_mean(str(model_type), MODEL_TYPES)
        raise TokenizerError(f"model_type {model_type!r}: expected one of {', '.join(MODEL_TYPES)}{hint}")
    if model_type != "char":
        if isinstance(vocab_size, int):
            return vocab_size
        raise TokenizerError(f"vocab_size {vocab_size!r}: a {model_type} tokenizer needs a whole number of pieces")
    # every word begins with the piece of a space; one more piece is the unknown one
    size = len(set().union(*texts) - {" "}) + 2
    if vocab_size in (None, size):
        return size
    bound = "largest" if vocab_size > size else "smallest"
    raise TokenizerError(
        f"vocab_size {vocab_size}: the {bound} possible for the characters of these texts is {size}; "
        f"leave vocab_size out for a char tokenizer"
    )


def _train(texts: list[str], model_type: str, vocab_size: int) -> bytes:
    """The serialised SentencePiece model."""
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type=model_type,
            vocab_size=vocab_size,
            character_coverage=1.0,
            normalization_rule_name="identity",  # the default, NFKC, would change ½ and ﬁ without a word
            max_sentence_length=max(4192, *(len(text.encode()) + 1 for text in texts)),  # longer ones are left out
            **{"unk_id": Tokenizer.unk, "bos_id": -1, "eos_id": -1, "pad_id": -1, "unk_surface": ""},
            minloglevel=2,
        )
    except RuntimeError as error:
        raise TokenizerError(explain_training(str(error), vocab_size)) from error
    return model.getvalue()


def explain_training(message: str, vocab_size: int) -> str:
    """What an error of SentencePiece's trainer says, in terms of the field to change."""
    if largest := re.search(r"too high .* value <= (\d+)", message):
        return f"vocab_size {vocab_size}: the largest possible for these texts is {largest[1]}"
    if smallest := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return f"vocab_size {vocab_size}: the smallest possible for the characters of these texts is {smallest[1]}"
    return f"vocab_size {vocab_size}: SentencePiece cannot be trained on these texts: {message}"


def _count_tokens(processor: sentencepiece.SentencePieceProcessor, texts: list[str]) -> int:
    """The number of tokens of all texts, each of which must come back from its own."""
    count = 0
    for text in texts:
        tokens = processor.encode(text)
        count += len(tokens)
        if processor.decode(tokens) != text or Tokenizer.unk in tokens:
            raise TokenizerError(
                f"text {text!r} comes back from its tokens as {processor.decode(tokens)!r}: it holds a character or "
                "mark that SentencePiece reserves ('▁', '▅', '<unk>', a null); remove it from the text"
            )
    return count


def _write_model(model: bytes, model_file: Path) -> None:
    """Write the model and, beside it, its pieces with their scores; readers see the old file or the new one."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = (f"{processor.id_to_piece(index)}\t{processor.get_score(index):g}\n" for index in range(len(processor)))
    write_atomically(model_file.with_suffix(".vocab"), "".join(pieces))
    write_atomically(model_file, model)
