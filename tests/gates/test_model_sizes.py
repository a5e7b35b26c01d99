"""Every recogniser can be built at the size that its YAML has, and is as large as its README says.

The other gates train small ones. Here no weights are made: torch's device "meta" has shapes alone.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from disk import ROOT, recipe_folders, yaml_files

from toolkit.collection import script_of
from toolkit.hparams import HparamsDocument

CHARACTERS = 30  # of a tokenizer whose text decides how many there are


def _is_whole(path: Path) -> bool:
    """Whether a YAML has a recogniser that begins with nothing: no part of it is in another folder."""
    document = HparamsDocument(path)
    return script_of(document) == "train.py" and not {"wav2vec2", "encoder_folder"} & document.data.keys()


def _vocab_size(document: HparamsDocument) -> int | None:
    """The tokens of the recipe's own tokenizer; None where its text decides."""
    folder = Path(document.value("tokenizer_file")).parent
    tokenizers = [HparamsDocument(path) for path in yaml_files(document.path.parents[1])]
    return next((one.value("vocab_size") for one in tokenizers if Path(one.value("output_folder")) == folder), None)


WHOLE = [path for recipe in recipe_folders() for path in yaml_files(recipe) if _is_whole(path)]


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: str(path.relative_to(ROOT)))
def test_model_is_built_at_its_own_size(path: Path):
    document = HparamsDocument(path)
    vocab_size = _vocab_size(document)
    document.override({"vocab_size": vocab_size or CHARACTERS, "features": None})  # these compute as they are built
    document.keep(document.needed_by(["model"]))
    with torch.device("meta"):
        model = document.build()["model"]
    millions = sum(one.numel() for one in model.parameters()) / 1e6
    readme = (path.parents[1] / "README.md").read_text(encoding="utf-8")
    named = re.findall(rf"`{path.name}`[^`\n]*?([\d.]+) M\b", readme)
    if isinstance(vocab_size, int):
        assert named == [f"{millions:.{len(one.partition('.')[2])}f}" for one in named]
