"""What a decoder or a language model remembers between steps, and how a search re-orders it.

A state is a dictionary. Its values are tensors (N, ...) of the N hypotheses, or objects with a ``select`` of their
own: `Shared`, for what is one for all hypotheses of an utterance, and `toolkit.models.key_values.TokenTree`. Where a
state holds any of these, the hypotheses of an utterance stand side by side, as many for each utterance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Selectable(Protocol):
    """A part of a state that knows how to re-order itself."""

    def select(self, hypotheses: Tensor, utterances: Tensor | None) -> Selectable:
        """The same of other hypotheses, as in `select`."""
        ...


State = dict[str, Tensor | Selectable]


@dataclass(frozen=True)
class Shared:
    """Tensors (A, ...) of the utterances, which all their hypotheses read: they are never copied for a beam."""

    tensors: tuple[Tensor, ...]

    def select(self, hypotheses: Tensor, utterances: Tensor | None) -> Shared:  # noqa: ARG002
        """The rows of ``utterances``; itself where all stay."""
        return self if utterances is None else Shared(tuple(part[utterances] for part in self.tensors))


def select(state: State, hypotheses: Tensor, utterances: Tensor | None = None) -> State:
    """The state of other hypotheses, each one that was there before or a copy of one.

    Parameters
    ----------
    state
        Of N hypotheses of A utterances.
    hypotheses : (M,)
        Their numbers among the N.
    utterances : (A',), optional
        The utterances that stay, in order, M / A' hypotheses each; None: all A. Of no matter where nothing is shared.
    """
    return {name: _select(value, hypotheses, utterances) for name, value in state.items()}


def waiting_costs(device: torch.device) -> bool:
    """Whether work on fewer rows is not worth asking the device which: all but a CPU run behind the program."""
    return device.type != "cpu"


def _select(value: Tensor | Selectable, hypotheses: Tensor, utterances: Tensor | None) -> Tensor | Selectable:
    if isinstance(value, Tensor):
        return value.index_select(0, hypotheses)
    return value.select(hypotheses, utterances)
