"""What is installed with the package: recipes/, templates/ and pretrained/."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from toolkit.errors import ExperimentError

MARK = "templates/asr"  # another package may have a folder templates/


def shipped(name: str | Path) -> Path:
    """Where a file or folder of the project is: in a checkout beside the package, else where the wheel put it.

    Raises
    ------
    ExperimentError
        The package was installed without such files.
    """
    for folder in (Path(__file__).parent.parent, *_installed()):
        if (folder / MARK).is_dir():
            return folder / name
    raise ExperimentError(f"{name}: not installed with this package; install asr-recipes again, with pip")


def _installed() -> list[Path]:
    schemes = (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user"))
    return [Path(sysconfig.get_path("data", scheme)) / "share/asr-recipes" for scheme in schemes]
