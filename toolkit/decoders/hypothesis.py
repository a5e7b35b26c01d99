"""What every searcher returns."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """One transcript of one utterance: its tokens, without blanks, bos and eos, and its score.

    Scores are sums of natural logs: higher is better. ``-inf`` marks an utterance in which every
    transcript is impossible; its tokens are then empty.
    """

    tokens: list[int]
    score: float


def possible_hypotheses(transcripts: Iterable[list[int]], scores: Iterable[float], frames: int) -> list[Hypothesis]:
    """The hypotheses of one utterance that are possible; without frames, that nothing was said."""
    if frames == 0:
        return [Hypothesis([], 0.0)]
    possible = [Hypothesis(*pair) for pair in zip(transcripts, scores, strict=True) if pair[1] > -math.inf]
    return possible or [Hypothesis([], -math.inf)]
