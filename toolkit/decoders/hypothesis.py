"""What every searcher returns."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Hypothesis:
    """One transcript of one utterance: its tokens, without blanks, bos and eos, and its score.

    Scores are sums of natural logs: higher is better. ``-inf`` marks an utterance in which every
    transcript is impossible; its tokens are then empty.
    """

    tokens: list[int]
    score: float
    # Label-synchronous search only: what the decoder alone said of each token and of the end.
    log_probs: list[float] = field(default_factory=list, compare=False, repr=False)
