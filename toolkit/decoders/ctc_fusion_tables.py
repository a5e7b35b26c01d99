"""The tables of a `CTCFusion` on a device, as searches in tensors ask them: any number of states and tokens at once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from toolkit.decoders.ctc_tables import NOWHERE, FusionTables, Letters, Spelling
from toolkit.decoders.hotwords import phrase_table
from toolkit.models.ngram import EOS, NgramModel
from toolkit.models.ngram_tables import CompactTable, fastest_table

TABLE_MEGABYTES = 512  # a token n-gram that takes no more is written out


class FusionTensors:
    """The tables of a fusion, made of its arrays and its n-grams, on a device."""

    def __init__(
        self, tables: FusionTables, words: NgramModel | None, tokens: NgramModel | None, device: torch.device
    ) -> None:
        self.weights, self.letters = tables.weights, TokenLetters(tables.letters, device)
        self.separator = tables.letters.separator if words else NOWHERE  # spaces count as text where no words are known
        self.phrases = phrase_table(tables.phrases, tables.letters).to(device)
        if words:
            self.tree, self.words = WordTree(tables.spelling, device), WordArcs(words, tables.words.begin, device)
        if tokens:
            self.tokens = TokenTable(tokens, tables.token_ids, tables.tokens.begin, device)


class TokenLetters:
    """The V tokens as text of at most L characters; see `Letters`."""

    def __init__(self, letters: Letters, device: torch.device) -> None:
        lengths = np.diff(letters.start)
        label = np.full((len(lengths), lengths.max(initial=0)), NOWHERE, np.int64)
        label[np.arange(label.shape[1]) < lengths[:, None]] = letters.label
        self.label = torch.from_numpy(label).to(device)  # (V, L), NOWHERE behind the text
        self.count = torch.from_numpy(lengths).to(device)  # (V,)
        self.begins_word = torch.from_numpy(letters.begins_word).to(device)  # (V,)


class WordTree:
    """The vocabulary's words over characters; see `Spelling`."""

    def __init__(self, spelling: Spelling, device: torch.device) -> None:
        start, label, following = (array.astype(np.int64) for array in spelling.arcs)
        self.labels = 1 + int(label.max(initial=0))
        key = np.repeat(np.arange(len(spelling.word)), np.diff(start)) * self.labels + label
        last = len(spelling.word) * self.labels  # a key after all others, that nothing asks for
        self.key = torch.from_numpy(np.append(key, last)).to(device)
        self.next = torch.from_numpy(np.append(following, NOWHERE)).to(device)
        self.word = torch.from_numpy(np.append(spelling.word, NOWHERE).astype(np.int64)).to(device)  # of NOWHERE, too

    def follow(self, states: Tensor, labels: Tensor) -> Tensor:
        """The states after one more letter each; NOWHERE where no word goes on so."""
        keys = torch.where((states == NOWHERE) | (labels >= self.labels), NOWHERE, states * self.labels + labels)
        arcs = torch.searchsorted(self.key, keys)
        return torch.where(self.key[arcs] == keys, self.next[arcs], NOWHERE)


class WordArcs:
    """An n-gram over words."""

    def __init__(self, model: NgramModel, begin: int, device: torch.device) -> None:
        self.table = CompactTable(model, np.arange(len(model.words))).to(device)
        self.begin = begin

    def look_up(self, states: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of words in states, and the states after them."""
        return self.table.look_up(states, words)

    def end(self, states: Tensor) -> Tensor:
        """Log-probabilities of the end in states."""
        return self.table.look_up(states, torch.full_like(states, EOS))[0]


class TokenTable:
    """An n-gram over tokens; those that it does not know share ``<unk>``."""

    def __init__(self, model: NgramModel, ids: np.ndarray, begin: int, device: torch.device) -> None:
        known, columns = np.unique([*ids, EOS], return_inverse=True)
        self.table = fastest_table(model, known, TABLE_MEGABYTES).to(device)
        self.columns = torch.from_numpy(columns).to(device)  # (V + 1,): the last is the end's
        self.begin = begin

    def look_up(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of tokens in states, and the states after them."""
        return self.table.look_up(states, self.columns[tokens])

    def end(self, states: Tensor) -> Tensor:
        """Log-probabilities of the end in states."""
        return self.table.look_up(states, self.columns[-1].expand_as(states))[0]
