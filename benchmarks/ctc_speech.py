"""Sentences of LibriSpeech as CTC posteriors with random confusions, n-grams of other sentences, and the errors."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.metrics.error_rate import ErrorRate, word_errors
from toolkit.models.arpa import write_arpa
from toolkit.models.kneser_ney import train_ngram
from toolkit.models.ngram import NgramModel

TEXT = Path(__file__).parents[2] / "shared/data/librispeech_text"
LABELS = ["", " ", "'", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "1", "2", "3"]  # the last three are in no word: 32
PIECES = ["▁" if label == " " else label for label in LABELS]
PEAKY, SOFT = 6.0, 3.5  # the likeliest token of a frame has 98 % and 88 % on average
FRAMES_PER_LETTER = 2.8
FRAMES_PER_SECOND = 50


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
def characters() -> NgramModel:
    """A character 6-gram."""
    lines = sentences()[:12000]
    return train_ngram((list(line.replace(" ", "▁")) for line in lines), 6, vocabulary=PIECES[1:])


@cache
def spoken(clarity: float, count: int, frames: int) -> tuple[list[Tensor], list[str]]:
    """Log-probabilities (T, 32) of about so many frames each, and the texts that are said in them."""
    draw, letters = np.random.default_rng(0), int(frames / FRAMES_PER_LETTER)
    texts = [line[:letters].rsplit(" ", 1)[0] for line in sentences()[-500::5] if len(line) > letters][:count]
    return [said(text, clarity, draw) for text in texts], texts


def spoken_for(seconds: float) -> tuple[list[Tensor], list[str]]:
    """Soft log-probabilities of one utterance of about so many seconds, and its text: sentence after sentence."""
    letters = int(seconds * FRAMES_PER_SECOND / FRAMES_PER_LETTER)
    text = " ".join(sentences()[-500::5])[:letters].rsplit(" ", 1)[0]
    return [said(text, SOFT, np.random.default_rng(0))], [text]


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
