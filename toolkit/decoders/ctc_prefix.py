"""The CTC prefix score (Watanabe et al. 2017, algorithm 2): what CTC says of transcripts that start like this."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from toolkit.decoders.scorers import Extension, SearchStart, full_precision
from toolkit.errors import ConfigError, ModelError

# Sums of probabilities below this, by type, are summed again as logarithms: too much of them may have underflowed.
UNDERFLOW = {torch.float32: 1e-30, torch.float64: 1e-280}
IMPOSSIBLE = -1e30  # stands for -inf where that is subtracted
AT_ONCE = 4096  # sums over all frames done together there


@dataclass(frozen=True)
class CTCTable:
    """One batch's CTC output, laid out by token, impossible outside of the utterances."""

    log_probs: Tensor  # (B, V, T)
    frames: Tensor  # (B,)
    blank: int
    eos: int

    @cached_property
    def probabilities(self) -> Tensor:
        """The same as probabilities, for those who score all tokens."""
        return self.log_probs.exp()

    def of(self, utterances: Tensor, tokens: Tensor) -> Tensor:
        """Log-probability of the tokens (...) in every frame of their utterances (...): (..., T)."""
        return self.log_probs.flatten(0, 1)[utterances * self.log_probs.shape[1] + tokens]


@dataclass(frozen=True)
class PrefixState:
    """Path sums of N prefixes after 0, 1, ... T frames."""

    table: CTCTable
    rows: list[int]  # (A,) which utterances of the table are still searched
    utterance: Tensor  # (N,) which of them the prefix is of
    last: Tensor  # (N,) last token, blank for the empty prefix
    blank: Tensor  # (N, T + 1) log-probability of the paths that end in blank, r^b
    total: Tensor  # (N, T + 1) log-probability of all paths, r^n + r^b
    prefix: Tensor  # (N,) log-probability of all transcripts that start with the prefix


class CTCScorer:
    """log p_ctc(prefix + token ...) - log p_ctc(prefix ...).

    A token's score is one sum over frames, of where the prefix may end times where the token may begin. For all tokens
    that is a product of matrices; only hypotheses that are really chosen get path sums of their own, in log2(T) rounds
    over all frames. So this is exact in every frame, and there is no window to set.

    Parameters
    ----------
    ctc_fc
        Output layer over the encoder's frames; None: the model's own ``ctc_log_probs``.
    blank_index
        The blank. Where it is eos too, as everywhere in this toolkit, the end of a transcript takes its place.
    eos_index
        SpeechBrain's argument: checked against the search's.
    ctc_window_size
        SpeechBrain's argument, only 0. Its window reaches from the first to the last attention peak of the whole
        batch, so that an utterance's score depends on the utterances beside it.
    """

    name = "ctc"
    most = 0.0

    def __init__(
        self,
        ctc_fc: nn.Module | None = None,
        blank_index: int = 0,
        eos_index: int | None = None,
        *,
        ctc_window_size: int = 0,
    ) -> None:
        if ctc_window_size:
            raise ConfigError(f"ctc_window_size must be 0 (all frames, at no cost), got {ctc_window_size!r}")
        self.ctc_fc, self.blank_index, self.eos_index = ctc_fc, blank_index, eos_index

    def start(self, search: SearchStart) -> PrefixState:
        """Empty prefixes; the CTC output is computed here, once."""
        if self.eos_index not in (None, search.eos_index):
            raise ConfigError(f"eos_index is {search.eos_index} in the searcher, but {self.eos_index} in CTCScorer")
        table = self._table(self._log_probs(search), search)
        utterances = torch.arange(len(search.frames), device=search.frames.device)
        last = torch.full_like(utterances, table.blank)
        blank = nn.functional.pad(table.of(utterances, last).cumsum(dim=1), (1, 0))
        return PrefixState(table, utterances.tolist(), utterances, last, blank, blank, blank.new_zeros(len(utterances)))

    def score(self, state: PrefixState, candidates: Tensor | None = None) -> Tensor:
        """Log-probability of all tokens or of the candidates; that of blank is ``-inf``."""
        again = (state.table.of(state.utterance, state.last) + state.blank[:, :-1]).logsumexp(dim=1)
        if candidates is None:
            scores = self._score_all(state).scatter_(1, state.last[:, None], again[:, None])
        else:
            rows = state.table.of(state.utterance[:, None].expand_as(candidates), candidates)
            scores = (rows + state.total[:, None, :-1]).logsumexp(dim=2)
            scores = torch.where(candidates == state.last[:, None], again[:, None], scores)
            scores = scores.masked_fill(candidates == state.table.blank, -math.inf)
        scores = _ratio(scores, state.prefix[:, None])
        if candidates is None:
            scores[:, state.table.blank] = -math.inf
            scores[:, state.table.eos] = self.end(state)
        return scores

    def end(self, state: PrefixState) -> Tensor:
        """Log-probability of the transcript being no longer."""
        whole = state.total.gather(1, state.table.frames[state.utterance][:, None]).squeeze(1)
        return _ratio(whole, state.prefix)

    def advance(self, state: PrefixState, extension: Extension) -> PrefixState:
        """Path sums of the prefixes chosen."""
        parents, tokens, table = extension.hypotheses, extension.tokens, state.table
        utterance = state.utterance[parents]
        repeated = (tokens == state.last[parents])[:, None]  # a repeat needs a blank between
        before = torch.where(repeated, state.blank[parents], state.total[parents])
        logp, blank_logp = table.of(utterance, tokens), table.of(utterance, torch.full_like(tokens, table.blank))
        first = before[:, :-1] + logp
        token = _accumulate(first, logp)
        blank = _accumulate(token[:, :-1] + blank_logp, blank_logp)
        rows = state.rows if extension.utterances is None else [state.rows[i] for i in extension.utterances.tolist()]
        total = torch.logaddexp(token, blank)
        return PrefixState(table, rows, utterance, tokens, blank, total, first.logsumexp(dim=1))

    def _log_probs(self, search: SearchStart) -> Tensor:
        """The CTC output (B, T, V)."""
        if self.ctc_fc is None and not hasattr(search.model, "ctc_log_probs"):
            raise ModelError(f"{type(search.model).__name__} has no CTC output: set ctc_weight to 0")
        if self.ctc_fc is None:
            log_probs = search.model.ctc_log_probs(search.encoded)
        else:
            log_probs = full_precision(self.ctc_fc(search.encoded)).log_softmax(dim=-1)
        if log_probs.shape[-1] != search.vocabulary:
            raise ModelError(
                f"the decoder predicts {search.vocabulary} tokens, but CTC {log_probs.shape[-1]}: "
                "both need one tokenizer"
            )
        return full_precision(log_probs)

    def _table(self, log_probs: Tensor, search: SearchStart) -> CTCTable:
        inside = torch.arange(log_probs.shape[1], device=log_probs.device) < search.frames[:, None]
        rows = log_probs.masked_fill(~inside[:, :, None], -math.inf).transpose(1, 2).contiguous()
        return CTCTable(rows, search.frames, self.blank_index, search.eos_index)

    def _score_all(self, state: PrefixState) -> Tensor:
        """Log-probability of all transcripts that go on with each token (N, V), were none the last one again."""
        ends = state.total[:, :-1]
        if not ends.shape[1]:
            return ends.new_full((len(ends), state.table.log_probs.shape[1]), -math.inf)
        highest = ends.max(dim=1, keepdim=True).values.clamp_min(IMPOSSIBLE)
        weights = (ends - highest).exp().view(len(state.rows), -1, ends.shape[1])
        sums = [mine @ state.table.probabilities[row].T for mine, row in zip(weights, state.rows, strict=True)]
        return self._sum_again(state, torch.cat(sums), highest)

    def _sum_again(self, state: PrefixState, sums: Tensor, highest: Tensor) -> Tensor:
        """The logarithm of the sums (N, V) times e^highest; of small ones, from the logarithms of their parts."""
        log_sums = sums.log() + highest
        small, tokens = ((sums < UNDERFLOW[sums.dtype]) & (highest > IMPOSSIBLE)).nonzero(as_tuple=True)
        for rows, columns in zip(small.split(AT_ONCE), tokens.split(AT_ONCE), strict=True):
            parts = state.table.of(state.utterance[rows], columns) + state.total[rows, :-1]
            log_sums[rows, columns] = parts.logsumexp(dim=1)
        return log_sums


def _ratio(log_part: Tensor, log_whole: Tensor) -> Tensor:
    """log(part / whole), ``-inf`` where there is no part."""
    return (log_part - log_whole).masked_fill(log_part == -math.inf, -math.inf)


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
