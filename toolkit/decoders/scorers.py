"""The scorers whose weighted sum a search ranks hypotheses by.

The contract. A scorer answers for N hypotheses at once, whichever utterances they belong to, and keeps what it
remembers of them in a state object whose tensors have the hypothesis as dimension 0:

    start(...)                        -> state   N empty hypotheses
    score(state, candidates (N, C))   -> (N, C)  log-probability of each candidate as the next token
    end(state)                        -> (N,)    log-probability of ending here
    advance(state, parents, tokens)   -> state   M new hypotheses: number ``parents[m]`` followed by ``tokens[m]``

Token 0 is blank, bos and eos, so it is never a candidate; in ``advance`` it fills the place of a hypothesis that the
search has no more use for. An impossible extension scores ``-inf``, never NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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


@dataclass
class PrefixState:
    """Path sums of N prefixes after 0, 1, ... T frames (Watanabe et al. 2017, algorithm 2)."""

    utterance: Tensor  # (N,) which utterance the prefix is of
    last: Tensor  # (N,) last token, 0 for the empty prefix
    token: Tensor  # (N, T + 1) log-probability of the paths that end in the last token, r^n
    blank: Tensor  # (N, T + 1) log-probability of the paths that end in blank, r^b
    prefix: Tensor  # (N,) log-probability of all transcripts that start with the prefix


class CTCPrefixScorer:
    """log p_ctc(prefix + token ...) - log p_ctc(prefix ...): what CTC says of transcripts that start like this.

    Scoring C candidates is one sum over frames, as the first frame of the new token is where the parent's path sums
    end; only hypotheses that are really chosen get path sums of their own. Holds one search's CTC output.
    """

    def __init__(self, log_probs: Tensor, frames: Tensor) -> None:
        """Take the CTC output (B, T, V), of which ``frames`` (B,) count."""
        log_probs = full_precision(log_probs)
        inside = torch.arange(log_probs.shape[1], device=frames.device) < frames[:, None]
        log_probs = log_probs.masked_fill(~inside[:, :, None], -math.inf)
        self.frames = frames
        self.vocabulary = log_probs.shape[2]
        self.rows = log_probs.transpose(1, 2).flatten(0, 1).contiguous()  # (B * V, T)

    def start(self, utterances: Tensor) -> PrefixState:
        """Empty hypotheses of the given utterances (N,)."""
        blank = nn.functional.pad(self._rows(utterances, torch.zeros_like(utterances)).cumsum(dim=1), (1, 0))
        none = torch.full_like(blank, -math.inf)
        return PrefixState(utterances, torch.zeros_like(utterances), none, blank, blank.new_zeros(len(utterances)))

    def score(self, state: PrefixState, candidates: Tensor) -> Tensor:
        """Log-probability of each candidate (N, C), blank not among them, as the next token."""
        rows = self._rows(state.utterance[:, None].expand_as(candidates), candidates)
        total = torch.logaddexp(state.token, state.blank)[:, :-1]
        prefix = (rows + total[:, None]).logsumexp(dim=2)
        again = (self._rows(state.utterance, state.last) + state.blank[:, :-1]).logsumexp(dim=1)
        prefix = torch.where(candidates == state.last[:, None], again[:, None], prefix)
        return (prefix - state.prefix[:, None]).masked_fill(prefix == -math.inf, -math.inf)

    def end(self, state: PrefixState) -> Tensor:
        """Log-probability of the transcript being no longer (N,)."""
        total = torch.logaddexp(state.token, state.blank)
        whole = total.gather(1, self.frames[state.utterance][:, None]).squeeze(1)
        return (whole - state.prefix).masked_fill(whole == -math.inf, -math.inf)

    def advance(self, state: PrefixState, parents: Tensor, tokens: Tensor) -> PrefixState:
        """The hypotheses ``parents`` (M,) followed by ``tokens`` (M,)."""
        utterance, before = state.utterance[parents], state.blank[parents]
        total = torch.logaddexp(state.token[parents], before)
        before = torch.where((tokens == state.last[parents])[:, None], before, total)  # a repeat needs a blank between
        logp, blank_logp = self._rows(utterance, tokens), self._rows(utterance, torch.zeros_like(tokens))
        first = before[:, :-1] + logp
        token = _accumulate(first, logp)
        blank = _accumulate(token[:, :-1] + blank_logp, blank_logp)
        return PrefixState(utterance, tokens, token, blank, first.logsumexp(dim=1))

    def _rows(self, utterances: Tensor, tokens: Tensor) -> Tensor:
        """Log-probability of the tokens (...) in every frame of their utterances: (..., T)."""
        return self.rows[utterances * self.vocabulary + tokens]


def _accumulate(inflow: Tensor, logp: Tensor) -> Tensor:
    """r(t) = log(exp(r(t - 1) + logp(t)) + exp(inflow(t))) from r(0) = -inf: (M, T) -> (M, T + 1).

    By doubling, in log2(T) rounds: after each, r sums up the inflow of the last ``reach`` frames, and ``logp`` is
    the price of passing ``reach`` frames. Nothing is subtracted, so nothing cancels and ``-inf`` is safe.
    """
    reach = 1
    while reach < inflow.shape[1]:
        passed = inflow[:, :-reach] + logp[:, reach:]
        inflow = torch.cat([inflow[:, :reach], torch.logaddexp(inflow[:, reach:], passed)], dim=1)
        logp = torch.cat([logp[:, :reach], logp[:, reach:] + logp[:, :-reach]], dim=1)
        reach *= 2
    return nn.functional.pad(inflow, (1, 0), value=-math.inf)
