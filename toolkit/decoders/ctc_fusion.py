"""What CTC prefix search adds to the acoustic score: word and token n-grams, and hotwords.

The word n-gram is added the way of pyctcdecode 0.5 (Apache-2.0), with its names and numbers: each complete word adds
alpha ln p(word | words before) + beta, and a word outside the vocabulary alpha ln(10) unk_score_offset beside that;
while a word is being spelled that no word of the vocabulary begins with, the prefix is unk_score_offset worse.

Two things are different, because that way rewards glued words ("HELLOWORLD" pays for one unknown word, however long,
instead of two or three known ones). An unknown word costs more the longer it is, and costs that much from the letter on
that makes it unknown (``unk_by_length``): a space after it costs no more, so that a search has no reason to put it off.
And a token n-gram, where there is one, says what an unknown word's spelling is worth.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from toolkit.decoders.ctc_fusion_tables import TABLE_MEGABYTES, FusionTensors
from toolkit.decoders.ctc_tables import ANSWER, Arcs, FusionTables, Ngram, Spelling, Weights, no_fusion, no_rows
from toolkit.decoders.hotwords import known_phrases, phrase_automaton
from toolkit.decoders.options import check_range
from toolkit.decoders.spelling import MARK, Alphabet, HasPieces, pieces_of
from toolkit.errors import ConfigError, ModelError
from toolkit.models.arpa import load_ngram
from toolkit.models.ngram import MARKS, UNK, NgramModel
from toolkit.models.ngram_lm import WordNgram
from toolkit.models.ngram_tables import CompactTable, fastest_table

LN10 = math.log(10.0)
GivenNgram = NgramModel | WordNgram | str | Path


@dataclass(kw_only=True, eq=False)
class CTCFusion:
    """Language models and hotwords for `CTCPrefixSearcher`.

    ::

        fusion: !new:toolkit.decoders.ctc_fusion.CTCFusion
          tokenizer: !ref <tokenizer>
          word_ngram: lm/4gram.arpa.gz
          hotwords: [Rachel Lynde, Avonlea]

    Parameters
    ----------
    tokenizer
        Of the recogniser, or the list of its tokens: blank first, a space as ``▁``.
    word_ngram
        Model over words, what ``train_lm.py`` made of one (`load_language_model`), or its file: ARPA or kenlm's.
    alpha, beta
        Weight of the word n-gram, and what each word adds.
    unk_score_offset
        What an unknown word adds, as log10, to its probability: 0 or less. Beside a token n-gram, which has a price for
        its spelling, nearer to 0.
    unk_by_length
        Unknown words of more than six letters cost as many times as much as they are times as long.
    unigrams
        The words that are known; words that the n-gram lacks do not count. None: all of the n-gram's.
    closed_vocabulary
        Unknown words are impossible.
    boundaries
        The n-gram knows where a text begins and ends.
    token_ngram, token_weight
        The same over the recogniser's tokens, and its weight. Beside a word n-gram it scores the words
        that are unknown or not yet complete.
    hotwords, hotword_weight
        Phrases that are likely to be said, and what each of their words adds. Their words are known words.

    Raises
    ------
    ConfigError
        There is nothing to fuse, or a number is out of its range.
    ModelError
        An n-gram's file is missing or malformed, or a model is of other tokens, or of other words than can be spelled.
    """

    tokenizer: HasPieces | Sequence[str]
    word_ngram: GivenNgram | None = None
    alpha: float = 0.5
    beta: float = 1.5
    unk_score_offset: float = -10.0
    unk_by_length: bool = True
    unigrams: Collection[str] | None = None
    closed_vocabulary: bool = False
    boundaries: bool = True
    token_ngram: GivenNgram | None = None
    token_weight: float = 0.5
    hotwords: Collection[str] = ()
    hotword_weight: float = 10.0

    def __post_init__(self) -> None:
        check_range("alpha", self.alpha, 0.0)
        check_range("beta", self.beta, -math.inf)
        check_range("unk_score_offset", self.unk_score_offset, -1000.0, 0.0)
        check_range("token_weight", self.token_weight, 0.0)
        check_range("hotword_weight", self.hotword_weight, 0.0)
        for name in ("hotwords", "unigrams"):
            if isinstance(getattr(self, name), str):
                raise ConfigError(f"{name} must be a list, got the text {getattr(self, name)!r}")
        if self.word_ngram is None and (self.closed_vocabulary or self.unigrams is not None):
            raise ConfigError("closed_vocabulary and unigrams say what words of a word_ngram are known: give one")
        if self.word_ngram is None and self.token_ngram is None and not self.hotwords:
            raise ConfigError("a fusion needs word_ngram, token_ngram or hotwords: give one, or leave fusion out")
        self.pieces = pieces_of(self.tokenizer)
        self.alphabet = Alphabet(self.pieces)
        self.words = _loaded(self.word_ngram, self._check_words)
        self.tokens = _loaded(self.token_ngram, self._check_tokens)
        self._tensors: dict[torch.device, FusionTensors] = {}

    def _check_tokens(self, model: NgramModel) -> None:
        """Raise unless a model is over these tokens."""
        if not any(piece in model.ids for piece in self.pieces[1:]):
            raise ModelError("token_ngram knows none of the recogniser's tokens: is it over words?")

    def _check_words(self, model: NgramModel) -> None:
        """Raise unless a model is over words that can be made of these tokens."""
        words = [word for word in model.words if word not in MARKS]
        if any(MARK in word for word in words) or all(map(self.alphabet.missing, words)):
            raise ModelError(f"word_ngram is not over words of these tokens' letters: {', '.join(words[:5])} ...")

    def tables_for(self, vocabulary: int) -> FusionTables:
        """Everything as arrays, for a CTC output of so many tokens.

        Raises
        ------
        ModelError
            The output has another number of tokens than the tokenizer.
        """
        if len(self.pieces) != vocabulary:
            raise ModelError(
                f"the recogniser has {vocabulary} tokens, but fusion was given a tokenizer of {len(self.pieces)}: both "
                "must be those of one training"
            )
        return self.tables

    def tensors_for(self, vocabulary: int, device: torch.device) -> FusionTensors:
        """Everything as tensors, for a CTC output of so many tokens.

        Raises
        ------
        ModelError
            The output has another number of tokens than the tokenizer.
        """
        tables = self.tables_for(vocabulary)
        if device not in self._tensors:
            self._tensors[device] = FusionTensors(tables, self.words, self.tokens, device)
        return self._tensors[device]

    @cached_property
    def tables(self) -> FusionTables:
        """Everything as arrays."""
        tables = no_fusion()._replace(letters=self.alphabet.letters)
        if self.words is not None:
            tables = tables._replace(words=_automaton(self.words, self.boundaries))
        if self.tokens is not None:
            ids = np.array([self.tokens.word_id(piece) for piece in self.pieces], np.int32)
            rows = _written_out(self.tokens, ids)
            tables = tables._replace(tokens=_automaton(self.tokens, self.boundaries), token_ids=ids, token_rows=rows)
        return self._with_phrases(tables)

    def with_hotwords(self, hotwords: Collection[str], weight: float) -> CTCFusion:
        """The same with other hotwords; what is made of the n-grams is shared."""
        other = copy.copy(self)
        other.hotwords, other.hotword_weight, other._tensors = hotwords, weight, {}
        other.tables = other._with_phrases(self.tables)
        return other

    def _with_phrases(self, tables: FusionTables) -> FusionTables:
        """The n-grams' tables, completed for the hotwords."""
        phrases = known_phrases(self.hotwords, self.alphabet)
        automaton = phrase_automaton(phrases, self.alphabet, self.hotword_weight) if phrases else no_fusion().phrases
        tables = tables._replace(phrases=automaton)
        if self.words is not None:
            tables = tables._replace(spelling=self._spelling(phrases))
        return tables._replace(weights=self._weights(tables))

    def _spelling(self, phrases: Sequence[str]) -> Spelling:
        """The tree of all known words; a hotword that the n-gram lacks stands for ``<unk>``."""
        known = self.words.words if self.unigrams is None else self.unigrams
        numbers = {word: self.words.ids[word] for word in known if word in self.words.ids and word not in MARKS}
        for word in {word for phrase in phrases for word in phrase.split()}:
            numbers.setdefault(word, UNK)
        return self.alphabet.tree(list(numbers), list(numbers.values()))

    def _weights(self, tables: FusionTables) -> Weights:
        """The numbers, in natural logs."""
        offset = -math.inf if self.closed_vocabulary else float(self.unk_score_offset)
        unknown = offset if self.closed_vocabulary else self.alpha * LN10 * offset
        earned_at_once = 1 if tables.letters.begins_word.any() else int(np.diff(tables.letters.start).max())
        reward = float(tables.phrases.reward.max() * earned_at_once + tables.phrases.promise.max())
        return Weights(
            words=self.words is not None,
            tokens=self.tokens is not None,
            phrases=len(tables.phrases.reward) > 1,
            boundaries=self.boundaries,
            alpha=float(self.alpha),
            beta=float(self.beta),
            unknown=unknown,
            unknown_part=unknown if self.unk_by_length else offset,
            unknown_by_length=bool(self.unk_by_length),
            token_weight=float(self.token_weight),
            most=reward,
        )


def _loaded(model: GivenNgram | None, check: Callable[[NgramModel], None]) -> NgramModel | None:
    """The model, checked, and read from its file where it is given as one."""
    if isinstance(model, (str, Path)):
        return load_ngram(model, check=check)
    found = model.ngram if isinstance(model, WordNgram) else model
    if found is not None:
        check(found)
    return found


def _automaton(model: NgramModel, boundaries: bool) -> Ngram:
    """The model's arrays."""
    arcs = Arcs(model.arc_start, model.arc_word, model.arc_next)
    begin = int(model.begin) if boundaries else 0
    return Ngram(arcs, model.arc_logp, model.backoff_logp, model.backoff_state, begin)


def _written_out(model: NgramModel, ids: np.ndarray) -> np.ndarray:
    """All answers about these tokens, if they fit."""
    known, columns = np.unique(ids, return_inverse=True)
    table = fastest_table(model, known, TABLE_MEGABYTES)
    if isinstance(table, CompactTable):
        return no_rows()
    rows = np.empty((model.states, len(columns)), ANSWER)
    rows["logp"], rows["next"] = table.logp.numpy()[:, columns], table.following.numpy()[:, columns]
    return rows
