"""Miniature trees as openslr.org/12, /28 and /31 are unpacked, with synthesised audio."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import soundfile

RECIPES = Path(__file__).parents[2] / "recipes"


def script(recipe: str, name: str) -> ModuleType:
    """A script of a recipe as a module."""
    spec = importlib.util.spec_from_file_location(name, RECIPES / recipe / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_audio(path: Path, samples: int = 2000) -> None:
    """A tone of an eighth of a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.sin(np.arange(samples) / 9) / 2, 16000)


def build_librispeech(folder: Path, parts: Mapping[str, Mapping[str, str]]) -> Path:
    """The words of each utterance of each part, and a tone for each."""
    for part, texts in parts.items():
        for name, words in texts.items():
            speaker, chapter, _ = name.split("-")
            place = folder / part / speaker / chapter
            write_audio(place / f"{name}.flac")
            with (place / f"{speaker}-{chapter}.trans.txt").open("a") as lines:
                lines.write(f"{name} {words}\n")
    return folder


def build_openrir(folder: Path) -> Path:
    """Two noises and a response of OpenRIR."""
    write_audio(folder / "pointsource_noises/noise-free-sound-0000.wav")
    for kind in ("noise", "rir"):
        write_audio(folder / f"real_rirs_isotropic_noises/RVB2014_type1_{kind}_largeroom1_1.wav")
    return folder
