"""Whether the files that a configuration names are still what they were."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from toolkit.dataio.config_values import load_yaml
from toolkit.dataio.nemo_adapters import expand_sharded_filepaths

# What the tools write themselves into a folder of data.
_OWN = (".index.npz", ".unfinished.json")


def stamp_of(config: Mapping[str, Any]) -> str:
    """A digest of names, sizes and times of change of the files of a configuration, YAMLs that it names included.

    Of a folder those are the files in it, and all ``*.txt`` below, which may be transcripts.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(set(_files(config))):
        status = path.stat()
        digest.update(f"{path}\n{status.st_size}\n{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _files(value: Any) -> Iterator[Path]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key == "input_cfg" and isinstance(inner, (str, Path)):
                yield Path(inner)
                yield from _files(load_yaml(key, inner))
            elif key != "data_root":  # of audio
                yield from _files(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _files(inner)
    elif isinstance(value, (str, Path)):
        for name in expand_sharded_filepaths(value):
            yield from _files_at(name)


def _files_at(name: str) -> Iterator[Path]:
    # Any text may come here: pathlib raises where it is too long for a name.
    if os.path.isfile(name):  # noqa: PTH113
        yield Path(name)
    elif os.path.isdir(name):  # noqa: PTH112
        for path in (*Path(name).iterdir(), *Path(name).rglob("*.txt")):
            if path.is_file() and not path.name.startswith(".") and not path.name.endswith(_OWN):
                yield path
