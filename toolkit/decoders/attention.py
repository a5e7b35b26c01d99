"""Label-synchronous beam search for encoder-decoder models, alone or with CTC, language models and other scorers.

Every step extends each live hypothesis by one token, or ends it: the beam keeps the best of both, and a hypothesis
that ends leaves its place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from toolkit.decoders.ctc_prefix import CTCScorer
from toolkit.decoders.hypothesis import Hypothesis
from toolkit.decoders.joint import JointScorer
from toolkit.decoders.language_scorers import LanguageModelScorer
from toolkit.decoders.options import check_beam, check_count, check_language_model, check_range, check_temperature
from toolkit.decoders.scorer_builder import ScorerBuilder
from toolkit.decoders.scorers import CoverageScorer, Extension, LengthScorer
from toolkit.errors import ConfigError

BEAM_SCALE = 4.0


@dataclass(kw_only=True, eq=False)
class AttentionSearcher:
    """The transcripts of highest log-probability under the decoder and its scorers together.

    The score of a transcript is (1 - ctc_weight) * log p_att + ctc_weight * log p_ctc + lm_weight * log p_lm + what
    other scorers say, divided by tokens + 1 (for eos) where ``length_normalization`` is set. The options are those of
    SpeechBrain's searchers, and the commonest scorers are options here; others are given as ``scorer``.

    Parameters
    ----------
    beam_size
        Hypotheses kept after each step; 1 is greedy. The search ends with as many finished ones at the latest.
    scorer
        Any scorers with their weights.
    ctc_weight
        Between 0, attention alone, and 1, CTC alone.
    lm, lm_weight, temperature_lm
        Language model over the same tokens (step protocol), its weight, and what softens it.
    coverage_penalty
        Weight of `CoverageScorer`.
    length_bonus
        Added for each token and for the end; only without length normalisation, which would take it away again.
    scorer_beam_scale
        CTC (that of ``ctc_weight``) looks only at the beam_size * scorer_beam_scale best tokens of each hypothesis, by
        decoder and language model; None: 4, ``inf``: all tokens.
    max_decode_ratio, min_decode_ratio
        Most and fewest tokens of a transcript, for each encoder frame of it; at the most, a hypothesis has to end.
    using_eos_threshold, eos_threshold
        A hypothesis may end only where log p_att(eos) is at least this multiple of the best token's (Hannun et al.
        2019, section 3.1.2): 1.5 allows an eos that is somewhat less likely than the best token.
    using_max_attn_shift, max_attn_shift
        A hypothesis whose attention peak moves further than this many frames in a step is dropped, unless all of its
        utterance are (Hannun et al. 2019, section 3.1.1).
    temperature
        Above 1 softens the decoder's distribution.
    length_normalization
        Whether a score is a mean over tokens.
    bos_index, eos_index
        What begins and what ends a transcript.
    topk
        Hypotheses returned for each utterance.
    """

    beam_size: int = 10
    scorer: ScorerBuilder | None = None
    ctc_weight: float = 0.0
    lm: nn.Module | None = None
    lm_weight: float = 0.0
    temperature_lm: float = 1.0
    coverage_penalty: float = 0.0
    length_bonus: float = 0.0
    scorer_beam_scale: float | None = None
    max_decode_ratio: float = 1.0
    min_decode_ratio: float = 0.0
    using_eos_threshold: bool = True
    eos_threshold: float = 1.5
    using_max_attn_shift: bool = False
    max_attn_shift: int = 60
    temperature: float = 1.0
    length_normalization: bool = True
    bos_index: int = 0
    eos_index: int = 0
    topk: int = 1

    def __post_init__(self) -> None:
        check_beam(self.beam_size, self.topk, self.temperature)
        check_temperature("temperature_lm", self.temperature_lm)
        check_language_model(self.lm, self.lm_weight)
        check_range("ctc_weight", self.ctc_weight, 0.0, 1.0)
        check_range("coverage_penalty", self.coverage_penalty, 0.0)
        check_range("min_decode_ratio", self.min_decode_ratio, 0.0)
        if not self.max_decode_ratio > self.min_decode_ratio:
            raise ConfigError(
                f"max_decode_ratio must be above min_decode_ratio ({self.min_decode_ratio:g}), "
                f"got {self.max_decode_ratio!r}"
            )
        check_range("eos_threshold", self.eos_threshold, 1.0)
        check_count("max_attn_shift", self.max_attn_shift)
        check_count("bos_index", self.bos_index, 0)
        check_count("eos_index", self.eos_index, 0)
        self.scorers = self._all_scorers()
        if self.length_normalization and self.scorers.weight("length"):
            raise ConfigError("a length bonus needs length_normalization: False, as a mean over tokens takes it away")

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

    def _all_scorers(self) -> ScorerBuilder:
        """Those of ``scorer`` and those that are options here."""
        if self.scorer is not None and self.scorer_beam_scale is not None:
            raise ConfigError("scorer_beam_scale is an option of the searcher and of scorer: keep scorer's")
        scale = BEAM_SCALE if self.scorer_beam_scale is None else self.scorer_beam_scale
        given = self.scorer or ScorerBuilder(scorer_beam_scale=scale)
        full, partial, weights = list(given.full_scorers), list(given.partial_scorers), dict(given.weights)
        options = {"lm": self.lm_weight, "coverage": self.coverage_penalty, "length": self.length_bonus}
        options = {name: weight for name, weight in (options | {"ctc": self.ctc_weight}).items() if weight}
        if twice := sorted(options.keys() & weights.keys()):
            raise ConfigError(f"{twice[0]} is weighted by an option of the searcher and in scorer: keep one of them")
        if "lm" in options:
            full.append(LanguageModelScorer(self.lm, self.temperature_lm))
        full += [CoverageScorer()] * ("coverage" in options) + [LengthScorer()] * ("length" in options)
        if "ctc" in options:
            (full if given.scorer_beam_scale == math.inf else partial).append(CTCScorer())
        return ScorerBuilder(weights | options, full, partial, scorer_beam_scale=given.scorer_beam_scale)


class _Search:
    """One batch being searched: A utterances that still are, with K hypotheses each, all of the same length."""

    def __init__(self, options: AttentionSearcher, model: nn.Module, encoded: Tensor, frames: Tensor) -> None:
        self.options = options
        self.scorer = JointScorer(options, options.scorers, model=model, encoded=encoded, frames=frames)
        self.most_per_token = options.scorers.most()
        self.finished: list[list[Hypothesis]] = [[] for _ in range(len(frames))]
        self.utterances = list(range(len(frames)))  # (A,)
        self.most = [max(1, math.floor(count * options.max_decode_ratio)) for count in frames.tolist()]
        fewest = [math.floor(count * options.min_decode_ratio) for count in frames.tolist()]
        self.fewest = [min(pair) for pair in zip(fewest, self.most, strict=True)]
        first = self.scorer.log_probs[:, :1]
        self.scores = torch.zeros_like(first)  # (A, K), -inf where there is none
        self.tokens = first.new_zeros(len(frames), 0, dtype=torch.int64)  # (N, length), N = A * K
        self.log_probs = first.new_zeros(len(frames), 0)  # (N, length), the decoder's

    def run(self) -> list[list[Hypothesis]]:
        """The finished hypotheses of each utterance, in the order they were found."""
        while self.utterances:
            scores, parents, tokens = self._extend()
            ended = tokens == self.options.eos_index
            self._finish(scores, parents, ended & (scores > -math.inf))
            self._go_on(scores.masked_fill(ended, -math.inf), parents, tokens)
        return self.finished

    def _extend(self) -> tuple[Tensor, Tensor, Tensor]:
        """The best continuations of each utterance: scores, hypotheses they continue, tokens, each (A, K')."""
        (A, K), length = self.scores.shape, self.tokens.shape[1]
        too_short = self._of_hypotheses([length < self.fewest[name] for name in self.utterances])
        too_long = self._of_hypotheses([length >= self.most[name] for name in self.utterances])
        scores, candidates = self.scorer.score(too_short, too_long)
        C = scores.shape[1]
        everything = scores.add_(self._without_jumps().view(A * K, 1)).view(A, K * C)
        best, index = everything.topk(min(self.options.beam_size, K * C), dim=1)
        tokens = index % C if candidates is None else candidates.view(A, K * C).gather(1, index)
        first = K * torch.arange(A, device=index.device)[:, None]
        return best, first + index.div(C, rounding_mode="floor"), tokens

    def _of_hypotheses(self, utterances: list[bool]) -> Tensor | None:
        """What holds of an utterance, for each of its hypotheses (N,); None where it holds of none."""
        if not any(utterances):
            return None
        return torch.tensor(utterances, device=self.scores.device).repeat_interleave(self.scores.shape[1])

    def _without_jumps(self) -> Tensor:
        """The scores (A, K), those whose attention jumped too far struck out where an utterance has any other."""
        if self.scorer.jumped is None:
            return self.scores
        jumped = self.scorer.jumped.view_as(self.scores)
        others = (~jumped & (self.scores > -math.inf)).any(dim=1, keepdim=True)
        return self.scores.masked_fill(jumped & others, -math.inf)

    def _finish(self, scores: Tensor, parents: Tensor, ended: Tensor) -> None:
        """Collect the hypotheses that ended here, where ``ended`` (A, K') is true."""
        rows, columns = ended.nonzero(as_tuple=True)
        scores, parents = scores[rows, columns], parents[rows, columns]
        last = self.scorer.log_probs[parents, self.options.eos_index, None]
        found = scores, self.tokens[parents], torch.cat([self.log_probs[parents], last], dim=1)
        count = self.tokens.shape[1] + 1 if self.options.length_normalization else 1
        for row, score, tokens, log_probs in zip(rows.tolist(), *(part.tolist() for part in found), strict=True):
            finished = self.finished[self.utterances[row]]
            if len(finished) < self.options.beam_size:
                finished.append(Hypothesis(tokens, score / count, log_probs=log_probs))

    def _go_on(self, scores: Tensor, parents: Tensor, tokens: Tensor) -> None:
        """Continue with the utterances in which a live hypothesis, one of ``scores`` (A, K'), can still get ahead."""
        live = [[score for score in row if score > -math.inf] for row in scores.tolist()]
        staying = [row for row, name in enumerate(self.utterances) if live[row] and self._open(name, max(live[row]))]
        all_stay = len(staying) == len(self.utterances)
        self.utterances = [self.utterances[row] for row in staying]
        if not staying:
            return
        rows = torch.tensor(staying, device=scores.device)
        most_live = max(len(live[row]) for row in staying)
        self.scores, slots = scores[rows].topk(most_live, dim=1)  # those that ended leave their places
        hypotheses, new = (part[rows].gather(1, slots).flatten() for part in (parents, tokens))
        new_log_probs = self.scorer.log_probs[hypotheses, new, None]
        self.tokens = torch.cat([self.tokens[hypotheses], new[:, None]], dim=1)
        self.log_probs = torch.cat([self.log_probs[hypotheses], new_log_probs], dim=1)
        self.scorer.advance(Extension(hypotheses, new, None if all_stay else rows))

    def _open(self, utterance: int, score: float) -> bool:
        """Whether a live hypothesis of this score can still get into the best ``topk`` of its utterance."""
        finished, topk = sorted(hypothesis.score for hypothesis in self.finished[utterance]), self.options.topk
        if len(finished) >= self.options.beam_size:
            return False
        return len(finished) < topk or self._attainable(score, self.most[utterance]) > finished[-topk]

    def _attainable(self, score: float, most: int) -> float:
        """The highest score a hypothesis can end with, were all later tokens certain: at once, or at full length."""
        length = self.tokens.shape[1] + 1
        at_once, in_full = (score + self.most_per_token * count for count in (1, most - length + 1))
        if self.options.length_normalization:
            return max(at_once / (length + 1), in_full / (most + 1))
        return max(at_once, in_full)
