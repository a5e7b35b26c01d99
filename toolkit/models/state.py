"""What a decoder or a language model remembers between steps, and how a search re-orders it."""

from __future__ import annotations

from torch import Tensor

State = dict[str, Tensor]


def select(state: State, index: Tensor) -> State:
    """The state of the hypotheses at ``index`` (M,); dimension 0 is the hypothesis: (N, ...) -> (M, ...)."""
    return {name: tensor.index_select(0, index) for name, tensor in state.items()}
