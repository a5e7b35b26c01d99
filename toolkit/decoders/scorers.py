"""The scorers whose weighted sum a label-synchronous search ranks hypotheses by.

The contract. A scorer is a small object of options that can be shared by searches. It answers for all hypotheses of a
search at once: N = A * K, the K of an utterance side by side. What it remembers of them is a state of its own, whose
tensors have the hypothesis as dimension 0:

    start(search)                      -> state   one empty hypothesis for each utterance, K = 1
    score(state)                       -> (N, V)  log-probability of each token as the next; in the column of eos, end()
    score(state, candidates (N, C))    -> (N, C)  of these tokens only; what it says of eos is not read
    end(state)                         -> (N,)    log-probability of ending here
    advance(state, extension)          -> state   the hypotheses chosen; the state before is not used any more

    name   what its weight is called in a `ScorerBuilder`
    most   the highest score that a token can get: what lets a search stop early

A token that cannot follow scores ``-inf``, never NaN. Hypotheses that ended are advanced with the others: whatever
they score is not read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from toolkit.errors import ModelError
from toolkit.models.state import State, select

HALVES = (torch.float16, torch.bfloat16)


def full_precision(log_probs: Tensor) -> Tensor:
    """Half precision as float32, anything else as it is."""
    return log_probs.float() if log_probs.dtype in HALVES else log_probs


def soften(log_probs: Tensor, temperature: float) -> Tensor:
    """Log-probabilities (..., V) of the distribution at ``temperature``; a row of ``-inf`` stays one."""
    log_probs = full_precision(log_probs)
    if temperature == 1.0:
        return log_probs
    impossible = log_probs == -math.inf
    return torch.log_softmax(log_probs / temperature, dim=-1).masked_fill(impossible, -math.inf)


@dataclass(frozen=True)
class SearchStart:
    """What a scorer can begin with: A utterances, one empty hypothesis each."""

    model: nn.Module
    encoded: Tensor  # (A, T, F)
    frames: Tensor  # (A,)
    vocabulary: int  # tokens V of the decoder
    bos_index: int = 0
    eos_index: int = 0
    attention: Tensor | None = None  # (A, T) where the decoder looks for the first token, if it tells


@dataclass(frozen=True)
class Extension:
    """The M = A' * K' hypotheses that a search goes on with: an earlier one each, and one token more."""

    hypotheses: Tensor  # (M,) numbers of those extended, among the N before
    tokens: Tensor  # (M,)
    utterances: Tensor | None = None  # (A',) those that stay, among the A before; None: all
    attention: Tensor | None = None  # (M, T) where the decoder looks for the token after


class Scorer(Protocol):
    """The contract of this module."""

    name: str
    most: float

    def start(self, search: SearchStart) -> Any:
        """The state of one empty hypothesis for each utterance."""
        ...

    def score(self, state: Any, candidates: Tensor | None = None) -> Tensor:
        """Scores of the next token: (N, V), or (N, C) of the candidates."""
        ...

    def end(self, state: Any) -> Tensor:
        """Scores of ending here (N,)."""
        ...

    def advance(self, state: Any, extension: Extension) -> Any:
        """The state of the hypotheses chosen."""
        ...


@dataclass
class StepState:
    """What a module of the step protocol said about the next token, and its memory of the tokens so far."""

    log_probs: Tensor  # (N, V)
    memory: State  # tensors (N, ...)


class StepScorer:
    """log p(token | tokens so far) of a module of the step protocol: a language model or an attention decoder."""

    def __init__(self, module: nn.Module, vocabulary: int | None = None, temperature: float = 1.0) -> None:
        self.module = module
        self.vocabulary = vocabulary
        self.temperature = temperature

    def start(self, memory: State, hypotheses: int, device: torch.device) -> StepState:
        """N empty hypotheses, from the memory (N, ...) that the module's own ``start`` returned."""
        bos = torch.zeros(hypotheses, dtype=torch.int64, device=device)
        return self.step(bos, memory)

    def score(self, state: StepState, candidates: Tensor) -> Tensor:
        """Log-probability of each candidate (N, C) as the next token."""
        return state.log_probs.gather(1, candidates)

    def end(self, state: StepState) -> Tensor:
        """Log-probability of eos (N,)."""
        return state.log_probs[:, 0]

    def advance(self, state: StepState, parents: Tensor, tokens: Tensor) -> StepState:
        """The hypotheses ``parents`` (M,) followed by ``tokens`` (M,)."""
        return self.step(tokens, select(state.memory, parents))

    def step(self, tokens: Tensor, memory: State) -> StepState:
        """The hypotheses of this memory (N, ...) followed by ``tokens`` (N,)."""
        log_probs, memory = self.module.step(tokens, memory)
        if self.vocabulary not in (None, log_probs.shape[-1]):
            raise ModelError(
                f"{type(self.module).__name__} predicts {log_probs.shape[-1]} tokens, but the recogniser has "
                f"{self.vocabulary}: both must be trained with the same tokenizer"
            )
        return StepState(soften(log_probs, self.temperature), memory)


class LengthScorer:
    """1 for every token and for the end: its weight is what a token more is worth.

    Not together with length normalisation, which would take it away again.
    """

    name = "length"
    most = 1.0

    def __init__(self, vocab_size: int | None = None) -> None:
        self.vocab_size = vocab_size  # SpeechBrain's argument; known without

    def start(self, search: SearchStart) -> Tensor:
        """The reward as (N, V)."""
        return full_precision(search.encoded).new_ones(1).expand(search.encoded.shape[0], search.vocabulary)

    def score(self, state: Tensor, candidates: Tensor | None = None) -> Tensor:
        """1 for each token."""
        return state if candidates is None else state[:, : candidates.shape[1]]

    def end(self, state: Tensor) -> Tensor:
        """1."""
        return state[:, 0]

    def advance(self, state: Tensor, extension: Extension) -> Tensor:
        """For as many hypotheses as there are now."""
        return state[:1].expand(len(extension.tokens), -1)


@dataclass(frozen=True)
class CoverageState:
    """How often each frame was attended to so far, and after how many steps."""

    coverage: Tensor  # (N, T)
    steps: int
    vocabulary: int


class CoverageScorer:
    """Minus the attention that frames have had beyond the threshold, a step: against loops (Chorowski & Jaitly 2016).

    With the semantics of SpeechBrain 1.1: at every step, the penalty so far is added to the score once more.
    """

    name = "coverage"
    most = 0.0

    def __init__(self, vocab_size: int | None = None, threshold: float = 0.5) -> None:
        self.vocab_size = vocab_size  # SpeechBrain's argument; known without
        self.threshold = threshold

    def start(self, search: SearchStart) -> CoverageState:
        """What the look for the first token covers."""
        if search.attention is None:
            raise ModelError(f"{type(search.model.decoder).__name__} does not tell where it looks: no coverage penalty")
        return CoverageState(search.attention, 1, search.vocabulary)

    def score(self, state: CoverageState, candidates: Tensor | None = None) -> Tensor:
        """The same for each token."""
        count = state.vocabulary if candidates is None else candidates.shape[1]
        return self.end(state)[:, None].expand(-1, count)

    def end(self, state: CoverageState) -> Tensor:
        """The penalty, at most 0."""
        return -(state.coverage - self.threshold).clamp_min(0.0).sum(dim=1) / state.steps

    def advance(self, state: CoverageState, extension: Extension) -> CoverageState:
        """Add the new look."""
        coverage = state.coverage.index_select(0, extension.hypotheses) + extension.attention
        return CoverageState(coverage, state.steps + 1, state.vocabulary)
