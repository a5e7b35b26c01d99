"""pyctcdecode's decoder for code written for it: change ``from pyctcdecode import build_ctcdecoder``, nothing else.

Same names, numbers and results as pyctcdecode 0.5, with the search of `toolkit.decoders.ctc`. Where they differ:
prefixes that end in a blank and in a token share a place in the beam, so a beam holds up to twice as many texts;
a space at the end is not an unknown word; pickled decoders are not read, and ``lm_start_state`` is not taken.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from toolkit.decoders.ctc import ALL
from toolkit.decoders.ctc_alignment import aligned
from toolkit.decoders.ctc_fusion import CTCFusion
from toolkit.decoders.ctc_native import CompiledSearch, search_all
from toolkit.decoders.ctc_tables import FusionTables, Pruning, no_fusion
from toolkit.decoders.hypothesis import Hypothesis
from toolkit.decoders.options import check_count, check_range
from toolkit.decoders.spelling import MARK
from toolkit.decoders.words import words_of
from toolkit.errors import ConfigError, ModelError

PAD = re.compile(r"^[<\[]pad[>\]]$", re.IGNORECASE)  # HuggingFace's blank
SMALLEST = 1e-15  # probabilities below it count as this
Frames = tuple[int, int]
OutputBeam = tuple[str, None, list[tuple[str, Frames]], float, float]


def build_ctcdecoder(
    labels: Sequence[str],
    kenlm_model_path: str | None = None,
    unigrams: Collection[str] | None = None,
    alpha: float = 0.5,
    beta: float = 1.5,
    unk_score_offset: float = -10.0,
    lm_score_boundary: bool = True,
) -> BeamSearchDecoderCTC:
    """A decoder of logits over these labels.

    Parameters
    ----------
    labels
        Of the logits' columns. Blank is ``""``, ``<pad>``, ``[PAD]`` or ``_``, or else one more column; a space is
        ``" "`` or ``|``; labels of SentencePiece (``▁``) or WordPiece (``##``) are pieces of words.
    kenlm_model_path
        ARPA file, plain or gzipped, or kenlm's binary file, of a word n-gram.
    unigrams
        Words that are known; None: all of the n-gram's.
    alpha, beta, unk_score_offset, lm_score_boundary
        As in `CTCFusion`, where the last is called ``boundaries``.

    Raises
    ------
    ConfigError
        Two labels are the same.
    ModelError
        The ARPA file is missing or malformed.
    """
    pieces, blank = normalised_labels(labels)
    ordered = [pieces[blank], *pieces[:blank], *pieces[blank + 1 :]]
    fusion = None
    if kenlm_model_path is not None:
        fusion = CTCFusion(
            tokenizer=ordered,
            word_ngram=kenlm_model_path,
            **{"alpha": alpha, "beta": beta, "unk_score_offset": unk_score_offset, "boundaries": lm_score_boundary},
            unigrams=unigrams,
            unk_by_length=False,
        )
    return BeamSearchDecoderCTC(ordered, blank, fusion)


def normalised_labels(labels: Sequence[str]) -> tuple[list[str], int]:
    """The labels as SentencePiece would write them, and which of them is blank."""
    if len(set(labels)) != len(labels):
        twice = sorted({label for label in labels if labels.count(label) > 1})
        raise ConfigError(f"labels must differ from one another, got more than one {', '.join(map(repr, twice))}")
    pieces = ["" if PAD.match(label) else label for label in labels]
    if any(piece.startswith("##") for piece in pieces):
        pieces = [piece[2:] if piece.startswith("##") else MARK + piece if piece else "" for piece in pieces]
    elif not any(piece.startswith(MARK) for piece in pieces):
        space = " " if " " in pieces else "|"
        pieces = [MARK if piece == space else piece for piece in pieces]
        if "" not in pieces:
            pieces = ["" if piece == "_" else piece for piece in pieces]
    return (pieces, pieces.index("")) if "" in pieces else ([*pieces, ""], len(pieces))


class BeamSearchDecoderCTC:
    """What `build_ctcdecoder` returns."""

    def __init__(self, pieces: Sequence[str], blank: int, fusion: CTCFusion | None) -> None:
        self.pieces, self.blank, self.fusion = list(pieces), blank, fusion
        self._hotword_fusions: dict[tuple[tuple[str, ...], float], CTCFusion] = {}

    def decode(self, logits: NDArray[np.floating], **options: Any) -> str:
        """The best text for logits, log-probabilities or probabilities (T, V); options are those of decode_beams."""
        return self.decode_batch(None, [logits], **options)[0]

    def decode_batch(
        self,
        pool: object,  # noqa: ARG002 - of processes, in pyctcdecode
        logits_list: Iterable[NDArray[np.floating]],
        **options: Any,
    ) -> list[str]:
        """The best text for each of some logits (T, V). Threads are used as torch is set to; ``pool`` is not."""
        return [self._text(search.ranked(1)) for search in self._searched(logits_list, **options)[0]]

    def decode_beams(self, logits: NDArray[np.floating], **options: Any) -> list[OutputBeam]:
        """The beams left at the end, best first.

        Parameters
        ----------
        logits
            Logits, log-probabilities or probabilities (T, V).
        beam_width, beam_prune_logp, token_min_logp
            100, -10 and -5 if not given: `CTCPrefixSearcher`'s beam_size and the options of these names.
        hotwords, hotword_weight
            Words that are likely to be said, and the bonus of each: 10.
        prune_history
            Has no effect.

        Returns
        -------
        list of (text, None, word frames, CTC's score, score)
            Word frames are pairs of a word and its first frame and the one after its last.
        """
        return self.decode_beams_batch(None, [logits], **options)[0]

    def decode_beams_batch(
        self,
        pool: object,  # noqa: ARG002
        logits_list: Iterable[NDArray[np.floating]],
        **options: Any,
    ) -> list[list[OutputBeam]]:
        """The beams left for each of some logits; see decode_beams and decode_batch."""
        searches, outputs = self._searched(logits_list, **options)
        return [
            [self._output_beam(found, log_probs) for found in search.ranked(search.pruning.beam_size)]
            for search, log_probs in zip(searches, outputs, strict=True)
        ]

    def _searched(
        self,
        logits_list: Iterable[NDArray[np.floating]],
        *,
        beam_width: int = 100,
        beam_prune_logp: float = -10.0,
        token_min_logp: float = -5.0,
        prune_history: bool = True,  # noqa: ARG002 - pyctcdecode's way to a smaller beam
        hotwords: Iterable[str] | None = None,
        hotword_weight: float = 10.0,
    ) -> tuple[list[CompiledSearch], list[NDArray[np.float64]]]:
        """Each utterance searched to its end, and its log-probabilities, blank first."""
        check_count("beam_width", beam_width)
        check_range("beam_prune_logp", beam_prune_logp, -math.inf, 0.0)
        check_range("token_min_logp", token_min_logp, -math.inf, 0.0)
        check_range("hotword_weight", hotword_weight, 0.0)
        outputs = [self._log_probs(np.asarray(logits)) for logits in logits_list]
        pruning = Pruning(beam_width, ALL, float(token_min_logp), float(beam_prune_logp), 0.0, 0.0)
        return search_all(outputs, pruning, self._tables(hotwords, hotword_weight)), outputs

    def _tables(self, hotwords: Iterable[str] | None, weight: float) -> FusionTables:
        words = tuple(word for phrase in hotwords or () for word in phrase.split())
        if not words:
            return no_fusion() if self.fusion is None else self.fusion.tables
        if (words, weight) not in self._hotword_fusions:
            named = {"hotwords": words, "hotword_weight": weight}
            given = self.fusion and dataclasses.replace(self.fusion, word_ngram=self.fusion.words, **named)
            self._hotword_fusions[words, weight] = given or CTCFusion(tokenizer=self.pieces, **named)
        return self._hotword_fusions[words, weight].tables

    def _log_probs(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Log-probabilities (T, V), blank first."""
        if logits.ndim != 2 or logits.shape[1] != len(self.pieces):
            raise ModelError(f"logits must have the shape (frames, {len(self.pieces)}), got {logits.shape}")
        logits = logits.astype(np.float64)
        if len(logits) and logits.min() >= 0.0 and np.allclose(logits.sum(axis=1), 1.0, atol=1e-3):  # float16's, too
            log_probs = np.log(np.clip(logits, SMALLEST, 1.0))
        else:
            log_probs = torch.log_softmax(torch.from_numpy(logits), dim=1).numpy().clip(np.log(SMALLEST), 0.0)
        if np.isnan(log_probs).any():
            raise ModelError("logits hold NaN, +inf or a frame of -inf: the model diverged, or its input did")
        order = [self.blank, *(place for place in range(len(self.pieces)) if place != self.blank)]
        return np.ascontiguousarray(log_probs[:, order])

    def _text(self, ranked: list[tuple[list[int], float, float]]) -> str:
        tokens = ranked[0][0] if ranked else []
        return " ".join("".join(self.pieces[token] for token in tokens).replace(MARK, " ").split())

    def _output_beam(self, found: tuple[list[int], float, float], log_probs: NDArray[np.float64]) -> OutputBeam:
        tokens, score, logp = found
        words = words_of(aligned(Hypothesis(tokens, score), log_probs), self.pieces)
        return self._text([found]), None, [(word.text, (word.start, word.end)) for word in words], logp, score
