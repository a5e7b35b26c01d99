"""Label-synchronous beam search for encoder-decoder models, alone or with CTC and a language model.

Every step extends each live hypothesis by one token, or ends it: the beam keeps the best of both, and a hypothesis
that ends leaves its place. Token 0 is bos and eos in the decoder and the language model, and blank in CTC.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from toolkit.decoders.hypothesis import Hypothesis
from toolkit.decoders.joint import JointScorer
from toolkit.decoders.options import check_beam, check_count, check_language_model, check_range
from toolkit.errors import ConfigError


@dataclass(kw_only=True, eq=False)
class AttentionSearcher:
    """The transcripts of highest log-probability under the decoder, CTC and a language model together.

    The score of a transcript is (1 - ctc_weight) * log p_att + ctc_weight * log p_ctc + lm_weight * log p_lm
    + length_bonus * tokens, divided by tokens + 1 (for eos) where ``length_normalization`` is set.

    Parameters
    ----------
    beam_size
        Hypotheses kept after each step; 1 is greedy. The search ends with as many finished ones at the latest.
    ctc_weight
        Between 0, attention alone, and 1, CTC alone.
    lm, lm_weight
        Language model over the same tokens (step protocol), and its weight.
    length_bonus
        Added for each token.
    candidates
        CTC looks only at this many best tokens of each hypothesis, by decoder and language model; None: at all.
    max_decode_ratio, min_decode_ratio
        Most and fewest tokens of a transcript, for each encoder frame; at the most, a hypothesis has to end.
    eos_threshold
        A hypothesis may end only where log p_att(eos) is at least this multiple of the best token's (Hannun et al.
        2019, section 3.1.2): 1.5 allows an eos that is somewhat less likely than the best token; None always allows it.
    temperature
        Above 1 softens the decoder's distribution.
    topk
        Hypotheses returned for each utterance.
    """

    beam_size: int = 10
    ctc_weight: float = 0.0
    lm: nn.Module | None = None
    lm_weight: float = 0.0
    length_bonus: float = 0.0
    candidates: int | None = 40
    max_decode_ratio: float = 1.0
    min_decode_ratio: float = 0.0
    eos_threshold: float | None = 1.5
    temperature: float = 1.0
    length_normalization: bool = True
    topk: int = 1

    def __post_init__(self) -> None:
        check_beam(self.beam_size, self.topk, self.temperature)
        check_language_model(self.lm, self.lm_weight)
        check_range("ctc_weight", self.ctc_weight, 0.0, 1.0)
        check_range("min_decode_ratio", self.min_decode_ratio, 0.0)
        if not self.max_decode_ratio > self.min_decode_ratio:
            raise ConfigError(
                f"max_decode_ratio must be above min_decode_ratio ({self.min_decode_ratio:g}), "
                f"got {self.max_decode_ratio!r}"
            )
        if self.eos_threshold is not None:
            check_range("eos_threshold", self.eos_threshold, 1.0)
        if self.candidates is not None:
            check_count("candidates", self.candidates)

    @torch.no_grad()
    def __call__(self, model: nn.Module, encoded: Tensor, frames: Tensor) -> list[list[Hypothesis]]:
        """At most ``topk`` hypotheses, best first, for each utterance of ``encoded`` (B, T, F), ``frames`` (B,)."""
        frames = frames.to(encoded.device)
        spoken = frames.nonzero().squeeze(1)
        found = [[Hypothesis([], 0.0)] for _ in range(len(frames))]
        if len(spoken):
            search = _Search(self, model, encoded[spoken], frames[spoken])
            for row, hypotheses in zip(spoken.tolist(), search.run(), strict=True):
                best = sorted(hypotheses, key=lambda hypothesis: -hypothesis.score)[: self.topk]
                found[row] = best or [Hypothesis([], -math.inf)]
        return found


class _Search:
    """One batch being searched: A utterances that still are, with K hypotheses each, all of the same length."""

    def __init__(self, options: AttentionSearcher, model: nn.Module, encoded: Tensor, frames: Tensor) -> None:
        self.options = options
        self.scorer = JointScorer(options, model, encoded, frames)
        self.finished: list[list[Hypothesis]] = [[] for _ in range(len(frames))]
        self.utterances = torch.arange(len(frames), device=frames.device)  # (A,)
        most = [max(1, math.floor(count * options.max_decode_ratio)) for count in frames.tolist()]
        fewest = [math.ceil(count * options.min_decode_ratio) for count in frames.tolist()]
        self.most = frames.new_tensor(most)
        self.fewest = frames.new_tensor(fewest).minimum(self.most)
        self.scores = encoded.new_zeros(len(frames), 1, dtype=self.scorer.dtype)  # (A, K), -inf where there is none
        self.tokens = self.utterances.new_zeros(len(frames), 1, 0)  # (A, K, length)

    def run(self) -> list[list[Hypothesis]]:
        """The finished hypotheses of each utterance, in the order they were found."""
        while len(self.utterances):
            scores, parents, tokens = self._extend()
            ended = tokens == 0
            self._finish(scores, parents, ended)
            scores = scores.masked_fill(ended, -math.inf)
            self._go_on(scores, parents, tokens)
        return self.finished

    def _extend(self) -> tuple[Tensor, Tensor, Tensor]:
        """The best continuations of each utterance: scores, slots they continue, tokens (0: the end), each (A, K')."""
        (A, K), length = self.scores.shape, self.tokens.shape[2]
        token_scores, candidates, eos_scores, may_end = self.scorer.score()
        at_limit = (self.most[self.utterances] <= length)[:, None]
        may_end = (may_end.view(A, K) | at_limit) & (self.fewest[self.utterances] <= length)[:, None]
        ending = (self.scores + eos_scores.view(A, K)).masked_fill(~may_end, -math.inf)
        C = candidates.shape[1]
        going_on = self.scores[:, :, None] + token_scores.view(A, K, C) + self.options.length_bonus
        going_on = going_on.masked_fill(at_limit[:, :, None], -math.inf)

        everything = torch.cat([ending[:, :, None], going_on], dim=2).flatten(1)
        scores, index = everything.topk(min(self.options.beam_size, everything.shape[1]), dim=1)
        tokens = nn.functional.pad(candidates.view(A, K, C), (1, 0)).flatten(1).gather(1, index)
        return scores, index.div(C + 1, rounding_mode="floor"), tokens

    def _finish(self, scores: Tensor, parents: Tensor, ended: Tensor) -> None:
        """Collect the hypotheses that ended here."""
        rows, columns = (ended & (scores > -math.inf)).nonzero(as_tuple=True)
        transcripts = self.tokens[rows, parents[rows, columns]].tolist()
        length = self.tokens.shape[2] + 1 if self.options.length_normalization else 1
        totals = scores[rows, columns].tolist()
        for utterance, tokens, total in zip(self.utterances[rows].tolist(), transcripts, totals, strict=True):
            self.finished[utterance].append(Hypothesis(tokens, total / length))

    def _go_on(self, scores: Tensor, parents: Tensor, tokens: Tensor) -> None:
        """Continue with the utterances in which a live hypothesis can still become one of the best."""
        length, K = self.tokens.shape[2] + 1, self.scores.shape[1]
        best = scores.max(dim=1).values.tolist()
        state = zip(self.utterances.tolist(), best, self.most[self.utterances].tolist(), strict=True)
        going_on = [row for row, (name, score, most) in enumerate(state) if self._open(name, score, length, most)]
        rows = torch.tensor(going_on, dtype=torch.int64, device=scores.device)
        parents, tokens, self.scores = parents[rows], tokens[rows], scores[rows]
        self.tokens = torch.cat([self.tokens[rows[:, None], parents], tokens[:, :, None]], dim=2)
        self.utterances = self.utterances[rows]
        if going_on:
            self.scorer.advance((rows[:, None] * K + parents).flatten(), tokens.flatten())

    def _open(self, utterance: int, score: float, length: int, most: float) -> bool:
        """Whether a live hypothesis of this score and length can still get into the best ``topk`` of its utterance."""
        finished, topk = sorted(hypothesis.score for hypothesis in self.finished[utterance]), self.options.topk
        if score == -math.inf or len(finished) >= self.options.beam_size:
            return False
        return len(finished) < topk or self._attainable(score, length, most) > finished[-topk]

    def _attainable(self, score: float, length: int, most: float) -> float:
        """The highest score a hypothesis can end with, were all later tokens certain: at once, or at full length."""
        rewarded = score + self.options.length_bonus * (most - length)
        if self.options.length_normalization:
            return max(score / (length + 1), rewarded / (most + 1))
        return max(score, rewarded)
