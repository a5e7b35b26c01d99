"""Model folders in SpeechBrain's layout with random weights, and the recordings that both sides hear."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import sentencepiece
import soundfile
import torch
from hyperpyyaml import load_hyperpyyaml
from numpy.typing import NDArray

from toolkit.dataio.audio import load_audio

MODELS = Path(__file__).parent / "inference_models"
SPEECH = Path(__file__).parents[2] / "shared/data/LibriSpeech"  # noise where it is absent
RATE = 16000
CERTAIN = 30.0  # what a bias adds to a log-probability that is to be 0


def write_model(folder: Path, name: str) -> Path:
    """A model folder that SpeechBrain's ``from_hparams`` and ours load: ``attention`` or ``ctc``."""
    folder.mkdir(parents=True, exist_ok=True)
    text = (MODELS / f"{name}.yaml").read_text()
    (folder / "hyperparams.yaml").write_text(text)
    torch.manual_seed(0)
    declared = load_hyperpyyaml(text)
    size = declared["output_neurons"]
    with torch.no_grad():
        if "seq_lin" in declared:  # sure of its tokens; SpeechBrain's search may end when it has to, and 0 is no token
            declared["seq_lin"].w.weight *= 4.0
            declared["seq_lin"].w.bias[2], declared["seq_lin"].w.bias[0] = CERTAIN, -CERTAIN
            declared["ctc_lin"].w.bias[0] = 12.0
        else:  # larger weights, so that what is heard changes the tokens
            for parameter in declared["asr_model"].parameters():
                if parameter.dim() > 1:
                    parameter *= 3.0
    torch.save(declared["asr_model"].state_dict(), folder / "asr.ckpt")
    normalizer = declared["normalizer"]
    normalizer.glob_mean, normalizer.glob_std = torch.full((80,), -20.0), torch.full((80,), 15.0)
    normalizer.count = 1
    torch.save(normalizer._statistics_dict(), folder / "normalizer.ckpt")
    write_tokenizer(folder / "tokenizer.ckpt", size)
    return folder


def write_tokenizer(path: Path, size: int) -> None:
    """A SentencePiece model of so many pieces, of words made of syllables."""
    draw = random.Random(size)
    syllables = [a + b for a in "bcdfghklmnprstvz" for b in "aeiou"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(3 * size)]
    texts = (" ".join(draw.choices(words, k=8)) for _ in range(2 * size))
    stream = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=texts, model_writer=stream, vocab_size=size, model_type="bpe", minloglevel=2
    )
    path.write_bytes(stream.getvalue())


def write_files(folder: Path, seconds: list[float], source: Path = SPEECH) -> list[str]:
    """WAV files of these lengths, of speech from the FLAC files of another folder."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = [round(RATE * one) for one in seconds]
    speech = _speech(source, max(samples[0], min(sum(samples), 600 * RATE)))
    paths, start = [], 0
    for number, count in enumerate(samples):
        wav = np.take(speech, range(start, start + count), mode="wrap")
        start += count
        paths.append(str(folder / f"{number}.wav"))
        soundfile.write(paths[-1], wav, RATE, subtype="PCM_16")
    return paths


def _speech(source: Path, samples: int) -> NDArray[np.float32]:
    """Read speech, one utterance after the other, or noise as loud as it."""
    parts: list[NDArray[np.float32]] = []
    for path in sorted(source.rglob("*.flac")):
        if sum(map(len, parts)) >= samples:
            break
        parts.append(load_audio(path, RATE).numpy())
    if not parts:
        parts = [np.random.default_rng(0).normal(scale=0.05, size=samples).astype(np.float32)]
    return np.concatenate(parts)[:samples]
