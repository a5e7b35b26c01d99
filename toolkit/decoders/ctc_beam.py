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
    last: Tensor  # last token; of the empty prefix the separator, or 0
    identity: Tensor  # hash of the prefix
    parent: Tensor  # hash of the prefix without its last token
    separator: int = NOWHERE  # the token of which one or two in a row are the same text; texts begin after one

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

    def dead(self) -> Tensor:
        """The slots (B, K) without a prefix."""
        return self.identity == NOBODY

    def blank_out(self, rows: Tensor) -> None:
        """All paths of the utterances where ``rows`` (B,) is true go through a certain blank."""
        total = torch.logaddexp(self.blank, self.token)
        self.blank = torch.where(rows[:, None], total, self.blank)
        self.token = self.token.masked_fill(rows[:, None], -math.inf)

    def prune(self, beam_prune_logp: float) -> None:
        """Empty the slots that are impossible, or worse than the best prefix by more than ``-beam_prune_logp``."""
        scores = self.scores()
        best = scores.max(dim=1, keepdim=True).values
        gone = (scores == -math.inf) | (scores < best + beam_prune_logp)
        self.blank.masked_fill_(gone, -math.inf)
        self.token.masked_fill_(gone, -math.inf)
        self.fusion.masked_fill_(gone, 0.0)
        self.identity.masked_fill_(gone, NOBODY)
        self.parent.masked_fill_(gone, NO_PARENT)


def empty_beam(frames: Frames, beam_size: int, separator: int = NOWHERE) -> Beam:
    """The beam before the first frame: the empty prefix, certain, in the first slot."""
    like = frames.log_probs
    B = len(like)
    impossible = like.new_full((B, beam_size), -math.inf)
    nobody = torch.full((B, beam_size), NOBODY, device=like.device)
    beam = Beam(
        blank=impossible.clone(),
        token=impossible,
        fusion=like.new_zeros(B, beam_size),
        last=torch.full_like(nobody, max(separator, 0)),
        identity=nobody,
        parent=torch.full_like(nobody, NO_PARENT),
        separator=separator,
    )
    beam.blank[:, 0] = 0.0
    beam.identity[:, 0] = EMPTY
    return beam


def extend_beam(beam: Beam, frames: Frames, t: int, bonus: Tensor | float) -> tuple[Tensor, Tensor]:
    """Move the beam over frame ``t``; parents (B, K) say which slot each new prefix was, tokens (B, K) what it gained.

    ``bonus``, (B, K, C) or a number, is added to the fusion score of the extensions. A prefix that stays gains token 0.
    """
    log_probs, candidates = frames.log_probs[:, t], frames.tokens[:, t]
    total = torch.logaddexp(beam.blank, beam.token)
    arriving, merged = _merge(beam, total, candidates, log_probs.shape[1])
    stay_blank = total + log_probs[:, :1]
    separates = beam.last == beam.separator
    stay_token = torch.logaddexp(torch.where(separates, total, beam.token), arriving) + log_probs.gather(1, beam.last)
    repeats = beam.last[:, :, None] == candidates[:, None, :]  # a repeat of the last token needs a blank between
    repeated = beam.blank.masked_fill(separates, -math.inf)
    extension = torch.where(repeats, repeated[:, :, None], total[:, :, None])
    extension = (extension + log_probs.gather(1, candidates)[:, None, :]).masked_fill_(merged, -math.inf)
    fusion = (beam.fusion[:, :, None] + bonus).expand_as(extension)

    token = torch.cat([stay_token, extension.flatten(1)], dim=1)
    score = torch.cat([torch.logaddexp(stay_blank, stay_token) + beam.fusion, (extension + fusion).flatten(1)], dim=1)
    index = score.topk(beam.last.shape[1], dim=1).indices
    parents, tokens = _origin(index, candidates)
    stays = tokens == 0
    beam.blank = stay_blank.gather(1, parents).masked_fill_(~stays, -math.inf)
    beam.token = token.gather(1, index)
    beam.fusion = torch.cat([beam.fusion, fusion.flatten(1)], dim=1).gather(1, index)
    _rename(beam, parents, tokens)
    return parents, tokens


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


def _merge(beam: Beam, total: Tensor, candidates: Tensor, V: int) -> tuple[Tensor, Tensor]:
    """Where extending one prefix of the beam gives another: the two are one, and their paths add up.

    Returns the log-probability (B, K) of the paths that complete each prefix from its parent, before this frame's
    last token, and which extensions (B, K, C) are accounted for in this way.
    """
    (B, K), C = beam.last.shape, candidates.shape[1]
    is_parent = beam.parent[:, :, None] == beam.identity[:, None, :]
    found, parent = is_parent.max(dim=2)
    repeats = beam.last == beam.last.gather(1, parent)
    arriving = torch.where(repeats, beam.blank.gather(1, parent), total.gather(1, parent))

    places = torch.arange(C, device=candidates.device).expand(B, C)
    place = candidates.new_full((B, V), C).scatter_(1, candidates, places).gather(1, beam.last)
    place = torch.where(found, parent * (C + 1) + place, C)  # column C takes what is no candidate, and is cut off
    merged = torch.zeros(B, K * (C + 1), dtype=torch.bool, device=candidates.device).scatter_(1, place, True)
    return arriving.masked_fill_(~found, -math.inf), merged.view(B, K, C + 1)[:, :, :C]


def _origin(index: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """The slot and the token behind each index (B, K) into K prefixes that stay and K x C extensions."""
    K, C = index.shape[1], candidates.shape[1]
    if C == 0:
        return index, torch.zeros_like(index)
    extension = (index - K).clamp_(min=0)
    stays = index < K
    parents = torch.where(stays, index, extension.div(C, rounding_mode="floor"))
    return parents, candidates.gather(1, extension.remainder(C)).masked_fill_(stays, 0)


def _rename(beam: Beam, parents: Tensor, tokens: Tensor) -> None:
    """Give the slots the last token and the hashes of their new prefixes."""
    stays = tokens == 0
    identity = beam.identity.gather(1, parents)
    beam.last = torch.where(stays, beam.last.gather(1, parents), tokens)
    beam.parent = torch.where(stays, beam.parent.gather(1, parents), identity)
    beam.identity = torch.where(stays, identity, lengthened(identity, tokens))
