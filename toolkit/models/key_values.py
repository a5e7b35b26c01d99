"""Keys and values of the tokens so far: by hypothesis, and as a tree that the hypotheses of an utterance share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


class TokenTree:
    """Keys and values of all tokens that live hypotheses of a search have, each kept once.

    Hypotheses of one beam have most of their tokens in common. Copying a cache along with each of them is what makes
    decoding slow; here a token's keys and values stay where they were written, and what is re-ordered is a table of
    who sees which of them. An utterance's queries are multiplied with its tree in one go, and the memory is read once
    for all of them. Tokens that no hypothesis has any more are swept out when the space is used up. For searching only:
    what is written in place has no gradient.

    Parameters
    ----------
    rows
        Utterances A, with one empty hypothesis each.
    layers, heads, size
        Of the Transformer; size is d of one head.
    like
        A tensor of the device and type wanted.
    """

    GROWTH = 8  # room for this many tokens of each hypothesis is added at least; more is swept less often, but scanned

    def __init__(self, rows: int, layers: int, heads: int, size: int, *, like: Tensor) -> None:
        self.buffers = like.new_empty(layers, 2, rows, heads, 0, size)  # of keys and values, with room at the end
        self.visible = like.new_empty(rows, 1, 0)  # (A, K, used): 0 where a hypothesis has the token, else -inf
        self.length = 0  # tokens of a hypothesis
        self.beam = 1

    @property
    def rows(self) -> int:
        """Utterances A."""
        return self.visible.shape[0]

    def begin(self, keys_values: Tensor, bias: Tensor) -> None:
        """Put what stands before the first token, of (layers, 2, A, heads, P, d), into a tree without tokens.

        The bias (A, 1, P) is 0 where an utterance has a position and -inf on padding.
        """
        self.buffers, self.visible = keys_values, bias

    def select(self, hypotheses: Tensor, utterances: Tensor | None) -> TokenTree:
        """The tree for other hypotheses; the one before must not be used any more."""
        if utterances is not None:
            self.buffers = self.buffers.index_select(2, utterances)
        visible = self.visible.flatten(0, 1).index_select(0, hypotheses)
        rows = self.rows if utterances is None else len(utterances)
        self.visible = visible.view(rows, -1, visible.shape[1])
        self.beam = self.visible.shape[1]
        return self

    def grow(self) -> Tensor:
        """Make room for one more token of each hypothesis: the bias (A, 1, K, used) of attention to the tree."""
        used = self.visible.shape[2]
        if used + self.beam > self.buffers.shape[4]:
            used = self._sweep()
        own = self.visible.new_full((self.beam, self.beam), -math.inf).fill_diagonal_(0.0)
        self.visible = torch.cat([self.visible, own.expand(self.rows, -1, -1)], dim=2)
        self.length += 1
        return self.visible[:, None]

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write a layer's keys and values (A, heads, K, d) of the tokens that `grow` made room for: all of them."""
        used = self.visible.shape[2]
        all_keys, all_values = self.buffers[layer, 0, :, :, :used], self.buffers[layer, 1, :, :, :used]
        all_keys[:, :, used - self.beam :] = keys
        all_values[:, :, used - self.beam :] = values
        return all_keys, all_values

    def state(self) -> dict[str, TokenTree]:
        """What to keep for the next step, after all layers."""
        return {"tree": self}

    def _sweep(self) -> int:
        """Move what any hypothesis sees into a larger buffer; how much that is."""
        seen = (self.visible == 0).any(dim=1)  # (A, used)
        count = int(seen.sum(dim=1).max()) if seen.shape[1] else 0
        kept = seen.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :count]
        room = max(self.GROWTH * self.beam, count // 2)
        old, shape = self.buffers, self.buffers.shape
        self.buffers = old.new_empty(*shape[:4], count + room, shape[5])
        for row, index in enumerate(kept):
            self.buffers[:, :, row, :, :count] = old[:, :, row].index_select(3, index)
        self.visible = self.visible.gather(2, kept[:, None].expand(-1, self.beam, -1))
        return count


@dataclass
class OwnTokens:
    """Keys and values (N, layers, heads, U, d) of each hypothesis's own tokens, one longer at every step.

    What a search needs whose hypotheses differ in length.
    """

    keys: Tensor
    values: Tensor

    def __post_init__(self) -> None:
        self.rows, self.length = self.keys.shape[0], self.keys.shape[3]
        self.new: list[tuple[Tensor, Tensor]] = []

    def grow(self) -> None:
        """Nothing to prepare, and no bias: a hypothesis sees all of its own tokens."""
        self.length += 1

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """The layer's keys and values (N, heads, U + 1, d), the last of which are ``keys`` and ``values``."""
        longer = torch.cat([self.keys[:, layer], keys], dim=2), torch.cat([self.values[:, layer], values], dim=2)
        self.new.append(longer)
        return longer

    def state(self) -> dict[str, Tensor]:
        """What to keep for the next step, after all layers."""
        keys, values = zip(*self.new, strict=True)
        return {"keys": torch.stack(keys, dim=1), "values": torch.stack(values, dim=1)}
