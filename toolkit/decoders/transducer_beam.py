"""The beam of transducer search, in tensors over utterances and prefixes, and one frame of the search."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from toolkit.decoders.ctc_beam import EMPTY, NO_PARENT, NOBODY, lengthened
from toolkit.decoders.fusion import LanguageModelFusion
from toolkit.decoders.scorers import full_precision
from toolkit.decoders.transducer_prefixes import PrefixCache, next_token, project_frames


class BeamOptions(Protocol):
    """The options of a searcher that are read here; `TransducerBeamSearcher` says what they mean."""

    beam_size: int
    lm: nn.Module | None
    lm_weight: float
    length_bonus: float
    expand_beam: float
    beam_prune_logp: float
    candidates: int | None
    max_symbols: int
    max_decode_ratio: float
    temperature: float


@dataclass
class Prefixes:
    """K prefixes of each of B utterances; every tensor is (B, K). A slot without prefix scores ``-inf``."""

    score: Tensor  # log-probability of the alignments that have come to this prefix
    fusion: Tensor  # what the language model and the length bonus add
    last: Tensor  # last token, 0 for the empty prefix
    length: Tensor  # tokens
    identity: Tensor  # hash of the prefix
    parent: Tensor  # hash of the prefix without its last token

    def ranks(self) -> Tensor:
        """What the prefixes are ranked by (B, K)."""
        return self.score + self.fusion

    def at(self, index: Tensor) -> Prefixes:
        """The prefixes in the slots ``index`` (B, K')."""
        return Prefixes(*(getattr(self, field.name).gather(1, index) for field in fields(self)))

    def beside(self, others: Prefixes) -> Prefixes:
        """These and others, (B, K + K')."""
        pairs = ((getattr(self, field.name), getattr(others, field.name)) for field in fields(self))
        return Prefixes(*(torch.cat(pair, dim=1) for pair in pairs))

    def without(self, gone: Tensor) -> Prefixes:
        """These, with the slots emptied where ``gone`` (B, K) is true."""
        return replace(
            self,
            score=self.score.masked_fill(gone, -math.inf),
            identity=self.identity.masked_fill(gone, NOBODY),
            parent=self.parent.masked_fill(gone, NO_PARENT),
        )

    def followed(self, parents: Tensor, tokens: Tensor, score: Tensor, fusion: Tensor) -> Prefixes:
        """New prefixes (B, K): those in the slots ``parents`` with one more token; token 0 makes none."""
        old = self.at(parents)
        identity = lengthened(old.identity, tokens)
        new = Prefixes(score, fusion, last=tokens, length=old.length + 1, identity=identity, parent=old.identity)
        return new.without(tokens == 0)


def empty_prefix(slots: Tensor, dtype: torch.dtype) -> Prefixes:
    """Beams of the shape and on the device of ``slots`` (B, K): the empty prefix, certain, in the first slot."""
    score = torch.full(slots.shape, -math.inf, dtype=dtype, device=slots.device)
    nobody, zeros = torch.full_like(slots, NOBODY), torch.zeros_like(slots)
    score[:, 0], nobody[:, 0] = 0.0, EMPTY
    return Prefixes(score, torch.zeros_like(score), zeros, zeros, nobody, torch.full_like(slots, NO_PARENT))


class TransducerBeam:
    """One batch being searched.

    ``done`` are the best prefixes that have passed the frame with a blank; those that a token of this frame has just
    made are open until they have passed it, too. Caches hold both: K slots for the first, then K for the others.
    """

    def __init__(self, options: BeamOptions, model: nn.Module, encoded: Tensor, frames: Tensor) -> None:
        self.options, self.frames = options, frames
        self.acoustic = project_frames(model, encoded)  # (B, T, J)
        self.shortest = int(frames.min()) if len(frames) else 0
        self.most = (frames * options.max_decode_ratio).floor().clamp_min(1)[:, None]
        slots = frames.new_zeros(len(frames), options.beam_size)
        self.own = torch.arange(options.beam_size, device=frames.device).expand_as(slots)
        self.done = empty_prefix(slots, full_precision(self.acoustic[:0]).dtype)
        self.joint, self.cache = model.joint, PrefixCache(model, slots.repeat(1, 2))
        self.fusion = None
        if options.lm_weight > 0.0:
            self.fusion = LanguageModelFusion(options.lm, options.lm_weight, model.vocab_size, slots=slots.repeat(1, 2))
        self.steps: list[tuple[Tensor, Tensor]] = []  # parents and tokens (B, 2 K), as `trace_back` wants them

    def final_scores(self) -> Tensor:
        """The scores (B, K) of the prefixes as transcripts."""
        ends = self.fusion.end()[:, : self.options.beam_size] if self.fusion else 0.0
        return self.done.ranks() + ends

    def pass_frame(self, t: int) -> None:
        """Let every prefix pass frame ``t``: with a blank, or with tokens before it."""
        log_probs = self._log_probs(t, first=0)
        made, known = self._receive(log_probs)
        self.done = replace(made, score=made.score + log_probs[..., 0])
        for depth in range(self.options.max_symbols):
            first = self.options.beam_size if depth else 0
            made = self._extend(made, log_probs, first, known=None if depth else known)
            if made is None:
                return
            log_probs = self._log_probs(t, first=self.options.beam_size)
            self._close(made, log_probs[..., 0])

    def _log_probs(self, t: int, *, first: int) -> Tensor:
        """What frame ``t`` says of the next token of the prefixes in K slots from ``first`` on: (B, K, V)."""
        B, K = self.own.shape
        prefixes = self.cache.projected.view(B, 2 * K, -1)[:, first : first + K]
        log_probs = next_token(self.joint, self.acoustic[:, t, None], prefixes, self.options.temperature)
        if t < self.shortest:
            return log_probs
        nothing = torch.full_like(log_probs[:1, :1], -math.inf)
        nothing[..., 0] = 0.0  # past the end, a certain blank leaves every score as it is
        return torch.where((t < self.frames)[:, None, None], log_probs, nothing)

    def _receive(self, log_probs: Tensor) -> tuple[Prefixes, Tensor]:
        """Add to the prefixes the alignments that this frame's tokens lead from one of them to another.

        Also returns the places (B, K) of these tokens in K x V, which are not to be counted again.
        """
        (B, K), V = self.own.shape, log_probs.shape[2]
        found, parent = (self.done.parent[:, :, None] == self.done.identity[:, None, :]).max(dim=2)
        place = (parent * V + self.done.last).masked_fill(~found, 0)  # 0 is a blank, and no token
        step = log_probs.view(B, K * V).gather(1, place).masked_fill(~found, -math.inf)
        arriving = total = self.done.score
        for _ in range(min(self.options.max_symbols, K - 1)):
            arriving = arriving.gather(1, parent) + step
            total = torch.logaddexp(total, arriving)
        return replace(self.done, score=total), place

    def _extend(self, old: Prefixes, log_probs: Tensor, first: int, *, known: Tensor | None) -> Prefixes | None:
        """The best new prefixes (B, K) that a token makes of ``old`` ones, in slots from ``first`` on, if there are."""
        limit = self._limit(old, log_probs.amax(dim=2))
        if known is not None:
            log_probs = log_probs.flatten(1).scatter(1, known, -math.inf).view_as(log_probs)
        log_probs = log_probs[..., 1:]
        if not (log_probs.amax(dim=2) >= limit).any():  # what happens in most frames
            return None
        logp, tokens = log_probs.topk(min(self._candidates(), log_probs.shape[2]), dim=2)
        tokens = tokens + 1
        fusion = (old.fusion[:, :, None] + self._bonus(tokens, first)).expand_as(logp)
        score = (old.score[:, :, None] + logp).masked_fill(logp < limit[:, :, None], -math.inf)

        index = (score + fusion).flatten(1).topk(old.score.shape[1], dim=1).indices
        parents = index.div(tokens.shape[2], rounding_mode="floor")
        score, fusion = score.flatten(1).gather(1, index), fusion.flatten(1).gather(1, index)
        tokens = tokens.flatten(1).gather(1, index).masked_fill(score == -math.inf, 0)
        self._advance(torch.cat([self.own, parents + first], dim=1), nn.functional.pad(tokens, (len(self.own[0]), 0)))
        return old.followed(parents, tokens, score, fusion)

    def _limit(self, old: Prefixes, best: Tensor) -> Tensor:
        """The least log-probability (B, K) of a token that is tried, where that of the best one is ``best``."""
        ranks = self.done.ranks()
        floor = ranks.amin(dim=1).maximum(ranks.amax(dim=1) + self.options.beam_prune_logp)
        limit = floor[:, None] - old.ranks() - self.options.length_bonus
        limit = limit.maximum(best - self.options.expand_beam)
        return limit.masked_fill((old.score == -math.inf) | (old.length >= self.most), math.inf)

    def _candidates(self) -> int:
        """How many best tokens of each prefix are looked at: one of K prefixes can be followed by K, and know K - 1."""
        needed = 2 * self.options.beam_size - 1
        if self.fusion is None:
            return needed
        return max(needed, self.options.candidates or self.fusion.scorer.vocabulary)

    def _bonus(self, tokens: Tensor, first: int) -> Tensor | float:
        """What the language model and the length add for the tokens (B, K, C) after the K slots from ``first`` on."""
        if self.fusion is None:
            return self.options.length_bonus
        scores = self.fusion.score(tokens.repeat(1, 2, 1))[:, first : first + tokens.shape[1]]
        return scores + self.options.length_bonus

    def _close(self, made: Prefixes, blank: Tensor) -> None:
        """Let the open prefixes pass the frame with a blank, and keep the best K of all that have passed it."""
        made = replace(made, score=made.score + blank)
        same = self.done.identity[:, :, None] == made.identity[:, None, :]
        arriving = torch.where(same, made.score[:, None, :], -math.inf).amax(dim=2)  # at most one is the same
        self.done = replace(self.done, score=torch.logaddexp(self.done.score, arriving))
        everything = self.done.beside(made.without(same.any(dim=1)))
        index = everything.ranks().topk(self.own.shape[1], dim=1).indices
        self.done = everything.at(index)
        K = self.own.shape[1]
        self._advance(torch.cat([index, self.own + K], dim=1), torch.zeros_like(index).repeat(1, 2))

    def _advance(self, parents: Tensor, tokens: Tensor) -> None:
        """Fill the 2 K slots with the prefixes of ``parents`` (B, 2 K), followed by ``tokens`` (B, 2 K) or 0."""
        self.cache.advance(parents, tokens)
        if self.fusion is not None:
            self.fusion.advance(parents, tokens)
        self.steps.append((parents, tokens))
