"""What tests of preparations build miniature corpora of, and read their manifests with."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import soundfile

from toolkit.dataio.corpus import Corpus

RECIPES = Path(__file__).parents[1] / "recipes"
CONTAINERS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".sph": ("NIST", "PCM_16"),
}


def load_prepare(recipe: str) -> ModuleType:
    """The preparation script of a recipe."""
    path = next((RECIPES / recipe).glob("*_prepare.py"))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sing(path: Path, seconds: float = 0.25, sample_rate: int = 16000) -> np.ndarray:
    """Write a tone that rises from 200 Hz, so that each moment sounds like no other; returns its samples."""
    times = np.arange(round(seconds * sample_rate)) / sample_rate
    tone = np.sin(2 * np.pi * times * (200 + 900 * times / seconds)) / 2
    path.parent.mkdir(parents=True, exist_ok=True)
    container, subtype = CONTAINERS[path.suffix]
    soundfile.write(path, tone, sample_rate, format=container, subtype=subtype)
    return tone


def spoken(manifest: Path) -> dict[str, str]:
    """The words of each utterance of a manifest, read as training reads it."""
    return {cut.id: cut.supervisions[0].text for cut in read_cuts(manifest)}


def read_cuts(manifest: Path) -> list:
    """The cuts of a manifest."""
    return list(Corpus.of("it", {"manifest_filepath": str(manifest)}).examples)
