"""Frame-synchronous CTC search: greedy, and prefix beam search over batches, fused with a language model.

Prefix search sums over paths. Per prefix it keeps the log-probability of the paths so far that end in blank and of
those that end in the prefix's last token (Graves 2012; Hannun et al. 2014, algorithm 1); each frame either keeps a
prefix or extends it by one token. Token 0 is blank in the CTC output, and bos and eos in the language model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from toolkit.decoders.ctc_beam import empty_beam, extend_beam, trace_back
from toolkit.decoders.ctc_frames import Frames, live_frames
from toolkit.decoders.fusion import LanguageModelFusion
from toolkit.decoders.hypothesis import Hypothesis
from toolkit.decoders.options import check_beam, check_count, check_language_model, check_range
from toolkit.decoders.scorers import full_precision, soften


class CTCGreedySearcher:
    """The best path: the most likely token of each frame, repeats collapsed, blanks dropped.

    The score is the log-probability of that one path, a lower bound of the transcript's.
    """

    @torch.no_grad()
    def __call__(self, model: nn.Module, encoded: Tensor, frames: Tensor) -> list[list[Hypothesis]]:
        """One hypothesis for each utterance of ``encoded`` (B, T, F), of which ``frames`` (B,) count."""
        log_probs, path = full_precision(model.ctc_log_probs(encoded)).max(dim=-1)
        inside = torch.arange(path.shape[1], device=path.device) < frames.to(path.device)[:, None]
        before = nn.functional.pad(path, (1, -1)) if path.shape[1] else path
        emitted = inside & (path != 0) & (path != before)
        scores = torch.where(inside, log_probs, 0.0).sum(dim=1).tolist()
        tokens = path[emitted].split(emitted.sum(dim=1).tolist())
        return [[Hypothesis(row.tolist(), score)] for row, score in zip(tokens, scores, strict=True)]


@dataclass(kw_only=True, eq=False)
class CTCPrefixSearcher:
    """The transcripts of highest log p_ctc(tokens) + lm_weight * log p_lm(tokens, eos) + length_bonus * len(tokens).

    Parameters
    ----------
    beam_size
        Prefixes kept after each frame.
    lm, lm_weight
        Language model over the same tokens (step protocol), and its weight.
    length_bonus
        Added for each token; what a language model takes from long transcripts.
    candidates
        Only this many best tokens of a frame may extend a prefix; None tries all.
    beam_prune_logp
        Prefixes this much worse than the best one leave the beam; ``-inf`` keeps them.
    blank_skip
        A frame whose blank is more probable than this counts as nothing but blank, which is nearly free; 1 skips none.
    temperature
        Above 1 softens the CTC distribution.
    topk
        Hypotheses returned for each utterance.
    """

    beam_size: int = 16
    lm: nn.Module | None = None
    lm_weight: float = 0.0
    length_bonus: float = 0.0
    candidates: int | None = 40
    beam_prune_logp: float = -20.0
    blank_skip: float = 0.9999
    temperature: float = 1.0
    topk: int = 1

    def __post_init__(self) -> None:
        check_beam(self.beam_size, self.topk, self.temperature)
        check_language_model(self.lm, self.lm_weight)
        check_range("beam_prune_logp", self.beam_prune_logp, -math.inf, 0.0)
        check_range("blank_skip", self.blank_skip, 0.0, 1.0)
        if self.candidates is not None:
            check_count("candidates", self.candidates)

    @torch.no_grad()
    def __call__(self, model: nn.Module, encoded: Tensor, frames: Tensor) -> list[list[Hypothesis]]:
        """At most ``topk`` hypotheses, best first, for each utterance of ``encoded`` (B, T, F), ``frames`` (B,)."""
        log_probs = soften(model.ctc_log_probs(encoded), self.temperature)
        live = live_frames(log_probs, frames.to(encoded.device), blank_skip=self.blank_skip, candidates=self.candidates)
        scores, steps = self._search(live)
        scores, slots = (scores + live.skipped_logp[:, None]).topk(self.topk, dim=1)
        found = zip(trace_back(steps, slots), scores.tolist(), frames.tolist(), strict=True)
        return [_hypotheses(*utterance) for utterance in found]

    def _search(self, frames: Frames) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Scores (B, K) of the prefixes left after the last frame, and where they came from, frame by frame."""
        beam = empty_beam(frames, self.beam_size)
        fusion = None
        if self.lm_weight > 0.0:
            fusion = LanguageModelFusion(self.lm, self.lm_weight, frames.log_probs.shape[2], slots=beam.last)
        steps = []
        for t in range(frames.log_probs.shape[1]):
            beam.blank_out(frames.after_blank[:, t])
            bonus = fusion.score(frames.tokens[:, t]) if fusion else 0.0
            parents, tokens = extend_beam(beam, frames, t, bonus + self.length_bonus)
            beam.prune(self.beam_prune_logp)
            steps.append((parents, tokens))
            if fusion:
                fusion.advance(parents, tokens.masked_fill(beam.dead(), 0))
        return beam.scores() + (fusion.end() if fusion else 0.0), steps


def _hypotheses(transcripts: list[list[int]], scores: list[float], frames: int) -> list[Hypothesis]:
    """The hypotheses of one utterance that are possible; without frames, that nothing was said."""
    if frames == 0:
        return [Hypothesis([], 0.0)]
    possible = [Hypothesis(*pair) for pair in zip(transcripts, scores, strict=True) if pair[1] > -math.inf]
    return possible or [Hypothesis([], -math.inf)]
