"""When each token of a CTC transcript was spoken, and how sure that is: the best of the paths that spell it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from toolkit.decoders.ctc_compiled import compiled
from toolkit.decoders.hypothesis import Hypothesis

# States of the alignment (2 a token) that are looked at in each frame, around the best: all of them for up to
# 512 tokens, and beyond that as many as are spoken in some ten seconds, so that the work grows with the audio only.
BAND = 1025

MOST_STEPS = 2**31  # bytes of memory for all states: where a band lost the way in hours of audio, the text is another's


def aligned(hypothesis: Hypothesis, log_probs: NDArray[np.float64]) -> Hypothesis:
    """The hypothesis with its tokens' frames and confidence, from the utterance's CTC output (T, V), blank first.

    A hypothesis that is impossible has neither.
    """
    tokens = np.array(hypothesis.tokens, np.int64)
    spans = _best_path(log_probs, tokens, min(BAND, 2 * len(tokens) + 1))
    states = 2 * len(tokens) + 1
    if len(tokens) and spans[-1, 1] == 0 and len(log_probs) * states <= MOST_STEPS:  # the band lost the way
        spans = _best_path(log_probs, tokens, states)
    if hypothesis.score == -math.inf or (len(tokens) and spans[-1, 1] == 0):
        return hypothesis
    spoken = [float(log_probs[first:last, token].max()) for token, (first, last) in zip(tokens, spans, strict=True)]
    frames = [(first, last) for first, last in spans.tolist()]
    return dataclasses.replace(hypothesis, frames=frames, confidence=[math.exp(logp) for logp in spoken])


@compiled()
def _best_path(log_probs: NDArray[np.float64], tokens: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """First frame and the one after the last (L, 2) of each token on the best path; zeros if there is none.

    Viterbi over the states blank, token 0, blank, token 1, ..., blank, of which each frame looks at ``width``.
    """
    T, states = len(log_probs), 2 * len(tokens) + 1
    spans = np.zeros((len(tokens), 2), np.int64)
    steps, lowest = np.zeros((T, width), np.int8), np.zeros(T + 1, np.int64)
    before, after = np.full(width, -math.inf), np.full(width, -math.inf)
    low = 0
    for t in range(T):
        best, best_score = low, -math.inf
        for state in range(low, low + width):
            token = tokens[state >> 1] if state & 1 else 0
            leap = 2 if state & 1 and state > 1 and tokens[state >> 1] != tokens[(state >> 1) - 1] else 1
            score, step = -math.inf, 0
            if t == 0:
                score = 0.0 if state < 2 else -math.inf
            else:
                for back in range(leap + 1):
                    place = state - back - lowest[t - 1]
                    if 0 <= place < width and before[place] > score:
                        score, step = before[place], back
            after[state - low], steps[t, state - low] = score + log_probs[t, token], step
            if after[state - low] > best_score:
                best, best_score = state, after[state - low]
        lowest[t] = low
        before, after = after, before
        low = max(low, min(best - width // 2, states - width))
    state, score = -1, -math.inf
    for last in range(max(0, states - 2), states):
        place = last - lowest[T - 1]
        if T > 0 and 0 <= place < width and before[place] > score:
            state, score = last, before[place]
    for t in range(T - 1, -1, -1):
        if state < 0:
            break
        if state & 1:
            spans[state >> 1, 0] = t
            spans[state >> 1, 1] = max(spans[state >> 1, 1], t + 1)
        state -= steps[t, state - lowest[t]]
    return spans
