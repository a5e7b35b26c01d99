"""What every searcher returns."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Hypothesis:
    """One transcript of one utterance: its tokens, without blanks, bos and eos, and its score.

    Scores are sums of natural logs: higher is better. ``-inf`` marks an utterance in which every
    transcript is impossible; its tokens are then empty.

    Attributes
    ----------
    frames
        For each token its first frame and the one after its last, where the search was asked to align.
    confidence
        For each token its highest probability in these frames, between 0 and 1.
    log_probs
        What the decoder alone said of each token and of the end, in label-synchronous search.
    """

    tokens: list[int]
    score: float
    frames: list[tuple[int, int]] | None = None
    confidence: list[float] | None = None
    log_probs: list[float] = field(default_factory=list, compare=False, repr=False)


def possible(found: Iterable[tuple[list[int], float]], frames: int) -> list[Hypothesis]:
    """The possible hypotheses among the tokens and scores of one utterance; without frames, that nothing was said."""
    if frames == 0:
        return [Hypothesis([], 0.0)]
    hypotheses = [Hypothesis(tokens, score) for tokens, score in found if score > -math.inf]
    return hypotheses or [Hypothesis([], -math.inf)]
