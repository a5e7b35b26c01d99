"""What CTC prefix search reads of each frame: log-probabilities without the frames that hold nothing but blank."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Frames:
    """The frames worth searching, T of them in the longest utterance of the batch.

    A shorter utterance is filled up with certain blanks (log-probability 0, every token ``-inf``), which leave the
    score of every prefix exactly as it was: the answer does not depend on the batch.
    """

    log_probs: Tensor  # (B, T, V)
    tokens: Tensor  # (B, T, C) the candidates of each frame, blank not among them
    after_blank: Tensor  # (B, T) whether frames were skipped just before this one
    skipped_logp: Tensor  # (B,) sum of the blank's log-probability over the skipped frames


def live_frames(log_probs: Tensor, frames: Tensor, *, blank_skip: float, candidates: int | None) -> Frames:
    """The frames of (B, S, V) within ``frames`` (B,) whose blank is at most ``blank_skip`` likely, moved together."""
    B, S, V = log_probs.shape
    blank = log_probs[..., 0]
    inside = torch.arange(S, device=log_probs.device) < frames[:, None]
    live = inside & (blank <= math.log(blank_skip)) if blank_skip > 0.0 else torch.zeros_like(inside)
    skipped_logp = blank.masked_fill(~inside | live, 0.0).sum(dim=1)
    counts = live.sum(dim=1)
    T = int(counts.max()) if B else 0
    position = torch.argsort(~live, dim=1, stable=True)[:, :T]
    log_probs = log_probs.gather(1, position[..., None].expand(B, T, V))
    filler = torch.full((V,), -math.inf, dtype=log_probs.dtype, device=log_probs.device)
    filler[0] = 0.0
    log_probs = torch.where((torch.arange(T, device=counts.device) < counts[:, None])[..., None], log_probs, filler)
    gap = position.diff(dim=1, prepend=position.new_full((B, 1), -1))
    return Frames(log_probs, best_tokens(log_probs, candidates), gap > 1, skipped_logp)


def best_tokens(log_probs: Tensor, count: int | None) -> Tensor:
    """The ``count`` best tokens of each frame, or all: (B, T, V) -> (B, T, C), blank left out."""
    B, T, V = log_probs.shape
    if count is None or count >= V - 1:
        return torch.arange(1, V, device=log_probs.device).expand(B, T, V - 1)
    return log_probs[..., 1:].topk(count, dim=-1).indices + 1
