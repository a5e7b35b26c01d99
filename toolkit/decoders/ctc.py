"""Frame-synchronous CTC search: greedy, and prefix beam search fused with language models and hotwords.

Prefix search sums over paths. Per prefix it keeps the log-probability of the paths so far that end in blank and of
those that end in the prefix's last token (Graves 2012; Hannun et al. 2014, algorithm 1); each frame either keeps a
prefix or extends it by one token. Token 0 is blank in the CTC output, and bos and eos in the language model.

There are two back-ends, which give the same answer: compiled code for one utterance after the other on the CPU
(`ctc_compiled`), and tensors for all at once on a GPU or with a neural language model (`ctc_tensor`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.decoders.ctc_alignment import aligned
from toolkit.decoders.ctc_frames import check_numbers
from toolkit.decoders.ctc_fusion import CTCFusion
from toolkit.decoders.ctc_native import CompiledSearch, in_double, search_all
from toolkit.decoders.ctc_stream import CTCGreedyStream, CTCPrefixStream
from toolkit.decoders.ctc_tables import FusionTables, Pruning, no_fusion
from toolkit.decoders.ctc_tensor import TensorSearch
from toolkit.decoders.hypothesis import Hypothesis, possible
from toolkit.decoders.options import (
    check_beam,
    check_choice,
    check_count,
    check_language_model,
    check_number,
    check_range,
    check_steps,
)
from toolkit.decoders.scorers import full_precision, soften
from toolkit.errors import ConfigError

# Options by name: how much of the search is left out. "pyctcdecode" has that library's numbers.
EVERYTHING = {"candidates": None, "token_min_logp": -math.inf, "beam_prune_logp": -math.inf, "blank_skip": 1.0}
PRESETS = {
    "default": EVERYTHING | {"beam_size": 16, "candidates": 40, "beam_prune_logp": -20.0, "blank_skip": 0.9999},
    "exact": EVERYTHING | {"beam_size": 16},
    "pyctcdecode": EVERYTHING | {"beam_size": 100, "token_min_logp": -5.0, "beam_prune_logp": -10.0},
    "fast": {"beam_size": 8, "candidates": 8, "token_min_logp": -6.0, "beam_prune_logp": -8.0, "blank_skip": 0.99},
}
OF_PRESET: Any = object()  # the value of an option that is not given; None, of ``candidates``, is given
BACK_ENDS = ("auto", "compiled", "tensor")
ALL = 2**31 - 1  # more candidates than there are tokens


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

    def stream(self) -> CTCGreedyStream:
        """The same search over the CTC output of one utterance that arrives in chunks."""
        return CTCGreedyStream()


@dataclass(kw_only=True, eq=False)
class CTCPrefixSearcher:
    """The transcripts of highest log p_ctc(tokens) + lm_weight * log p_lm(tokens, eos) + length_bonus * len(tokens).

    Parameters
    ----------
    beam_size
        Prefixes kept after each frame.
    fusion
        Word and token n-grams and hotwords, whose score is added (`CTCFusion`).
    lm, lm_weight
        Neural language model over the same tokens (step protocol), and its weight; not beside ``fusion``.
    length_bonus
        Added for each token; what a language model takes from long transcripts.
    candidates
        Only this many best tokens of a frame may extend a prefix; None tries all.
    token_min_logp
        Tokens less likely than this, blank and repeats too, are impossible in a frame that has a likelier one.
    beam_prune_logp
        Prefixes this much worse than the best one leave the beam; ``-inf`` keeps them.
    blank_skip
        A frame whose blank is more probable than this counts as nothing but blank, which is nearly free; 1 skips none.
    preset
        A name of `PRESETS`, whose values beam_size, candidates, token_min_logp, beam_prune_logp and blank_skip have
        where they are not given.
    temperature
        Above 1 softens the CTC distribution.
    topk
        Hypotheses returned for each utterance.
    align
        Also say in which frames each token was spoken, and how sure that is.
    backend
        "compiled", "tensor", or "auto": tensors on a GPU or with ``lm``, compiled code otherwise and for ``fusion``.
    """

    beam_size: int = OF_PRESET
    fusion: CTCFusion | None = None
    lm: nn.Module | None = None
    lm_weight: float = 0.0
    length_bonus: float = 0.0
    candidates: int | None = OF_PRESET
    token_min_logp: float = OF_PRESET
    beam_prune_logp: float = OF_PRESET
    blank_skip: float = OF_PRESET
    preset: str = "default"
    temperature: float = 1.0
    topk: int = 1
    align: bool = False
    backend: str = "auto"

    def __post_init__(self) -> None:
        check_choice("preset", self.preset, tuple(PRESETS))
        for name, value in PRESETS[self.preset].items():
            if getattr(self, name) is OF_PRESET:
                setattr(self, name, value)
        check_beam(self.beam_size, self.topk, self.temperature)
        check_language_model(self.lm, self.lm_weight)
        check_number("length_bonus", self.length_bonus)
        check_range("token_min_logp", self.token_min_logp, -math.inf, 0.0)
        check_range("beam_prune_logp", self.beam_prune_logp, -math.inf, 0.0)
        check_range("blank_skip", self.blank_skip, 0.0, 1.0)
        check_choice("backend", self.backend, BACK_ENDS)
        if self.candidates is not None:
            check_count("candidates", self.candidates)
        self._check_backend()
        check_steps(self.lm)

    @torch.no_grad()
    def __call__(self, model: nn.Module, encoded: Tensor, frames: Tensor) -> list[list[Hypothesis]]:
        """At most ``topk`` hypotheses, best first, for each utterance of ``encoded`` (B, T, F), ``frames`` (B,).

        Raises
        ------
        ModelError
            The CTC output holds NaN, or the language model or fusion is of another vocabulary.
        """
        log_probs, frames = soften(model.ctc_log_probs(encoded), self.temperature), frames.to(encoded.device)
        check_numbers(log_probs, frames)
        counts = frames.tolist()
        outputs = in_double(log_probs, counts) if self.align or self._compiled(log_probs.device) else []
        if self._compiled(log_probs.device):
            searches = search_all(outputs, self._pruning(), self._tables(log_probs.shape[2]))
            found = [best for search in searches for best in search.finish(self.topk)]
        else:
            search = self._tensor_search(log_probs)
            search.feed(log_probs, frames)
            found = search.finish(self.topk)
        hypotheses = [possible(pairs, count) for pairs, count in zip(found, counts, strict=True)]
        if not self.align:
            return hypotheses
        return [[aligned(one, rows) for one in best] for best, rows in zip(hypotheses, outputs, strict=True)]

    def stream(self) -> CTCPrefixStream:
        """The same search over the CTC output of one utterance that arrives in chunks."""
        return CTCPrefixStream(self._begin, topk=self.topk, temperature=self.temperature, align=self.align)

    def _begin(self, log_probs: Tensor) -> CompiledSearch | TensorSearch:
        """A search for CTC output like (B, S, V), where B is 1 for compiled code."""
        if self._compiled(log_probs.device):
            return CompiledSearch(self._pruning(), self._tables(log_probs.shape[2]))
        return self._tensor_search(log_probs)

    def _tensor_search(self, log_probs: Tensor) -> TensorSearch:
        tables = self.fusion and self.fusion.tensors_for(log_probs.shape[2], log_probs.device)
        return TensorSearch(self._pruning(), tables, self.lm, self.lm_weight)

    def _compiled(self, device: torch.device) -> bool:
        """Whether CTC output on this device is searched by compiled code."""
        if self.backend == "auto":
            return self.fusion is not None or (self.lm_weight == 0.0 and device.type == "cpu")
        return self.backend == "compiled"

    def _pruning(self) -> Pruning:
        """The options as both back-ends take them."""
        return Pruning(
            beam_size=self.beam_size,
            candidates=ALL if self.candidates is None else self.candidates,
            token_min_logp=float(self.token_min_logp),
            beam_prune_logp=float(self.beam_prune_logp),
            blank_skip_logp=math.log(self.blank_skip) if self.blank_skip > 0.0 else -math.inf,
            length_bonus=float(self.length_bonus),
        )

    def _tables(self, vocabulary: int) -> FusionTables:
        """What fusion adds, for a CTC output of so many tokens."""
        return no_fusion() if self.fusion is None else self.fusion.tables_for(vocabulary)

    def _check_backend(self) -> None:
        if self.fusion is not None and self.lm_weight > 0.0:
            raise ConfigError("both fusion and lm are given: give a neural lm, or a fusion of n-grams and hotwords")
        if self.lm_weight > 0.0 and self.backend == "compiled":
            raise ConfigError("backend is compiled, but a neural lm needs tensors: set backend to auto or tensor")
