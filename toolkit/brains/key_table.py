"""The table of the standard keys of a YAML: what each is, and which method needs or reads it."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any

from toolkit.declarations import GENERAL_KEYS, TOKENIZER_KEYS
from toolkit.hparams import STANDARD_KEYS

NEEDED, READ = "**needed**", "read"
BASES = ("RecipeBrain", "ASRBrain")  # what the others are made of

HEAD = """\
# Keys of a YAML

What the toolkit and the scripts read by name, made by `asr list --keys > recipes/KEYS.md` of `STANDARD_KEYS` and
what each Brain says that it needs and reads. Any other key is yours: another one refers to it (`!ref <n_mels>`), or it
is an error, as is a key that the Brain does not read. All can be set on the command line (`--lr 0.001`). The keys of a
data set, inside `train_data`, are in [config.py](../toolkit/dataio/config.py); `asr check` finds what is wrong with it.
"""


def brains() -> dict[str, type[Any]]:
    """The Brains that a YAML may name, which say what they need, by their names."""
    here = str(Path(__file__).parent)
    modules = (importlib.import_module(f"toolkit.brains.{one.name}") for one in pkgutil.iter_modules([here]))
    return {
        name: value
        for module in modules
        for name, value in sorted(vars(module).items())
        if isinstance(value, type) and value.__module__ == module.__name__ and hasattr(value, "needs")
        if name not in BASES
    }


def key_table() -> str:
    """The table as Markdown, a row for each of `STANDARD_KEYS`."""
    readers = brains()
    lines = [HEAD, "| key | what it is | tokenizer |" + "".join(f" {name} |" for name in readers)]
    lines.append("|---|---|" + "---|" * (1 + len(readers)))
    for key, meaning in STANDARD_KEYS.items():
        cells = [_of_tokenizer(key), *(_of_brain(key, one) for one in readers.values())]
        lines.append(f"| `{key}` | {meaning} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _of_brain(key: str, brain: type[Any]) -> str:
    return NEEDED if key in brain.needs else READ if key in brain.reads | GENERAL_KEYS else ""


def _of_tokenizer(key: str) -> str:
    needed = {"output_folder", *TOKENIZER_KEYS}
    return NEEDED if key in needed else READ if key == "seed" else ""
