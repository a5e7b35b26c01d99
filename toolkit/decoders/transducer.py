"""Frame-synchronous beam search for transducers, batched over utterances and prefixes, with a language model.

Modified adaptive expansion search (Kim et al. 2020). A transducer passes each frame by emitting any number of tokens
and then a blank (token 0). Per prefix the search keeps the log-probability of all alignments that have passed the
frames so far, so that the score of a transcript sums up every alignment of which no part left the beam.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from toolkit.decoders.ctc_beam import trace_back
from toolkit.decoders.hypothesis import Hypothesis, possible
from toolkit.decoders.options import (
    check_beam,
    check_count,
    check_language_model,
    check_number,
    check_range,
    check_steps,
)
from toolkit.decoders.transducer_beam import TransducerBeam


@dataclass(kw_only=True, eq=False)
class TransducerBeamSearcher:
    """The transcripts of highest log p(tokens) + lm_weight * log p_lm(tokens, eos) + length_bonus * len(tokens).

    A frame costs the joint network for every prefix and, where a token is likely enough to be tried, as many rounds of
    prediction and joint network as tokens follow each other in it, at most ``max_symbols``.

    Parameters
    ----------
    beam_size
        Prefixes kept after each frame.
    lm, lm_weight
        Language model over the same tokens (step protocol), and its weight.
    length_bonus
        Added for each token.
    expand_beam
        A token is tried where its log-probability is less than this below that of the best one, blank included;
        ``inf`` tries all.
    beam_prune_logp
        Prefixes this much worse than the best one are not made; ``-inf`` makes them.
    candidates
        The language model looks only at this many best tokens of each prefix; None: at all.
    max_symbols
        Most tokens by which one frame makes a prefix longer.
    max_decode_ratio
        Most tokens of a transcript, for each encoder frame.
    temperature
        Above 1 softens the distribution of the joint network.
    topk
        Hypotheses returned for each utterance.
    """

    beam_size: int = 4
    lm: nn.Module | None = None
    lm_weight: float = 0.0
    length_bonus: float = 0.0
    expand_beam: float = 5.0
    beam_prune_logp: float = -20.0
    candidates: int | None = 40
    max_symbols: int = 5
    max_decode_ratio: float = 2.0
    temperature: float = 1.0
    topk: int = 1

    def __post_init__(self) -> None:
        check_beam(self.beam_size, self.topk, self.temperature)
        check_language_model(self.lm, self.lm_weight)
        check_steps(self.lm)
        check_number("length_bonus", self.length_bonus)
        check_range("expand_beam", self.expand_beam, 0.0)
        check_range("beam_prune_logp", self.beam_prune_logp, -math.inf, 0.0)
        check_range("max_decode_ratio", self.max_decode_ratio, 0.0)
        check_count("max_symbols", self.max_symbols)
        if self.candidates is not None:
            check_count("candidates", self.candidates)

    @torch.no_grad()
    def __call__(self, model: nn.Module, encoded: Tensor, frames: Tensor) -> list[list[Hypothesis]]:
        """At most ``topk`` hypotheses, best first, for each utterance of ``encoded`` (B, T, D), ``frames`` (B,)."""
        beam = TransducerBeam(self, model, encoded, frames.to(encoded.device))
        for t in range(int(frames.max()) if len(frames) else 0):
            beam.pass_frame(t)
        scores, slots = beam.final_scores().topk(self.topk, dim=1)
        found = zip(trace_back(beam.steps, slots), scores.tolist(), frames.tolist(), strict=True)
        return [possible(zip(tokens, best, strict=True), count) for tokens, best, count in found]
