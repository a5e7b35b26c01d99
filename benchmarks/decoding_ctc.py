"""CTC search beside its peers: SpeechBrain, pyctcdecode with kenlm, and torchaudio's (flashlight's) decoder.

The posteriors are made of LibriSpeech's sentences, with random confusions, so that there is a word error rate; the
language models are trained on other sentences of it. Beam searches prune differently, so the answers count as equal
when ours have no more word errors than the peer's, or, where there are no words, when the exact CTC log-probability of
all our texts together (torch's CTC loss) is no less than that of the peer's.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from side_by_side import Row, compare
from torch import Tensor, nn

from toolkit.decoders.ctc import CTCPrefixSearcher
from toolkit.decoders.ctc_fusion import CTCFusion
from toolkit.decoders.pyctcdecode import build_ctcdecoder
from toolkit.metrics.error_rate import ErrorRate, word_errors
from toolkit.models.arpa import load_ngram, write_arpa
from toolkit.models.kneser_ney import train_ngram
from toolkit.models.ngram_lm import NgramLM

TEXT = Path(__file__).parents[2] / "shared/data/librispeech_text"
LABELS = ["", " ", "'", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "1", "2", "3"]  # the last three are in no word: 32
PIECES = ["▁" if label == " " else label for label in LABELS]
PEAKY, SOFT = 6.0, 3.5  # the likeliest token of a frame has 98 % and 88 % on average
Decode = Callable[[], list[str]]


def rows(quick: bool) -> Iterator[Row]:
    """The rows of CTC search; ``quick`` leaves those out whose peers take minutes."""
    if not TEXT.exists():
        print(f"CTC is left out: {TEXT} is not here, of which its posteriors are made", file=sys.stderr)
        return
    if find_spec("flashlight") is None:
        raise SystemExit("a peer of the CTC rows is missing: pip install flashlight-text")
    torch.manual_seed(0)
    logging.disable(logging.WARNING)
    for name, frames in {"peaky": spoken(PEAKY, 8, 300)[0], "flat": noise(8, 300, 2.0)}.items():
        yield from without_lm(name, frames, quick)
    for name, clarity, goal in (("peaky", PEAKY, 6.0), ("soft", SOFT, 15.0)):
        yield from with_words(name, clarity, goal, 8)
    yield from with_characters(8)
    if not quick:
        yield from near_uniform()
        yield from characters_in_tensors()


def without_lm(name: str, frames: list[Tensor], quick: bool) -> Iterator[Row]:
    """CTC alone, beam 100."""
    ours = searched(frames, preset="pyctcdecode")

    def likely(mine: list[str], other: list[str]) -> bool:
        return log_probability(mine, frames) >= log_probability(other, frames) - 1e-3

    title = f"CTC 8 x 300 x 32, beam 100, no LM, {name}"
    yield compare(title, ours, flashlight(frames, None), peer_name="flashlight", goal=3, same=likely)
    if not (quick and name == "flat"):  # which takes SpeechBrain a minute
        yield compare(title, ours, speechbrain(frames), peer_name="SpeechBrain", goal=20, same=likely)


def with_words(name: str, clarity: float, goal: float, count: int) -> Iterator[Row]:
    """A word 4-gram, beam 100."""
    frames, texts = spoken(clarity, count, 500)
    decoder = build_ctcdecoder(LABELS, str(arpa()))
    arrays = [one.numpy() for one in frames]

    def ours() -> list[str]:
        return decoder.decode_batch(None, arrays)

    title = f"CTC + word 4-gram, beam 100, {name}, {count} utterances"
    peers = {"pyctcdecode": (pyctcdecode(frames), goal), "flashlight, lexicon": (flashlight(frames, arpa()), 5.0)}
    for peer_name, (peer, wanted) in peers.items():
        note = word_error_note(texts, ours(), peer())
        same = no_more_errors(texts)
        yield compare(title, ours, peer, peer_name=peer_name, goal=wanted, same=same, note=note)


def with_characters(count: int) -> Iterator[Row]:
    """A character 6-gram at beam 16, against the peers with their word 4-gram."""
    frames, texts = spoken(SOFT, count, 500)
    fusion = CTCFusion(tokenizer=PIECES, token_ngram=characters(), token_weight=0.8)
    ours = searched(frames, fusion=fusion, preset="pyctcdecode", beam_size=16)
    title = f"CTC + character 6-gram, beam 16, soft, {count} utterances"
    for name, peer in {"pyctcdecode": pyctcdecode(frames), "flashlight, lexicon": flashlight(frames, arpa())}.items():
        note, same = word_error_note(texts, ours(), peer()), no_more_errors(texts)
        yield compare(title, ours, peer, peer_name=name, goal=20, same=same, note=note)


def near_uniform() -> Iterator[Row]:
    """What a model says before it is trained, 500 frames, beam 100."""
    frames = noise(1, 500, 0.05)
    decoder, arrays = build_ctcdecoder(LABELS, str(arpa())), [frames[0].numpy()]

    def likely(mine: list[str], other: list[str]) -> bool:
        return log_probability(mine, frames) >= log_probability(other, frames) - 1e-3

    title = "CTC, near-uniform, 500 frames, beam 100"
    yield compare(
        f"{title} + word 4-gram",
        lambda: decoder.decode_batch(None, arrays),
        pyctcdecode(frames),
        peer_name="pyctcdecode",
        goal=50,
        same=lambda mine, other: bool(mine and other),
        note="noise: there is no right answer",
    )
    ours = searched(frames, preset="pyctcdecode")
    yield compare(title, ours, speechbrain(frames), peer_name="SpeechBrain", goal=50, same=likely)


def characters_in_tensors() -> Iterator[Row]:
    """A character 6-gram as a table on the device, and in compiled code, against looking tokens up by backing off."""
    frames, _ = spoken(SOFT, 20, 500)
    model = NgramLM(Pieces(), 6)
    model.ngram = characters()
    options = {"lm_weight": 0.8, "beam_size": 16, "backend": "tensor"}
    loop = searched(frames, lm=BackOffLoop(), **options)
    ours = {
        "tensors": searched(frames, lm=model, **options),
        "compiled": searched(frames, fusion=CTCFusion(tokenizer=PIECES, token_ngram=characters(), token_weight=0.8)),
    }
    for back_end, search in ours.items():
        title, name = f"CTC + character 6-gram, batch 20, beam 16, {back_end}", "tensors with a back-off loop"
        note = "ours / 20 is one utterance"
        yield compare(title, search, loop, peer_name=name, goal=5, same=list.__eq__, note=note)


class Pieces:
    """The tokenizer of these labels."""

    def pieces(self) -> list[str]:
        """The tokens."""
        return PIECES


class BackOffLoop(nn.Module):
    """The character n-gram without a table: each token of each state looked up by itself."""

    def start(self, rows: int, device: torch.device) -> dict[str, Tensor]:
        """The empty context."""
        return {"context": torch.zeros(rows, dtype=torch.int64, device=device)}

    def step(self, tokens: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The same as NgramLM's."""
        model, ids = characters(), np.array([2, *map(characters().word_id, PIECES[1:])])
        _, context = model.score_many(state["context"].numpy(), ids[tokens.numpy()])
        context = np.where(tokens.numpy() == 0, model.begin, context)
        logps, _ = model.score_many(np.repeat(context, len(ids)), np.tile(ids, len(context)))
        log_probs = torch.from_numpy(logps).float().view(len(tokens), len(ids))
        return log_probs, {"context": torch.from_numpy(context)}


def searched(frames: list[Tensor], **options: object) -> Decode:
    """Our search, as recipes call it."""
    searcher = CTCPrefixSearcher(**options)
    batch, lengths = nn.utils.rnn.pad_sequence(frames, batch_first=True), torch.tensor([len(one) for one in frames])
    return lambda: [as_text(best[0].tokens) for best in searcher(Posteriors(), batch, lengths)]


class Posteriors(nn.Module):
    """A recogniser whose encoder output already is its CTC output."""

    def ctc_log_probs(self, encoded: Tensor) -> Tensor:
        """The same."""
        return encoded


def speechbrain(frames: list[Tensor]) -> Decode:
    """SpeechBrain's CTCBeamSearcher."""
    from speechbrain.decoders.ctc import CTCBeamSearcher

    searcher = CTCBeamSearcher(blank_index=0, vocab_list=LABELS, beam_size=100)
    batch = nn.utils.rnn.pad_sequence(frames, batch_first=True)
    lengths = torch.tensor([len(one) / batch.shape[1] for one in frames])
    return lambda: [best[0].text for best in searcher(batch, lengths)]


def pyctcdecode(frames: list[Tensor]) -> Decode:
    """The decoder of pyctcdecode with kenlm, and its defaults."""
    from pyctcdecode import build_ctcdecoder as build

    with silence():
        decoder = build(LABELS, str(arpa()), unigrams=[word for word in load_ngram(arpa()).words if word[0] != "<"])
    arrays = [one.numpy() for one in frames]
    return lambda: [decoder.decode(array) for array in arrays]


def flashlight(frames: list[Tensor], model: Path | None) -> Decode:
    """The ctc_decoder of torchaudio, with a lexicon where there is a model, of the same beam, weights and pruning."""
    from torchaudio.models.decoder import ctc_decoder

    tokens = ["-", "|", *LABELS[2:]]
    lexicon = None
    if model is not None:
        lexicon = str(Path(tempfile.mkdtemp()) / "lexicon.txt")
        words = [word for word in load_ngram(model).words if word[0] != "<"]
        Path(lexicon).write_text("".join(f"{word} {' '.join(word)} |\n" for word in words))
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


@cache
def sentences() -> list[str]:
    """The sentences of LibriSpeech's train-clean-100, by speaker, so that the last are not those of the first."""
    return [line.split(" ", 1)[1] for line in (TEXT / "train-clean-100.txt").read_text().splitlines()]


@cache
def arpa() -> Path:
    """A word 4-gram."""
    path = Path(tempfile.mkdtemp()) / "words.arpa"
    write_arpa(train_ngram((line.split() for line in sentences()[:12000]), 4), path)
    return path


@cache
def characters() -> object:
    """A character 6-gram."""
    lines = sentences()[:12000]
    return train_ngram((list(line.replace(" ", "▁")) for line in lines), 6, vocabulary=PIECES[1:])


@cache
def spoken(clarity: float, count: int, frames: int) -> tuple[list[Tensor], list[str]]:
    """Log-probabilities (T, 32) of about so many frames each, and the texts that are said in them."""
    draw, texts = np.random.default_rng(0), []
    for line in sentences()[-500::5]:
        text = line[: int(frames / 2.8)].rsplit(" ", 1)[0]
        if len(line) > frames / 2.8 and len(texts) < count:
            texts.append(text)
    return [said(text, clarity, draw) for text in texts], texts


def said(text: str, clarity: float, draw: np.random.Generator) -> Tensor:
    """Frames in which a text is said: each letter once or twice, then blanks, and every tenth letter unclear."""
    path, rivals = [], []
    for letter in text:
        times = [LABELS.index(letter)] * draw.integers(1, 3) + [0] * draw.integers(1, 3)
        rival = draw.integers(2, 29) if draw.random() < 0.1 else times[0]
        path += times
        rivals += [rival if token else 0 for token in times]
    logits = draw.normal(size=(len(path), 32))
    rows = np.arange(len(path))
    logits[rows, rivals] = np.maximum(logits[rows, rivals], clarity + draw.normal(-0.5, 1.0, len(path)))
    logits[rows, path] += clarity
    return torch.from_numpy(logits).log_softmax(-1).float()


def noise(count: int, frames: int, scale: float) -> list[Tensor]:
    """Log-probabilities of nothing in particular."""
    generator = torch.Generator().manual_seed(1)
    return list((scale * torch.randn(count, frames, 32, generator=generator)).log_softmax(-1))


def as_text(tokens: Sequence[int]) -> str:
    """The text of our tokens."""
    return " ".join("".join(LABELS[token] for token in tokens).split())


def log_probability(texts: Sequence[str], frames: Sequence[Tensor]) -> float:
    """Exact CTC log-probability of the texts."""
    total = 0.0
    for text, one in zip(texts, frames, strict=True):
        target = torch.tensor([[LABELS.index(letter) for letter in text]])
        lengths = torch.tensor([len(one)]), torch.tensor([target.shape[1]])
        total -= nn.functional.ctc_loss(one[:, None].double(), target, *lengths, reduction="sum").item()
    return total


def errors(texts: Sequence[str], found: Sequence[str]) -> ErrorRate:
    """Word errors of what was found."""
    return sum(map(word_errors, texts, found), ErrorRate())


def no_more_errors(texts: Sequence[str]) -> Callable[[list[str], list[str]], bool]:
    """Whether our texts have no more errors than the peer's."""
    return lambda mine, other: errors(texts, mine).errors <= errors(texts, other).errors


def word_error_note(texts: Sequence[str], mine: list[str], other: list[str]) -> str:
    """Both word error rates, and how many texts are the same."""
    alike = sum(one == two for one, two in zip(mine, other, strict=True))
    rates = f"WER {errors(texts, mine).rate:.1f} %, theirs {errors(texts, other).rate:.1f} %"
    return f"{rates}; {alike} of {len(texts)} texts the same"
