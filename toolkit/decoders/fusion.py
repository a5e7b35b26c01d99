"""A language model beside frame-synchronous search, where the hypotheses of a beam differ in length."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from toolkit.decoders.scorers import StepScorer, StepState
from toolkit.models.ngram_lm import NgramLM
from toolkit.models.ngram_tables import DenseTable
from toolkit.models.state import State, select, waiting_costs


class LanguageModelFusion:
    """The weighted language model scores of the B x K prefixes of a beam.

    A frame costs one step of the language model for the prefixes that gained a token in it; the others are re-ordered.
    On a GPU all are stepped, as finding those that gained one would mean waiting for it. A state that grows with the
    prefix (a Transformer's keys and values) is kept at the length of the longest, and stepped for the prefixes of each
    length in turn, which does wait: exact for any language model, fast for a recurrent one.
    """

    def __init__(self, lm: nn.Module, weight: float, vocabulary: int, *, slots: Tensor) -> None:
        """Begin with empty prefixes in a beam of the shape and on the device of ``slots`` (B, K)."""
        self.weight, self.beam, device = weight, slots.shape, slots.device
        B, K = slots.shape
        self.scorer = StepScorer(lm.to(device), vocabulary)
        before = lm.start(B * K, device)
        self.state = self.scorer.start(before, B * K, device)
        self.growing = {name: _grown(tensor, self.state.memory[name]) for name, tensor in before.items()}
        self.sizes = self._sizes(self.state.memory)
        self.grows = bool(self.sizes)
        self.lengths = torch.zeros(B * K, dtype=torch.int64, device=device)
        self.offset = torch.arange(B, device=device)[:, None] * K

    def score(self, candidates: Tensor) -> Tensor:
        """What the extension of each prefix by each candidate, (B, C) or its own (B, K, C), gains: (B, K, C)."""
        own = candidates if candidates.dim() == 3 else candidates[:, None, :].expand(*self.beam, -1)
        return self.state.log_probs.view(*self.beam, -1).gather(2, own) * self.weight

    def end(self) -> Tensor:
        """What ending each prefix gains (B, K)."""
        return self.scorer.end(self.state).view(self.beam) * self.weight

    def advance(self, parents: Tensor, tokens: Tensor) -> None:
        """Take the prefixes from the slots ``parents`` (B, K), followed by ``tokens`` (B, K) where these are not 0."""
        parents, tokens = (parents + self.offset).flatten(), tokens.flatten()
        self.state = StepState(self.state.log_probs.index_select(0, parents), select(self.state.memory, parents))
        if self.grows:
            self._step_by_length(tokens, self.lengths.index_select(0, parents))
        elif waiting_costs(tokens.device):
            self._step_all(tokens)
        else:
            self._step(tokens.nonzero().squeeze(1), tokens, 0)

    def _step_by_length(self, tokens: Tensor, lengths: Tensor) -> None:
        """Extend the prefixes, which are ``lengths`` (N,) tokens long, those of one length at a time."""
        extended = tokens.nonzero().squeeze(1)
        for length in lengths[extended].unique().tolist():
            self._step(extended[lengths[extended] == length], tokens, length)
        self.lengths = lengths + (tokens != 0)

    def _step_all(self, tokens: Tensor) -> None:
        """Extend all prefixes, and keep what comes of it where there is a token."""
        new, old = self.scorer.step(tokens, self.state.memory), self.state
        memory = {name: _where(tokens != 0, tensor, old.memory[name]) for name, tensor in new.memory.items()}
        self.state = StepState(_where(tokens != 0, new.log_probs, old.log_probs), memory)

    def _step(self, rows: Tensor, tokens: Tensor, length: int) -> None:
        """Extend the prefixes ``rows``, which are ``length`` tokens long, by their tokens."""
        if len(rows) == 0:
            return
        memory = {}
        for name, tensor in self.state.memory.items():
            dim = self.growing[name]
            memory[name] = (tensor if dim is None else tensor.narrow(dim, 0, self.sizes[name] + length))[rows]
        new = self.scorer.step(tokens[rows], memory)
        self.state.log_probs.index_copy_(0, rows, new.log_probs)
        for name, tensor in new.memory.items():
            self.state.memory[name] = _write(self.state.memory[name], rows, tensor, dim=self.growing[name])

    def _sizes(self, memory: State) -> dict[str, int]:
        """The size of what grows, while the prefix is empty."""
        return {name: memory[name].shape[dim] for name, dim in self.growing.items() if dim is not None}


class TableFusion:
    """The same scores of an n-gram model that is written out: its state is a number, and the rest is looked up."""

    def __init__(self, lm: NgramLM, weight: float, vocabulary: int, *, slots: Tensor) -> None:
        """As `LanguageModelFusion`."""
        lm = lm.to(slots.device)
        empty = StepScorer(lm, vocabulary).start(lm.start(1, slots.device), 1, slots.device)
        self.table, self.weight = lm.table, weight
        self.states = empty.memory["context"].repeat(*slots.shape)

    def score(self, candidates: Tensor) -> Tensor:
        """What the extension of each prefix by each candidate (B, C), in order if all are, gains: (B, K, C)."""
        gains = self._log_probs().mul_(self.weight)
        if candidates.shape[1] == gains.shape[2]:
            return gains
        return gains.gather(2, candidates[:, None, :].expand(-1, gains.shape[1], -1))

    def end(self) -> Tensor:
        """What ending each prefix gains (B, K)."""
        return self._log_probs()[:, :, 0] * self.weight

    @torch.inference_mode()
    def advance(self, parents: Tensor, tokens: Tensor) -> None:
        """Take the prefixes from the slots ``parents`` (B, K), followed by ``tokens`` (B, K) where these are not 0."""
        before = self.states.gather(1, parents)
        self.states = torch.where(tokens == 0, before, self.table.advance(before, tokens))

    def _log_probs(self) -> Tensor:
        """(B, K, V) of all tokens after the prefixes."""
        return self.table.log_probs(self.states.flatten()).view(*self.states.shape, -1)


def fastest_fusion(
    lm: nn.Module, weight: float, vocabulary: int, *, slots: Tensor
) -> TableFusion | LanguageModelFusion:
    """That of a table, where the language model is one."""
    table = isinstance(lm, NgramLM) and isinstance(lm.table, DenseTable)
    return (TableFusion if table else LanguageModelFusion)(lm, weight, vocabulary, slots=slots)


def _where(rows: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """``new`` (N, ...) where ``rows`` (N,) is true, else ``old``."""
    return torch.where(rows.view(-1, *[1] * (new.dim() - 1)), new, old)


def _grown(before: Tensor, after: Tensor) -> int | None:
    """The dimension in which a step made this part of the state longer, if any."""
    changed = [dim for dim in range(1, before.dim()) if before.shape[dim] != after.shape[dim]]
    return changed[0] if changed else None


def _write(memory: Tensor, rows: Tensor, new: Tensor, *, dim: int | None) -> Tensor:
    """Memory (N, ...) with ``new`` (M, ...) in its ``rows`` (M,), made longer along ``dim`` where it must be."""
    if dim is None:
        return memory.index_copy_(0, rows, new)
    missing = new.shape[dim] - memory.shape[dim]
    if missing > 0:
        shape = list(memory.shape)
        shape[dim] = missing
        memory = torch.cat([memory, memory.new_zeros(shape)], dim=dim)
    memory.narrow(dim, 0, new.shape[dim]).index_copy_(0, rows, new)
    return memory
