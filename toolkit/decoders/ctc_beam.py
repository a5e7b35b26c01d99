"""The beam of CTC prefix search, in tensors over utterances and prefixes, and one frame of the search."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from toolkit.decoders.ctc_frames import Frame
from toolkit.decoders.ctc_tables import NOWHERE

# Prefixes are told apart by a 64-bit hash of their tokens. Two of a beam of 100 collide once in about 10^15 frames.
MULTIPLIER = -7046029254386353131  # 2^64 / golden ratio, as a signed number
EMPTY, NOBODY, NO_PARENT = 1, -1, -2  # hash of the empty prefix; of a slot without prefix; of its parent


@dataclass
class Beam:
    """K prefixes of each of B utterances; every tensor is (B, K). A slot without prefix scores ``-inf``."""

    blank: Tensor  # log-probability of the paths that end in blank
    token: Tensor  # log-probability of the paths that end in the prefix's last token
    total: Tensor  # log-probability of both
    fusion: Tensor  # what the language model and the length bonus add; ``-inf`` in a slot without prefix
    last: Tensor  # the last token; of the empty prefix the separator, or 0
    parent: Tensor  # the hash of the prefix without its last token
    identity: Tensor  # the hash of the prefix
    separator: int = NOWHERE  # the token of which one or two in a row are the same text; texts begin after one

    def scores(self) -> Tensor:
        """What the prefixes are ranked by (B, K)."""
        return self.total + self.fusion

    def totals(self) -> Tensor:
        """Log-probability of the prefixes as transcripts (B, K): a separator at the end of one says nothing."""
        ends = self.last == self.separator
        without = (self.identity[:, :, None] == self.parent[:, None, :]) & ends[:, None, :]
        found, place = without.max(dim=2)
        other = self.total.gather(1, place).masked_fill(~found, -math.inf)
        return torch.logaddexp(self.total, other).masked_fill(without.any(dim=1), -math.inf)

    def blank_out(self, rows: Tensor) -> None:
        """All paths of the utterances where ``rows`` (B,) is true go through a certain blank."""
        self.blank = torch.where(rows[:, None], self.total, self.blank)
        self.token = self.token.masked_fill(rows[:, None], -math.inf)


def empty_beam(slots: Tensor, dtype: torch.dtype, separator: int = NOWHERE) -> Beam:
    """The beam before the first frame, of the shape and on the device of ``slots``: the empty prefix in the first."""
    impossible = torch.full_like(slots, -math.inf, dtype=dtype)
    certain, nobody = impossible.clone(), torch.full_like(slots, NOBODY)
    certain[:, 0], nobody[:, 0] = 0.0, EMPTY
    last, parent = torch.full_like(slots, max(separator, 0)), torch.full_like(slots, NO_PARENT)
    return Beam(certain, impossible, certain, certain, last, parent, nobody, separator)


@torch.inference_mode()  # without which autograd's bookkeeping takes a tenth of the time
def extend_beam(beam: Beam, frame: Frame, gains: Tensor, beam_prune_logp: float) -> tuple[Tensor, Tensor]:
    """Move the beam over a frame; parents (B, K) say which slot each new prefix was, tokens (B, K) what it gained.

    ``gains``, which broadcasts to (B, K, C), is added to the fusion score: 0 in column 0, where nothing is gained.
    Slots that are impossible, or worse than the best prefix by more than ``-beam_prune_logp``, are emptied.

    What can become of a prefix stands side by side, K x C: in column 0 it stays as it is, in the others it gains the
    token of that column. An operation costs about the same however small the tensors are, so there are few of them.
    """
    K, C, last = beam.last.shape[1], frame.tokens.shape[1], beam.last
    logp_last, repeated, lasting = frame.log_probs.gather(1, last), beam.blank, beam.token
    if beam.separator != NOWHERE:
        separates = last == beam.separator
        repeated = repeated.masked_fill(separates, -math.inf)
        lasting = torch.where(separates, beam.total, lasting)

    paths = beam.total.unsqueeze(2) + frame.logp
    arriving = _merge(beam, frame, paths, repeated + logp_last)  # a blank is needed between
    stay_blank = beam.total + frame.blank
    stay_token = torch.logaddexp(lasting + logp_last, arriving)
    paths.select(2, 0).copy_(torch.logaddexp(stay_blank, stay_token))
    fusion = beam.fusion.unsqueeze(2) + gains

    best, index = (paths + fusion).flatten(1).topk(K, dim=1)
    parents = index.div(C, rounding_mode="floor")
    columns = torch.sub(index, parents, alpha=C)
    tokens, longer = frame.token_at(columns), columns > 0
    gone = best < (best[:, :1] + beam_prune_logp).clamp_min_(torch.finfo(best.dtype).min)
    beam.fusion = fusion.flatten(1).gather(1, index).masked_fill_(gone, -math.inf)
    beam.total = paths.flatten(1).gather(1, index)
    beam.token = torch.where(longer, beam.total, stay_token.gather(1, parents))
    beam.blank = stay_blank.gather(1, parents).masked_fill_(longer, -math.inf)
    before = beam.identity.gather(1, parents)
    beam.last = torch.where(longer, tokens, last.gather(1, parents))
    beam.parent = torch.where(longer, before, beam.parent.gather(1, parents)).masked_fill_(gone, NO_PARENT)
    beam.identity = torch.where(longer, lengthened(before, tokens), before).masked_fill_(gone, NOBODY)
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
    """The hashes of prefixes with one more token each; none is negative, as those of slots without prefix are."""
    mixed = (identity + tokens).mul_(MULTIPLIER)
    return mixed.bitwise_xor_(mixed >> 32)


def _merge(beam: Beam, frame: Frame, paths: Tensor, repeated: Tensor) -> Tensor:
    """Where extending one prefix of the beam gives another: the two are one, and their paths add up.

    Writes ``repeated`` (B, K), of the paths that say the last token once more, into the ``paths`` (B, K, C) of
    extensions, and strikes out those that are prefixes of the beam. Returns the log-probability (B, K) of the latter.
    """
    C, column = frame.tokens.shape[1], frame.column_of(beam.last)
    paths.scatter_(2, column.unsqueeze(2), repeated.unsqueeze(2))
    found, slot = (beam.parent.unsqueeze(2) == beam.identity.unsqueeze(1)).max(dim=2)
    place = torch.add(column, slot, alpha=C).mul_(found)  # 0, of a blank, where there is none
    if frame.complete:
        arriving = paths.flatten(1).gather(1, place)
    else:  # a token that is no candidate has no column
        again = beam.last == beam.last.gather(1, slot)
        before = torch.where(again, beam.blank.gather(1, slot), beam.total.gather(1, slot))
        arriving = (before + frame.log_probs.gather(1, beam.last)).masked_fill_(~found, -math.inf)
    paths.flatten(1).scatter_(1, place, -math.inf)
    return arriving
