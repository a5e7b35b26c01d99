"""The beam of CTC prefix search, in tensors over utterances and prefixes, and one frame of the search."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from toolkit.decoders.ctc_frames import Frames
from toolkit.decoders.ctc_tables import NOWHERE

# Prefixes are told apart by a 64-bit hash of their tokens. Two of a beam of 100 collide once in about 10^15 frames.
MULTIPLIER = -7046029254386353131  # 2^64 / golden ratio, as a signed number
EMPTY, NOBODY, NO_PARENT = 1, -1, -2  # hash of the empty prefix; of a slot without prefix; of its parent


@dataclass
class Beam:
    """K prefixes of each of B utterances; every tensor is (B, K). A slot without prefix scores ``-inf``."""

    blank: Tensor  # log-probability of the paths that end in blank
    token: Tensor  # log-probability of the paths that end in the prefix's last token
    fusion: Tensor  # what the language model and the length bonus add
    names: Tensor  # (3, B, K): see the properties
    nobody: Tensor  # (3, 1, 1) the names of a slot without prefix
    separator: int = NOWHERE  # the token of which one or two in a row are the same text; texts begin after one

    @property
    def last(self) -> Tensor:
        """The last token; of the empty prefix the separator, or 0."""
        return self.names[0]

    @property
    def parent(self) -> Tensor:
        """The hash of the prefix without its last token."""
        return self.names[1]

    @property
    def identity(self) -> Tensor:
        """The hash of the prefix."""
        return self.names[2]

    def scores(self) -> Tensor:
        """What the prefixes are ranked by (B, K)."""
        return torch.logaddexp(self.blank, self.token) + self.fusion

    def totals(self) -> Tensor:
        """Log-probability of the prefixes as transcripts (B, K): a separator at the end of one says nothing."""
        totals, ends = torch.logaddexp(self.blank, self.token), self.last == self.separator
        without = (self.identity[:, :, None] == self.parent[:, None, :]) & ends[:, None, :]
        found, place = without.max(dim=2)
        other = totals.gather(1, place).masked_fill(~found, -math.inf)
        return torch.logaddexp(totals, other).masked_fill(without.any(dim=1), -math.inf)

    def blank_out(self, rows: Tensor) -> None:
        """All paths of the utterances where ``rows`` (B,) is true go through a certain blank."""
        total = torch.logaddexp(self.blank, self.token)
        self.blank = torch.where(rows[:, None], total, self.blank)
        self.token = self.token.masked_fill(rows[:, None], -math.inf)


def empty_beam(frames: Frames, beam_size: int, separator: int = NOWHERE) -> Beam:
    """The beam before the first frame: the empty prefix, certain, in the first slot."""
    like = frames.log_probs
    B = len(like)
    impossible = like.new_full((B, beam_size), -math.inf)
    nobody = torch.tensor([0, NO_PARENT, NOBODY], device=like.device)[:, None, None]
    names = nobody.repeat(1, B, beam_size)
    names[0], names[2, :, 0] = max(separator, 0), EMPTY
    beam = Beam(impossible.clone(), impossible, like.new_zeros(B, beam_size), names, nobody, separator)
    beam.blank[:, 0] = 0.0
    return beam


def extend_beam(
    beam: Beam, frames: Frames, t: int, gains: Tensor | float, beam_prune_logp: float
) -> tuple[Tensor, Tensor]:
    """Move the beam over frame ``t``; parents (B, K) say which slot each new prefix was, tokens (B, K) what it gained.

    ``gains``, (B, K, C) or a number, is added to the fusion score of the extensions. A prefix that stays gains token 0.
    Slots that are impossible, or worse than the best prefix by more than ``-beam_prune_logp``, are emptied.

    What can become of a prefix stands side by side, K x C: in column 0 it stays as it is, in the others it gains the
    token of that column. An operation costs about the same however small the tensors are, so there are few of them.
    """
    log_probs, candidates = frames.log_probs[:, t], frames.tokens[:, t]
    (B, K), C, last = beam.blank.shape, candidates.shape[1], beam.last
    total, separates = torch.logaddexp(beam.blank, beam.token), last == beam.separator
    logp_last, column = log_probs.gather(1, last), frames.column_of(last, t)

    paths = total[:, :, None] + frames.logp[:, t, None]
    repeated = beam.blank.masked_fill(separates, -math.inf) + logp_last  # a blank is needed between
    paths.scatter_(2, column[:, :, None], repeated[:, :, None])
    arriving = _merge(beam, total, column, paths)
    stay_blank = total + log_probs[:, :1]
    stay_token = torch.logaddexp(torch.where(separates, total, beam.token), arriving) + logp_last
    paths[:, :, 0] = stay_token
    fusion = (beam.fusion[:, :, None] + gains).expand_as(paths).contiguous()
    fusion[:, :, 0] = beam.fusion
    scores = paths + fusion
    scores[:, :, 0] = torch.logaddexp(stay_blank, stay_token) + beam.fusion

    best, index = scores.flatten(1).topk(K, dim=1)
    parents, columns = index.div(C, rounding_mode="floor"), index.remainder(C)
    stays, tokens = columns == 0, candidates.gather(1, columns)
    gone = best < (best[:, :1] + beam_prune_logp).clamp_min_(torch.finfo(best.dtype).min)
    beam.blank = stay_blank.gather(1, parents).masked_fill_(gone | ~stays, -math.inf)
    beam.token = paths.flatten(1).gather(1, index).masked_fill_(gone, -math.inf)
    beam.fusion = fusion.flatten(1).gather(1, index).masked_fill_(gone, 0.0)
    before = beam.names.gather(2, parents.expand(3, B, K))
    longer = torch.stack([tokens, before[2], lengthened(before[2], tokens)])
    beam.names = torch.where(gone, beam.nobody, torch.where(stays, before, longer))
    return parents, tokens.masked_fill_(gone, 0)


def trace_back(steps: list[tuple[Tensor, Tensor]], slots: Tensor) -> list[list[list[int]]]:
    """The tokens of the prefixes that ended in ``slots`` (B, N), from what ``extend_beam`` returned for each frame."""
    B, N = slots.shape
    if not steps:
        return [[[] for _ in range(N)] for _ in range(B)]
    parents = torch.stack([parents for parents, _ in steps]).cpu().numpy()
    tokens = torch.stack([tokens for _, tokens in steps]).cpu().numpy()
    rows, columns = np.arange(B)[:, None], slots.cpu().numpy()
    gained = np.empty((B, N, len(steps)), dtype=np.int64)
    for t in reversed(range(len(steps))):
        gained[:, :, t] = tokens[t, rows, columns]
        columns = parents[t, rows, columns]
    return [[row[row > 0].tolist() for row in utterance] for utterance in gained]


def lengthened(identity: Tensor, tokens: Tensor) -> Tensor:
    """The hashes of prefixes with one more token each."""
    mixed = (identity + tokens) * MULTIPLIER
    return mixed ^ ((mixed >> 32) & 0xFFFFFFFF)


def _merge(beam: Beam, total: Tensor, column: Tensor, paths: Tensor) -> Tensor:
    """Where extending one prefix of the beam gives another: the two are one, and their paths add up.

    Returns the log-probability (B, K) of the paths that complete each prefix from its parent, before this frame's
    last token, which stands in ``column`` (B, K); these are struck out of the ``paths`` (B, K, C) of extensions.
    """
    last, parent, identity = beam.names
    found, slot = (parent[:, :, None] == identity[:, None, :]).max(dim=2)
    repeats = last == last.gather(1, slot)
    arriving = torch.where(repeats, beam.blank.gather(1, slot), total.gather(1, slot))
    paths.flatten(1).scatter_(1, slot * paths.shape[2] + column * found, -math.inf)
    return arriving.masked_fill_(~found, -math.inf)
