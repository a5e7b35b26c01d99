"""A model of any kind, by what its folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toolkit.inference.huggingface import CONFIG_FILE, HuggingFaceCTC
from toolkit.inference.sources import find_folder
from toolkit.inference.transcriber import Transcriber
from toolkit.pretrained import HPARAMS_FILE


def load_transcriber(
    source: str | Path, savedir: str | Path | None = None, *, revision: str | None = None, **options: Any
) -> Transcriber:
    """The transcriber of a folder or hub name: of a run, of `asr export`, of SpeechBrain, or of transformers.

    Options are those of `Transcriber.from_hparams`, and so is what is raised.
    """
    folder = find_folder(source, savedir, revision)
    of_transformers = (folder / CONFIG_FILE).is_file() and not (folder / HPARAMS_FILE).is_file()
    return (HuggingFaceCTC if of_transformers else Transcriber).from_hparams(folder, **options)
