"""Perplexities of a language model."""

from __future__ import annotations

import math


def perplexities(nats: float, tokens: int, words: int) -> dict[str, float]:
    """Loss in nats per token, perplexity per token and (where there are any) per word of a text that costs ``nats``.

    Ends of sentences count as tokens and as words. Perplexities stop at e^50 instead of overflowing.
    """
    loss = nats / tokens
    figures = {"loss": loss, "perplexity": math.exp(min(50.0, loss))}
    return figures | ({"word_perplexity": math.exp(min(50.0, nats / words))} if words else {})
