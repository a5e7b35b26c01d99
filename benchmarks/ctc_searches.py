"""CTC searches of the posteriors of `ctc_speech`: ours, and those of SpeechBrain, pyctcdecode and flashlight."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ctc_speech import LABELS, PIECES, arpa, characters
from torch import Tensor, nn

from toolkit.decoders.ctc import CTCPrefixSearcher
from toolkit.decoders.ctc_fusion import CTCFusion
from toolkit.decoders.pyctcdecode import build_ctcdecoder
from toolkit.models.arpa import load_ngram
from toolkit.models.ngram import EOS
from toolkit.models.ngram_lm import NgramLM
from toolkit.models.ngram_tables import CompactTable

Decode = Callable[[], list[str]]


def searched(frames: list[Tensor], **options: Any) -> Decode:
    """Our search, as recipes call it."""
    searcher = CTCPrefixSearcher(**options)
    batch, lengths = nn.utils.rnn.pad_sequence(frames, batch_first=True), torch.tensor([len(one) for one in frames])
    return lambda: [as_text(best[0].tokens) for best in searcher(Posteriors(), batch, lengths)]


def with_word_ngram(frames: list[Tensor], **options: Any) -> Decode:
    """Ours in the place of pyctcdecode."""
    decoder, arrays = build_ctcdecoder(LABELS, str(arpa())), [one.numpy() for one in frames]
    return lambda: decoder.decode_batch(None, arrays, **options)


def fused(**options: Any) -> CTCFusion:
    """Our fusion for these labels."""
    return CTCFusion(tokenizer=PIECES, **options)


def speechbrain(frames: list[Tensor]) -> Decode:
    """SpeechBrain's CTCBeamSearcher."""
    from speechbrain.decoders.ctc import CTCBeamSearcher

    searcher = CTCBeamSearcher(blank_index=0, vocab_list=LABELS, beam_size=100)
    batch = nn.utils.rnn.pad_sequence(frames, batch_first=True)
    lengths = torch.tensor([len(one) / batch.shape[1] for one in frames])
    return lambda: [best[0].text for best in searcher(batch, lengths)]


def pyctcdecode(frames: list[Tensor], *, unk_score_offset: float = -10.0, beam_width: int = 100) -> Decode:
    """The decoder of pyctcdecode with kenlm, and its defaults."""
    from pyctcdecode import build_ctcdecoder as build

    words, arrays = vocabulary(arpa()), [one.numpy() for one in frames]
    with silence():
        decoder = build(LABELS, str(arpa()), unigrams=words, unk_score_offset=unk_score_offset)
    return lambda: [decoder.decode(array, beam_width=beam_width) for array in arrays]


def flashlight(frames: list[Tensor], model: Path | None) -> Decode:
    """The ctc_decoder of torchaudio, with a lexicon where there is a model, of the same beam, weights and pruning."""
    from torchaudio.models.decoder import ctc_decoder

    tokens = ["-", "|", *LABELS[2:]]
    lexicon = None
    if model is not None:
        lexicon = str(Path(tempfile.mkdtemp()) / "lexicon.txt")
        Path(lexicon).write_text("".join(f"{word} {' '.join(word)} |\n" for word in vocabulary(model)))
    with silence():
        decoder = ctc_decoder(
            lexicon=lexicon,
            tokens=tokens,
            lm=str(model) if model else None,
            **{"beam_size": 100, "beam_threshold": 10.0, "log_add": True},
            **{"lm_weight": 0.5 * np.log(10.0), "word_score": 1.5} if model else {"lm_weight": 0.0},
        )

    def decoded(one: Tensor) -> str:
        best = decoder(one[None])[0][0]
        if model:
            return " ".join(best.words)
        return " ".join("".join(tokens[token] for token in best.tokens.tolist()).replace("|", " ").split())

    return lambda: [decoded(one) for one in frames]


def vocabulary(model: Path) -> list[str]:
    """The words of an ARPA file."""
    return [word for word in load_ngram(model).words if word[0] != "<"]


class Posteriors(nn.Module):
    """A recogniser whose encoder output already is its CTC output."""

    def ctc_log_probs(self, encoded: Tensor) -> Tensor:
        """The same."""
        return encoded


def character_lm() -> NgramLM:
    """The character n-gram as a table on the device."""
    model = NgramLM(Pieces(), 6)
    model.ngram = characters()
    return model


class Pieces:
    """The tokenizer of these labels."""

    def pieces(self) -> list[str]:
        """The tokens."""
        return PIECES


def token_words() -> np.ndarray:
    """The character n-gram's numbers of the tokens (V,), of which the first is the end where it is predicted."""
    return np.array([EOS, *map(characters().word_id, PIECES[1:])])


class BackOffLoop(nn.Module):
    """The character n-gram without a table: each token of each state is looked for in n-grams of each order."""

    def __init__(self) -> None:
        super().__init__()
        self.arcs = CompactTable(characters(), token_words())

    def start(self, rows: int, device: torch.device) -> dict[str, Tensor]:
        """The empty context."""
        return {"context": torch.zeros(rows, dtype=torch.int64, device=device)}

    def step(self, tokens: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The same as NgramLM's."""
        context = self.arcs.advance(state["context"], tokens).masked_fill(tokens == 0, characters().begin)
        log_probs, _ = self.arcs.look_up(context[:, None], torch.arange(len(PIECES), device=tokens.device))
        return log_probs, {"context": context}


class NumpyBackOffLoop(BackOffLoop):
    """The same in numpy, of all tokens that are still to be found."""

    def step(self, tokens: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The same as NgramLM's."""
        model, ids = characters(), token_words()
        _, context = model.score_many(state["context"].numpy(), ids[tokens.numpy()])
        context = np.where(tokens.numpy() == 0, model.begin, context)
        logps, _ = model.score_many(np.repeat(context, len(ids)), np.tile(ids, len(context)))
        log_probs = torch.from_numpy(logps).float().view(len(tokens), len(ids))
        return log_probs, {"context": torch.from_numpy(context)}


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Nothing on stderr, where kenlm draws a progress bar past Python."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def as_text(tokens: Sequence[int]) -> str:
    """The text of our tokens."""
    return " ".join("".join(LABELS[token] for token in tokens).split())
