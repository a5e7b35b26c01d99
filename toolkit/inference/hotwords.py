"""Words that are likely to be said, for a search that was declared without them."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any

from toolkit.decoders.attention import AttentionSearcher
from toolkit.decoders.ctc import CTCGreedySearcher, CTCPrefixSearcher
from toolkit.decoders.ctc_fusion import CTCFusion
from toolkit.decoders.hotword_scorer import HotwordScorer
from toolkit.decoders.hotwords import known_phrases
from toolkit.decoders.scorer_builder import ScorerBuilder
from toolkit.decoders.spelling import Alphabet, HasPieces, pieces_of

logger = logging.getLogger(__name__)

# In nats, of each word. With the 36 names that are spelled in it as hotwords, AN4's test set has 62 errors at 0, 47 at
# 3, 51 at 5, and 234 at 10, which is what pyctcdecode adds (CTC with an n-gram, seed 3).
WEIGHT = 3.0


def with_hotwords(search: Callable[..., Any], hotwords: Sequence[str], tokenizer: HasPieces) -> Callable[..., Any]:
    """The same search, for which these phrases are likely; one that cannot be told so stays as it is.

    Hotwords take the place, and have the weight, of those that it was declared with.
    """
    if not known_phrases(hotwords, Alphabet(pieces_of(tokenizer))):
        return search
    if isinstance(search, CTCGreedySearcher):
        return CTCPrefixSearcher(fusion=CTCFusion(tokenizer=tokenizer, hotwords=hotwords, hotword_weight=WEIGHT))
    if isinstance(search, CTCPrefixSearcher) and search.lm_weight == 0.0:
        if search.fusion is not None:
            weight = search.fusion.hotword_weight if search.fusion.hotwords else WEIGHT
            return dataclasses.replace(search, fusion=search.fusion.with_hotwords(hotwords, weight))
        fusion = CTCFusion(tokenizer=tokenizer, hotwords=hotwords, hotword_weight=WEIGHT)
        return dataclasses.replace(search, fusion=fusion)
    if isinstance(search, AttentionSearcher):
        return dataclasses.replace(search, scorer=_scorers(search.scorer, HotwordScorer(hotwords, tokenizer)))
    logger.info("%s cannot be told hotwords", type(search).__name__)
    return search


def _scorers(given: ScorerBuilder | None, hotwords: HotwordScorer) -> ScorerBuilder:
    """The scorers of a search, and one of hotwords."""
    if given is None:
        return ScorerBuilder({hotwords.name: WEIGHT}, [hotwords])
    others = [scorer for scorer in given.full_scorers if scorer.name != hotwords.name]
    weights = {hotwords.name: WEIGHT} | given.weights
    scale = given.scorer_beam_scale
    return ScorerBuilder(weights, [*others, hotwords], given.partial_scorers, scorer_beam_scale=scale)
