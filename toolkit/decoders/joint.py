"""The weighted sum of decoder, CTC and language model scores that attention search ranks hypotheses by."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from toolkit.decoders.scorers import CTCPrefixScorer, StepScorer
from toolkit.errors import ModelError


class JointOptions(Protocol):
    """The options of a searcher that are read here; `AttentionSearcher` says what they mean."""

    ctc_weight: float
    lm: nn.Module | None
    lm_weight: float
    candidates: int | None
    eos_threshold: float | None
    temperature: float


class JointScorer:
    """Scores of the next token for all hypotheses of a search, of which it begins with one empty one an utterance."""

    def __init__(self, options: JointOptions, model: nn.Module, encoded: Tensor, frames: Tensor) -> None:
        self.options = options
        B, device = len(frames), encoded.device
        if not hasattr(model, "decoder"):
            raise ModelError(f"{type(model).__name__} has no decoder: search it with a CTC searcher instead")
        self.attention = StepScorer(model.decoder, temperature=options.temperature)
        self.attention_state = self.attention.start(model.decoder.start(encoded, frames), B, device)
        V = self.attention_state.log_probs.shape[1]
        self.dtype = self.attention_state.log_probs.dtype
        self.lm = self.ctc = None
        if options.lm_weight > 0.0:
            self.lm = StepScorer(options.lm.to(device), V)
            self.lm_state = self.lm.start(options.lm.start(B, device), B, device)
        if options.ctc_weight > 0.0:
            self.ctc = CTCPrefixScorer(_ctc_output(model, encoded, V), frames)
            self.ctc_state = self.ctc.start(torch.arange(B, device=device))

    def score(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Scores of the candidates (N, C), the candidates, the score of eos (N,), and whether eos is allowed (N,)."""
        options = self.options
        attention = self.attention_state.log_probs
        lm = self.lm_state.log_probs * options.lm_weight if self.lm else torch.zeros_like(attention)
        total = _weigh(1.0 - options.ctc_weight, attention) + lm
        candidates = self._candidates(attention + lm)
        scores, eos = total.gather(1, candidates), total[:, 0]
        if self.ctc:
            scores = scores + options.ctc_weight * self.ctc.score(self.ctc_state, candidates)
            eos = eos + options.ctc_weight * self.ctc.end(self.ctc_state)
        return scores, candidates, eos, self._may_end(attention)

    def advance(self, parents: Tensor, tokens: Tensor) -> None:
        """Go on with the hypotheses ``parents`` (M,) followed by ``tokens`` (M,); token 0 marks an abandoned one."""
        self.attention_state = self.attention.advance(self.attention_state, parents, tokens)
        if self.lm:
            self.lm_state = self.lm.advance(self.lm_state, parents, tokens)
        if self.ctc:
            self.ctc_state = self.ctc.advance(self.ctc_state, parents, tokens)

    def _candidates(self, scores: Tensor) -> Tensor:
        """All tokens, or as many best ones as CTC looks at: (N, V) -> (N, C), eos left out."""
        N, V = scores.shape
        count = self.options.candidates
        if not self.ctc or count is None or count >= V - 1:
            return torch.arange(1, V, device=scores.device).expand(N, V - 1)
        return scores[:, 1:].topk(count, dim=1).indices + 1

    def _may_end(self, attention: Tensor) -> Tensor:
        """Whether eos is likely enough, (N, V) -> (N,)."""
        if self.options.eos_threshold is None:
            return torch.ones_like(attention[:, 0], dtype=torch.bool)
        return attention[:, 0] >= self.options.eos_threshold * attention.max(dim=1).values


def _weigh(weight: float, scores: Tensor) -> Tensor:
    """``weight * scores``, where nothing times ``-inf`` is nothing."""
    return scores * weight if weight else torch.zeros_like(scores)


def _ctc_output(model: nn.Module, encoded: Tensor, V: int) -> Tensor:
    """The model's CTC log-probabilities (B, T, V)."""
    if not hasattr(model, "ctc_log_probs"):
        raise ModelError(f"{type(model).__name__} has no CTC output: set ctc_weight to 0")
    log_probs = model.ctc_log_probs(encoded)
    if log_probs.shape[-1] != V:
        raise ModelError(f"the decoder predicts {V} tokens, but CTC {log_probs.shape[-1]}: both need one tokenizer")
    return log_probs
