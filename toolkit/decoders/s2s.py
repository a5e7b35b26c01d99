"""SpeechBrain's searchers by their names: the same arguments and the same results, so that a YAML changes a class path.

What is returned is SpeechBrain's: hypotheses, relative lengths, scores and log-probabilities. `AttentionSearcher`
underneath differs in two points, on purpose: an utterance's limits come from its own length, not from that of the
longest in its batch; and a hypothesis that reaches the limit has to end there, and is scored for it (SpeechBrain scores
it as if it had not to, and drops its last token).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from toolkit.decoders.attention import AttentionSearcher
from toolkit.decoders.ctc_prefix import CTCScorer
from toolkit.decoders.hypothesis import Hypothesis
from toolkit.decoders.scorer_builder import ScorerBuilder
from toolkit.errors import ConfigError
from toolkit.models.speechbrain_decoders import SpeechBrainRNNDecoder, SpeechBrainTransformerDecoder

Result = tuple[list[list[int]] | Tensor, Tensor, Tensor, Tensor]


class S2SBeamSearcher(nn.Module):
    """A decoder with the search for it.

    Parameters
    ----------
    decoder : Module
        Of the step protocol, with the size of the encoder's frames as ``memory_size``.
    return_topk : bool
        Return all ``topk`` hypotheses, padded with 0, instead of the best one as a list.
    language_model, ctc_linear, blank_index
        As SpeechBrain 0.5 takes them, beside ``lm_weight`` and ``ctc_weight``; later it has scorers.
    minus_inf
        SpeechBrain's number for what is impossible; here that is ``-inf``, whatever is given.
    options
        Those of `AttentionSearcher`.

    Raises
    ------
    ConfigError
        An option cannot be, or contradicts another one.
    ModelError
        Decoder, CTC output and language models are not of one vocabulary.
    """

    def __init__(
        self,
        decoder: nn.Module,
        *,
        return_topk: bool = False,
        language_model: nn.Module | None = None,
        ctc_linear: nn.Module | None = None,
        blank_index: int = 0,
        minus_inf: float = -math.inf,  # noqa: ARG002
        **options: Any,
    ) -> None:
        super().__init__()
        self.decoder, self.return_topk = decoder, return_topk
        if language_model is not None:
            options["lm"] = language_model
        if ctc_linear is not None:
            scorer = CTCScorer(ctc_linear, blank_index)
            options["scorer"] = ScorerBuilder({"ctc": options.pop("ctc_weight", 0.0)}, partial_scorers=[scorer])
        self.search = AttentionSearcher(**options)
        self._rehearse()

    def _rehearse(self) -> None:
        """Search one frame of silence: what does not fit is said now, and not when the first epoch is over."""
        like = next(self.decoder.parameters())
        with torch.random.fork_rng([like.device] if like.is_cuda else []):  # dropout may draw random numbers
            self(like.new_zeros(1, 1, self.decoder.memory_size), like.new_ones(1))

    def forward(self, enc_states: Tensor, wav_len: Tensor) -> Result:
        """Encoder states (B, T, F) and relative lengths (B,) -> hypotheses, lengths, scores, log-probabilities.

        The best hypotheses are lists of tokens without eos, with lengths and scores (B,); all of them a tensor
        (B, topk, U), with (B, topk). U counts eos, lengths don't; where an utterance has fewer, scores are ``-inf``.
        """
        frames = torch.round(enc_states.shape[1] * wav_len).long()
        found = self.search(self, enc_states, frames)
        for hypotheses in found:
            hypotheses += [Hypothesis([], -torch.inf)] * (self.search.topk - len(hypotheses))
        flat = [hypothesis for hypotheses in found for hypothesis in hypotheses]
        tokens = _padded([[*hypothesis.tokens, self.search.eos_index] for hypothesis in flat], enc_states.device)
        log_probs = _padded([hypothesis.log_probs or [0.0] for hypothesis in flat], enc_states.device)
        lengths = torch.tensor([len(hypothesis.tokens) for hypothesis in flat], device=tokens.device) / tokens.shape[1]
        scores = torch.tensor([hypothesis.score for hypothesis in flat], device=tokens.device)
        log_probs *= 1.0 - self.search.scorers.weight("ctc")
        parts = [part.unflatten(0, (len(found), -1)) for part in (tokens, lengths, scores, log_probs)]
        if self.return_topk:
            return tuple(parts)
        return [hypotheses[0].tokens for hypotheses in found], *(part[:, 0] for part in parts[1:])


class S2STransformerBeamSearcher(S2SBeamSearcher):
    """For a ``TransformerASR`` and its output layer, ``modules: [model, seq_lin]``."""

    def __init__(self, modules: list[nn.Module], **options: Any) -> None:
        super().__init__(SpeechBrainTransformerDecoder(*modules), **options)


class S2SRNNBeamSearcher(S2SBeamSearcher):
    """For an ``AttentionalRNNDecoder`` with its embedding and its output layer."""

    def __init__(self, embedding: nn.Module, decoder: nn.Module, linear: nn.Module, **options: Any) -> None:
        super().__init__(SpeechBrainRNNDecoder(embedding, decoder, linear), **options)


class S2SRNNBeamSearchLM(S2SRNNBeamSearcher):
    """`S2SRNNBeamSearcher` by the name that SpeechBrain 0.5 has for it with a language model."""


class S2STransformerGreedySearcher(S2STransformerBeamSearcher):
    """The likeliest token at each step; a score is the sum of a hypothesis's log-probabilities."""

    def __init__(self, modules: list[nn.Module], temperature: float = 0.0, **options: Any) -> None:
        super().__init__(modules, **_greedy(temperature), **options)


class S2SRNNGreedySearcher(S2SRNNBeamSearcher):
    """The likeliest token at each step; a score is the sum of a hypothesis's log-probabilities."""

    def __init__(
        self, embedding: nn.Module, decoder: nn.Module, linear: nn.Module, temperature: float = 0.0, **options: Any
    ) -> None:
        super().__init__(embedding, decoder, linear, **_greedy(temperature), **options)


def _greedy(temperature: float) -> dict[str, Any]:
    """The options of a beam of 1; SpeechBrain draws tokens at random above temperature 0, which no search does."""
    if temperature != 0.0:
        raise ConfigError(f"temperature must be 0 in a greedy search, which draws no tokens, got {temperature!r}")
    return {"beam_size": 1, "using_eos_threshold": False, "length_normalization": False}


def _padded(rows: list[list[float]], device: torch.device) -> Tensor:
    """Rows of different lengths -> (N, U), padded with 0."""
    return pad_sequence([torch.tensor(row, device=device) for row in rows], batch_first=True)
