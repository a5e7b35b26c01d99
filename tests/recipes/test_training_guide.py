"""recipes/TRAINING.md: its lines of YAML are keys that a Brain reads, and every such key stands there."""

from __future__ import annotations

import re
from pathlib import Path

from ruamel.yaml import YAML

from toolkit.brains.base import RecipeBrain
from toolkit.hparams import STANDARD_KEYS
from toolkit.run_options import RUN_OPTIONS

GUIDE = (Path(__file__).parents[2] / "recipes/TRAINING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


def test_every_line_of_yaml_is_a_key_and_every_key_of_training_has_a_line():
    keys = {key for block in BLOCKS for key in YAML().load(block)}
    assert keys - set(STANDARD_KEYS) == set()
    assert RecipeBrain.reads - keys == {"lr_annealing", "lr_schedule"}  # which every recipe shows
    assert len(BLOCKS) > 10


def test_options_of_the_run_that_it_names_are_there():
    named = set(re.findall(r"train\.py hparams/\w+\.yaml .*?--(profile\w+)", GUIDE))
    assert named
    assert named <= set(RUN_OPTIONS)
