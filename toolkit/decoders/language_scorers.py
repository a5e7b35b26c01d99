"""Language models as scorers of a label-synchronous search: recurrent, Transformer and n-gram ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from toolkit.decoders.options import check_temperature
from toolkit.decoders.scorers import Extension, SearchStart, StepScorer, StepState
from toolkit.models.speechbrain_decoders import as_step_module
from toolkit.models.state import select


class LanguageModelScorer:
    """log p_lm(token | tokens so far).

    Parameters
    ----------
    language_model
        A module of the step protocol (`RNNLM`, `TransformerLM`, an n-gram model), or SpeechBrain's RNNLM or
        TransformerLM. Where it has ``start_tree``, keys and values are shared by the hypotheses of an utterance.
    temperature
        Above 1 softens its distribution.
    """

    name = "lm"
    most = 0.0

    def __init__(self, language_model: nn.Module, temperature: float = 1.0) -> None:
        check_temperature("temperature", temperature)
        self.language_model = as_step_module(language_model)
        self.temperature = temperature

    def start(self, search: SearchStart) -> LanguageModelState:
        """Every utterance's model has read bos."""
        A, device = search.encoded.shape[0], search.encoded.device
        module = self.language_model.to(device).eval()
        scorer = StepScorer(module, search.vocabulary, self.temperature)
        memory = (module.start_tree if hasattr(module, "start_tree") else module.start)(A, device)
        bos = torch.full((A,), search.bos_index, device=device)
        return LanguageModelState(scorer, search.eos_index, scorer.step(bos, memory))

    def score(self, state: LanguageModelState, candidates: Tensor | None = None) -> Tensor:
        """Log-probabilities of all tokens or of the candidates."""
        log_probs = state.step.log_probs
        return log_probs if candidates is None else log_probs.gather(1, candidates)

    def end(self, state: LanguageModelState) -> Tensor:
        """Log-probability of eos."""
        return state.step.log_probs[:, state.eos_index]

    def advance(self, state: LanguageModelState, extension: Extension) -> LanguageModelState:
        """One step of the model."""
        memory = select(state.step.memory, extension.hypotheses, extension.utterances)
        return LanguageModelState(state.scorer, state.eos_index, state.scorer.step(extension.tokens, memory))


@dataclass(frozen=True)
class LanguageModelState:
    """A language model that has read the tokens so far."""

    scorer: StepScorer
    eos_index: int
    step: StepState


class RNNLMScorer(LanguageModelScorer):
    """`LanguageModelScorer` by SpeechBrain's name for recurrent ones."""

    name = "rnnlm"


class TransformerLMScorer(LanguageModelScorer):
    """`LanguageModelScorer` by SpeechBrain's name for Transformers."""

    name = "transformerlm"


class NgramScorer(LanguageModelScorer):
    """`LanguageModelScorer` by a name of its own, so that an n-gram model can be added to a neural one."""

    name = "ngram"
