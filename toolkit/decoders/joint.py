"""The weighted sum of decoder and scorers that a label-synchronous search ranks hypotheses by."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from toolkit.decoders.scorer_builder import ScorerBuilder
from toolkit.decoders.scorers import Extension, Scorer, SearchStart, StepScorer
from toolkit.errors import ModelError
from toolkit.models.state import select


class JointOptions(Protocol):
    """The options of a searcher that are read here; `AttentionSearcher` says what they mean."""

    beam_size: int
    bos_index: int
    eos_index: int
    using_eos_threshold: bool
    eos_threshold: float
    using_max_attn_shift: bool
    max_attn_shift: int
    temperature: float


@dataclass
class Part:
    """A scorer at work."""

    scorer: Scorer
    weight: float
    state: Any


class JointScorer:
    """Scores of the next token for all N = A * K hypotheses of a search; it begins with an empty one an utterance."""

    def __init__(
        self, options: JointOptions, scorers: ScorerBuilder, *, model: nn.Module, encoded: Tensor, frames: Tensor
    ) -> None:
        self.options, self.eos = options, options.eos_index
        self.attention_weight = 1.0 - scorers.weight("ctc")
        if not hasattr(model, "decoder"):
            raise ModelError(f"{type(model).__name__} has no decoder: search it with a CTC searcher instead")
        self.decoder = StepScorer(model.decoder, temperature=options.temperature)
        bos = torch.full((len(frames),), options.bos_index, device=encoded.device)
        self.state = self.decoder.step(bos, model.decoder.start(encoded, frames))
        indices = {"bos_index": options.bos_index, "eos_index": options.eos_index}
        search = SearchStart(model, encoded, frames, self.log_probs.shape[1], **indices, attention=self._looks())
        self.full = _start(scorers.full_scorers, scorers, search)
        self.partial = _start(scorers.partial_scorers, scorers, search)
        self.candidates = scorers.candidates(options.beam_size)
        self.peaks = torch.zeros_like(bos)  # (N,) where the decoder looked most, a step ago
        self.jumped = self._find_jumps(self.peaks)

    @property
    def log_probs(self) -> Tensor:
        """What the decoder alone says of the next token (N, V)."""
        return self.state.log_probs

    def score(self, too_short: Tensor | None, too_long: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Scores of what may come next, with the tokens these are of where it is not all of them, in order.

        Parameters
        ----------
        too_short : (N,), optional
            Hypotheses that must not end yet; None: all may.
        too_long : (N,), optional
            Hypotheses that can only end; None: all may go on.

        Returns
        -------
        (N, V) and None, or (N, C + 1) and tokens (N, C + 1), the last of which is eos.
        """
        total = self.log_probs * self.attention_weight if self.attention_weight else torch.zeros_like(self.log_probs)
        may_end = self._may_end(too_short, too_long)
        if may_end is not None:
            total[:, self.eos].masked_fill_(~may_end, -math.inf)
        if too_long is not None:
            others = too_long[:, None].expand(-1, total.shape[1]).clone()
            others[:, self.eos] = False
            total.masked_fill_(others, -math.inf)
        for part in self.full:
            total.add_(part.scorer.score(part.state), alpha=part.weight)
        return self._score_candidates(total) if self.partial else (total, None)

    def _score_candidates(self, total: Tensor) -> tuple[Tensor, Tensor]:
        """The best tokens, to which the partial scorers are added, and eos after them."""
        scores, candidates = total.topk(min(self.candidates, total.shape[1]), dim=1)
        end = total[:, self.eos]
        for part in self.partial:
            scores = scores + part.weight * part.scorer.score(part.state, candidates)
            end = end + part.weight * part.scorer.end(part.state)
        scores = scores.masked_fill(candidates == self.eos, -math.inf)
        return torch.cat([scores, end[:, None]], dim=1), nn.functional.pad(candidates, (0, 1), value=self.eos)

    def advance(self, extension: Extension) -> None:
        """Go on with the hypotheses chosen; the decoder first, as scorers want to know where it looks."""
        memory = select(self.state.memory, extension.hypotheses, extension.utterances)
        self.state = self.decoder.step(extension.tokens, memory)
        extension = replace(extension, attention=self._looks())
        if self.options.using_max_attn_shift:
            self.jumped = self._find_jumps(self.peaks[extension.hypotheses])
        for part in self.full + self.partial:
            part.state = part.scorer.advance(part.state, extension)

    def _may_end(self, too_short: Tensor | None, too_long: Tensor | None) -> Tensor | None:
        """Whether a hypothesis may end: long enough, and eos likely enough or the limit reached; None: all may."""
        may_end = None
        if self.options.using_eos_threshold:
            threshold = self.options.eos_threshold * self.log_probs.max(dim=1).values
            may_end = self.log_probs[:, self.eos] >= threshold
            may_end = may_end if too_long is None else may_end | too_long
        if too_short is None:
            return may_end
        return ~too_short if may_end is None else may_end & ~too_short

    def _looks(self) -> Tensor | None:
        """Where the decoder looks for the next token (N, T), if it tells."""
        return self.state.memory.get("weights")

    def _find_jumps(self, before: Tensor) -> Tensor | None:
        """Whether the decoder looks further away from where it looked before (N,) than it may."""
        if not self.options.using_max_attn_shift:
            return None
        looks = self._looks()
        if looks is None:
            raise ModelError(f"{type(self.decoder.module).__name__} does not tell where it looks: no max_attn_shift")
        self.peaks, limit = looks.argmax(dim=1), self.options.max_attn_shift
        return (self.peaks > before + limit) | (self.peaks <= before - limit)


def _start(scorers: list[Scorer], builder: ScorerBuilder, search: SearchStart) -> list[Part]:
    """Those that have a weight, at their start."""
    weighted = [(scorer, builder.weights[scorer.name]) for scorer in scorers]
    return [Part(scorer, weight, scorer.start(search)) for scorer, weight in weighted if weight]
