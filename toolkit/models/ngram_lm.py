"""n-gram models as modules: trained, saved and loaded in a run's folder like neural language models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.errors import ConfigError, ModelError
from toolkit.models.kneser_ney import prune_thresholds
from toolkit.models.ngram import EOS, NgramModel
from toolkit.models.ngram_binary import from_bytes, to_bytes
from toolkit.models.ngram_tables import CompactTable, DenseTable, fastest_table
from toolkit.models.state import State


class Pieces(Protocol):
    """The part of a tokenizer that an n-gram model over its tokens needs."""

    def pieces(self) -> list[str]:
        """The text of each token, by number."""


class WordNgram(nn.Module):
    """An n-gram model over words, for a search that knows where words end; ``ngram`` is the model itself.

    Parameters
    ----------
    order : int
        Words in its longest n-grams.
    prune : sequence of int
        n-grams that occur no more than so often are left out, by order (`toolkit.models.kneser_ney`).

    Raises
    ------
    ConfigError
        An option is impossible.
    """

    vocabulary: Sequence[str] | None = None  # the words of the training text

    def __init__(self, order: int, *, prune: Sequence[int] = ()) -> None:
        super().__init__()
        prune_thresholds(order, prune)
        self.order, self.prune = order, tuple(prune)
        self._ngram: NgramModel | None = None

    @property
    def ngram(self) -> NgramModel:
        """The model.

        Raises
        ------
        ModelError
            When it was neither trained nor loaded.
        """
        if self._ngram is None:
            raise ModelError(f"{type(self).__name__}: not trained yet; train it with `python train_lm.py`, or load it")
        return self._ngram

    @ngram.setter
    def ngram(self, ngram: NgramModel) -> None:
        self._take(ngram)

    def _take(self, ngram: NgramModel) -> None:
        self._ngram = ngram

    def get_extra_state(self) -> Tensor:
        """The model as bytes (N,), so that a state dict holds tensors only; none when there is no model."""
        content = b"" if self._ngram is None else to_bytes(self._ngram)
        return torch.from_numpy(np.frombuffer(bytearray(content), dtype=np.uint8))

    def set_extra_state(self, state: Tensor) -> None:
        """Take the model from the bytes of a state dict.

        Raises
        ------
        ModelError
            When they are no n-gram model, or not one of these tokens.
        """
        self._take(from_bytes(state.cpu().numpy().tobytes()))


class NgramLM(WordNgram):
    """An n-gram model over the recogniser's tokens, as the searchers use language models (step protocol).

    Its words are the tokenizer's pieces. Token 0 is ``<s>`` where it is read and ``</s>`` where it is predicted. The
    probability that the model keeps for unknown words is nobody's, so that the rows sum up to a little less than 1.

    Parameters
    ----------
    tokenizer : Tokenizer
        The recogniser's.
    order : int
        Tokens in its longest n-grams.
    prune : sequence of int
        n-grams that occur no more than so often are left out, by order (`toolkit.models.kneser_ney`).
    table_megabytes : int
        The probabilities of all tokens in all states are written out if that takes no more memory, and else put
        together when they are asked for, which is slower.

    Raises
    ------
    ConfigError
        An option is impossible.
    """

    def __init__(self, tokenizer: Pieces, order: int, *, prune: Sequence[int] = (), table_megabytes: int = 512) -> None:
        super().__init__(order, prune=prune)
        if table_megabytes < 0:
            raise ConfigError(f"table_megabytes must be at least 0, got {table_megabytes!r}")
        self.vocabulary, self.table_megabytes = tokenizer.pieces()[1:], table_megabytes
        self.vocab_size = 1 + len(self.vocabulary)
        self.table: DenseTable | CompactTable | None = None

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, U) that begin with 0 -> log-probabilities (B, U, V) of each next token."""
        state, rows = self.start(len(tokens), tokens.device), []
        for column in tokens.unbind(dim=1):
            log_probs, state = self.step(column, state)
            rows.append(log_probs)
        return torch.stack(rows, dim=1)

    def start(self, rows: int, device: torch.device) -> State:
        """The state before the first token: the empty context, ``context`` (rows,)."""
        return {"context": torch.zeros(rows, dtype=torch.int64, device=device)}

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Last tokens (N,) and state -> log-probabilities (N, V) of the next token, and the new state."""
        begin = self.ngram.begin
        context = self.table.advance(state["context"], tokens).masked_fill(tokens == 0, begin)
        return self.table.log_probs(context), {"context": context}

    def _take(self, ngram: NgramModel) -> None:
        missing = [piece for piece in self.vocabulary if piece not in ngram.ids]
        if missing:
            named = ", ".join(map(repr, missing[:5]))
            raise ModelError(
                f"the n-gram model does not know {len(missing)} of {len(self.vocabulary)} tokens of the tokenizer "
                f"({named}); both must be of the same tokenizer"
            )
        super()._take(ngram)
        words = np.array([EOS, *map(ngram.word_id, self.vocabulary)])
        self.table = fastest_table(ngram, words, self.table_megabytes)
