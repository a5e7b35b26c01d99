"""A corpus of tones for tests and gates: every word a chord of its own, no synthesiser, ready in a blink.

    manifests = make_tone_corpus(tmp_path)        # {"train": tmp_path/manifests/train.json, "valid": ..., "test": ...}

A sentence is ``DO SOL MI``: two to five chords of 0.15 to 0.25 s with silence between, by a speaker who has a pitch and
a timbre of its own. Words are of two or three letters, so that even encoders of stride 8 have a frame for each.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile

from toolkit.dataio.prepare import Utterance, describe_audio, write_splits
from toolkit.files import write_atomically

SAMPLE_RATE = 16000
WORDS = ("DO", "DI", "RE", "RI", "MI", "FA", "FI", "SOL", "SI", "LA", "LI", "TI")

# A word is a low tone and a high one, as on a telephone's keypad.
LOW_HZ = (350, 550, 850)
HIGH_HZ = (1300, 1800, 2500, 3400)

# Pitch and loudness of the overtones; no speaker of valid or test is in train.
SPEAKERS = {
    "train": {"flute": (1.0, 0.0), "horn": (0.96, 0.4), "harp": (1.04, 0.2)},
    "valid": {"oboe": (0.98, 0.3)},
    "test": {"viola": (1.02, 0.1)},
}

LM_SENTENCES = 50


def make_tone_corpus(folder: str | Path, utterances: int = 12, seed: int = 0) -> dict[str, Path]:
    """Manifests by split, and the texts of the language model as ``lm_train`` and ``lm_valid``.

    ``utterances`` is the size of train; valid and test have a third of it, two at least. Audio is 16 kHz FLAC below
    ``folder/wav``, the rest in ``folder/manifests``. The same seed makes the same corpus.
    """
    folder, rng = Path(folder), np.random.default_rng(seed)
    sizes = {"train": utterances, "valid": max(2, utterances // 3), "test": max(2, utterances // 3)}
    splits = {split: _make_split(folder, split, size, rng) for split, size in sizes.items()}
    manifests = folder / "manifests"
    write_splits(manifests, splits, data_root=folder)
    more = [one["words"] for one in splits["train"].values()] + [_draw_words(rng) for _ in range(LM_SENTENCES)]
    write_atomically(manifests / "lm_train.txt", "".join(f"{words}\n" for words in more))
    return {split: manifests / f"{split}.json" for split in splits} | {
        name: manifests / f"{name}.txt" for name in ("lm_train", "lm_valid")
    }


def _make_split(folder: Path, split: str, size: int, rng: np.random.Generator) -> dict[str, Utterance]:
    return dict(_make_utterance(folder, split, number, rng) for number in range(size))


def _make_utterance(folder: Path, split: str, number: int, rng: np.random.Generator) -> tuple[str, Utterance]:
    speaker = list(SPEAKERS[split])[number % len(SPEAKERS[split])]
    name, words = f"{split}-{speaker}-{number:03d}", _draw_words(rng)
    path = folder / "wav" / f"{name}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    flac = io.BytesIO()  # in memory: for a file, soundfile waits until the disk has it
    soundfile.write(flac, play(words, *SPEAKERS[split][speaker], rng), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    path.write_bytes(flac.getvalue())
    return name, {**describe_audio(path, folder), "words": words, "speaker": speaker}


def _draw_words(rng: np.random.Generator) -> str:
    return " ".join(rng.choice(WORDS, size=rng.integers(2, 6)))


def play(words: str, pitch: float, overtones: float, rng: np.random.Generator) -> np.ndarray:
    """Samples (S,) float64 of a sentence: silence, then each word's chord and a silence, over a faint noise."""
    pieces = [_silence(rng)]
    for word in words.split():
        pieces += [_chord(WORDS.index(word), pitch, overtones, rng.uniform(0.15, 0.25)), _silence(rng)]
    tones = np.concatenate(pieces)
    return tones + 0.001 * rng.standard_normal(len(tones))


def _chord(word: int, pitch: float, overtones: float, seconds: float) -> np.ndarray:
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tones = (LOW_HZ[word // len(HIGH_HZ)] * pitch, HIGH_HZ[word % len(HIGH_HZ)] * pitch)
    chord = sum(np.sin(2 * np.pi * hz * time) + overtones * np.sin(4 * np.pi * hz * time) for hz in tones)
    return 0.15 * chord * np.hanning(len(time)) ** 0.25  # faded in and out: no clicks


def _silence(rng: np.random.Generator) -> np.ndarray:
    return np.zeros(round(rng.uniform(0.05, 0.1) * SAMPLE_RATE))
