"""What CTC prefix search reads of each frame: log-probabilities without the frames that hold nothing but blank."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from toolkit.decoders.ctc_tables import Pruning
from toolkit.errors import ModelError


@dataclass
class Frame:
    """One of the `Frames`."""

    blank: Tensor  # (B, 1)
    log_probs: Tensor  # (B, V)
    tokens: Tensor  # (B, C)
    logp: Tensor  # (B, 1, C) the candidates' log-probabilities
    after_blank: Tensor  # (B,)
    after_any_blank: bool

    @property
    def complete(self) -> bool:
        """Whether all tokens are candidates, which then stand in order."""
        return self.tokens.shape[1] == self.log_probs.shape[1]

    def column_of(self, tokens: Tensor) -> Tensor:
        """Where tokens (B, K) stand among the candidates; 0, blank's column, if they don't."""
        if self.complete:
            return tokens
        columns = torch.arange(self.tokens.shape[1], device=tokens.device).expand_as(self.tokens)
        return torch.zeros_like(self.log_probs, dtype=torch.int64).scatter_(1, self.tokens, columns).gather(1, tokens)

    def token_at(self, columns: Tensor) -> Tensor:
        """The candidates in columns (B, K)."""
        return columns if self.complete else self.tokens.gather(1, columns)


@dataclass
class Frames:
    """The frames worth searching, T of them in the longest utterance of the batch.

    A shorter utterance is filled up with certain blanks (log-probability 0, every token ``-inf``), which leave the
    score of every prefix exactly as it was: the answer does not depend on the batch.
    """

    blank: Tensor  # (B, T, 1) log-probability of the blank
    log_probs: Tensor  # (B, T, V) those of the tokens, of which unlikely ones are impossible; blank is none: ``-inf``
    tokens: Tensor  # (B, T, C) blank, and the candidates of each frame; if all are, in order
    after_blank: Tensor  # (B, T) whether frames were skipped just before this one
    after_any_blank: list[bool]  # (T,) whether that is so for any utterance
    ends_in_blank: Tensor  # (B,) whether frames were skipped after the last one
    skipped_logp: Tensor  # (B,) sum of the blank's log-probability over the skipped frames

    def __iter__(self) -> Iterator[Frame]:
        """One frame after the other; the views of all are made at once, which is faster."""
        logp = self.log_probs.gather(2, self.tokens)[:, :, None]
        parts = (self.blank, self.log_probs, self.tokens, logp, self.after_blank)
        return map(Frame, *(part.unbind(dim=1) for part in parts), self.after_any_blank)


def check_numbers(log_probs: Tensor, frames: Tensor) -> None:
    """Raise a ModelError if the CTC output (B, S, V) holds NaN within ``frames`` (B,)."""
    inside = torch.arange(log_probs.shape[1], device=log_probs.device) < frames[:, None]
    wrong = log_probs.isnan().any(dim=2) & inside
    if wrong.any():
        utterance, frame = wrong.nonzero()[0].tolist()
        raise ModelError(
            f"the CTC output is NaN in frame {frame} of utterance {utterance}: the model diverged, or its input did"
        )


def live_frames(log_probs: Tensor, frames: Tensor, pruning: Pruning, after_blank: Tensor | None = None) -> Frames:
    """The frames of (B, S, V) within ``frames`` (B,) that hold more than blank, moved together.

    ``after_blank`` (B,) says whether frames were skipped just before these, where they are not the first.
    """
    B, S, V = log_probs.shape
    blank = log_probs[..., 0]
    inside = torch.arange(S, device=log_probs.device) < frames[:, None]
    live = inside & (blank <= pruning.blank_skip_logp)
    skipped_logp = blank.masked_fill(~inside | live, 0.0).sum(dim=1)
    counts = live.sum(dim=1)
    T = int(counts.max()) if B else 0
    position = torch.argsort(~live, dim=1, stable=True)[:, :T]
    log_probs = log_probs.gather(1, position[..., None].expand(B, T, V))
    filler = torch.full((V,), -math.inf, dtype=log_probs.dtype, device=log_probs.device)
    filler[0] = 0.0
    log_probs = likely(log_probs, pruning.token_min_logp)
    log_probs = torch.where((torch.arange(T, device=counts.device) < counts[:, None])[..., None], log_probs, filler)
    gap = position.diff(dim=1, prepend=position.new_full((B, 1), -1)) > 1
    if after_blank is None:
        after_blank = gap.new_zeros(B)
    gap[:, :1] |= after_blank[:, None]
    tokens, blank = best_tokens(log_probs, pruning.candidates), log_probs[..., :1].clone()
    log_probs[..., 0] = -math.inf
    last = torch.where(live, torch.arange(S, device=counts.device), -1).amax(dim=1) if S else frames - 1
    ends_in_blank = torch.where(counts > 0, last < frames - 1, after_blank | (frames > 0))
    return Frames(blank, log_probs, tokens, gap, gap.any(dim=0).tolist(), ends_in_blank, skipped_logp)


def likely(log_probs: Tensor, token_min_logp: float) -> Tensor:
    """(..., V) where tokens less likely than that, blank too, are impossible, unless a frame has no likelier one."""
    if token_min_logp == -math.inf:
        return log_probs
    least = log_probs.amax(dim=-1, keepdim=True).clamp_max(token_min_logp)
    return log_probs.masked_fill(log_probs < least, -math.inf)


def best_tokens(log_probs: Tensor, count: int) -> Tensor:
    """Blank and the ``count`` best tokens of each frame, or all in order: (B, T, V) -> (B, T, C)."""
    B, T, V = log_probs.shape
    if count >= V - 1:
        return torch.arange(V, device=log_probs.device).expand(B, T, V)
    return torch.nn.functional.pad(log_probs[..., 1:].topk(count, dim=-1).indices + 1, (1, 0))
