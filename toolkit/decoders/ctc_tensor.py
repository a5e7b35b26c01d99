"""CTC prefix beam search in tensors, all utterances and prefixes at once: what runs on a GPU, and with a neural LM."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from toolkit.decoders.ctc_beam import Beam, empty_beam, extend_beam, trace_back
from toolkit.decoders.ctc_frames import Frame, Frames, live_frames
from toolkit.decoders.ctc_fusion_tables import FusionTensors
from toolkit.decoders.ctc_fusion_tensor import TensorFusion
from toolkit.decoders.ctc_tables import NOWHERE, Pruning
from toolkit.decoders.fusion import LanguageModelFusion, TableFusion, fastest_fusion


@dataclass
class TensorSearch:
    """B utterances being searched. Frames may come in chunks if B is 1.

    The loop over them never waits for a GPU, unless the state of a language model grows with the prefix.
    """

    pruning: Pruning
    tables: FusionTensors | None
    lm: nn.Module | None
    lm_weight: float
    beam: Beam | None = None
    fusion: TensorFusion | TableFusion | LanguageModelFusion | None = None
    bonus: Tensor | None = None  # (C,) what the token of each column gains where there is no fusion
    skipped_logp: Tensor | float = 0.0  # (B,)
    after_blank: Tensor | None = None  # (B,)
    steps: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def feed(self, log_probs: Tensor, frames: Tensor) -> None:
        """Move the search over the frames of (B, S, V) within ``frames`` (B,)."""
        live = live_frames(log_probs, frames, self.pruning, self.after_blank)
        self.skipped_logp = self.skipped_logp + live.skipped_logp
        self.after_blank = live.ends_in_blank
        if self.beam is None:
            self._begin(live)
        for frame in live:
            if frame.after_any_blank:
                self.beam.blank_out(frame.after_blank)
            parents, tokens = extend_beam(self.beam, frame, self._gains(frame), self.pruning.beam_prune_logp)
            self.steps.append((parents, tokens))
            if self.fusion:
                self.fusion.advance(parents, tokens)

    def finish(self, topk: int) -> list[list[tuple[list[int], float]]]:
        """Tokens and scores of the best ``topk`` transcripts of each utterance, some of which may score ``-inf``."""
        fused = self.beam.fusion + (self.fusion.end() if self.fusion else 0.0)
        scores, slots = (self.beam.totals() + fused + self.skipped_logp[:, None]).topk(topk, dim=1)
        found = zip(trace_back(self.steps, slots), scores.tolist(), strict=True)
        return [list(zip(*utterance, strict=True)) for utterance in found]

    def prefixes(self) -> list[list[int]]:
        """The prefixes in the beam of the only utterance, best first; none if all are impossible."""
        scores, slots = self.beam.scores().sort(dim=1, descending=True)
        (tokens,) = trace_back(self.steps, slots)
        possible = int((scores > -torch.inf).sum())
        return tokens[:possible]

    @torch.inference_mode()
    def _gains(self, frame: Frame) -> Tensor:
        """What extensions gain beside CTC, by column, as `extend_beam` wants it."""
        if self.fusion is None:
            return self.bonus
        gains = self.fusion.score(frame.tokens)
        if self.pruning.length_bonus:
            gains = gains + self.pruning.length_bonus
        gains.select(2, 0).zero_()
        return gains

    def _begin(self, frames: Frames) -> None:
        like, vocabulary = frames.log_probs, frames.log_probs.shape[2]
        slots = frames.tokens.new_zeros(len(like), self.pruning.beam_size)
        self.beam = empty_beam(slots, like.dtype, self.tables.separator if self.tables else NOWHERE)
        self.bonus = like.new_full((frames.tokens.shape[2],), self.pruning.length_bonus)
        self.bonus[0] = 0.0
        if self.tables:
            self.fusion = TensorFusion(self.tables, slots=slots, dtype=like.dtype)
        elif self.lm_weight > 0.0:
            self.fusion = fastest_fusion(self.lm, self.lm_weight, vocabulary, slots=slots)
