"""What every searcher returns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """One transcript of one utterance: its tokens, without blanks, bos and eos, and its score.

    Scores are sums of natural logs: higher is better. ``-inf`` marks an utterance in which every
    transcript is impossible; its tokens are then empty.
    """

    tokens: list[int]
    score: float
