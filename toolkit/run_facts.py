"""What a run is, on what it was trained and how long it took: ``run.json`` in its folder, of which tables are made.

::

    {"commands": ["train.py hparams/ctc.yaml"], "commit": "3d6fdf3...", "versions": {"python": "3.11.2", ...},
     "seed": 1, "parameters": 1126352, "hardware": "AMD EPYC 7B13", "processes": 1, "threads": 2,
     "epochs": 20, "train_hours": 0.764, "wall_seconds": 1313.5}
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from toolkit.files import write_atomically

FACTS_FILE = "run.json"
PACKAGES = ("torch", "torchaudio", "speechbrain", "lhotse")


class RunFacts:
    """The facts of a folder, with the seconds that pass from now on added to those of the run until it was stopped."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.known = folder, read_facts(folder)
        self.began = time.perf_counter() - self.known.get("wall_seconds", 0.0)

    def update(self, **facts: Any) -> None:
        """Write what is known by now."""
        self.known |= facts | {"wall_seconds": round(time.perf_counter() - self.began, 1)}
        write_facts(self.folder, self.known)


def read_facts(folder: Path) -> dict[str, Any]:
    """The facts of a run; none of a folder without."""
    try:
        return json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def commands_of(facts: Mapping[str, Any]) -> list[str]:
    """The commands that trained a run, each once; the first facts that were written had the last one only."""
    return facts.get("commands") or [facts[key] for key in ("command",) if key in facts]


def write_facts(folder: Path, facts: dict[str, Any]) -> None:
    """Write the facts of a run in place of those that were there."""
    write_atomically(folder / FACTS_FILE, json.dumps(facts, indent=1) + "\n")


def versions() -> dict[str, str]:
    """Of Python and of the packages that figures depend on."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}}


def hardware(device: str) -> str:
    """The name of a GPU, or of this machine's CPU."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
