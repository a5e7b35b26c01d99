"""Print what the images install beside torch: the versions that the tests of this machine ran with.

    .venv/bin/python docker/requirements.py > docker/requirements.txt

An image that is built again is the same. torch and torchaudio are of an index of their own, with what belongs to a GPU.
"""

from __future__ import annotations

import re
from distutils.core import run_setup
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

EXTRAS = ("serve", "hf", "vad")
OTHERS = re.compile("torch|setuptools|torchaudio|triton|nvidia-.*|cuda-.*")


def main() -> None:
    """Print a line a package."""
    found: dict[str, str] = {}
    for requirement in asked():
        add_version(found, Requirement(requirement))
    print("\n".join(f"{name}=={version}" for name, version in sorted(found.items()) if not OTHERS.fullmatch(name)))


def asked() -> list[str]:
    """What setup.py asks for."""
    ours = run_setup(str(Path(__file__).parents[1] / "setup.py"), stop_after="init")
    return [*ours.install_requires, *(one for extra in EXTRAS for one in ours.extras_require[extra])]


def add_version(found: dict[str, str], requirement: Requirement) -> None:
    """Add the version of a package, and those of what it and its extras need."""
    package, extras = distribution(requirement.name), requirement.extras
    found[as_name(requirement.name)] = package.version
    for other in map(Requirement, package.requires or ()):
        needed = other.marker is None or any(other.marker.evaluate({"extra": extra}) for extra in extras or {""})
        if needed and (as_name(other.name) not in found or other.extras):
            add_version(found, other)


def as_name(name: str) -> str:
    """``HyperPyYAML`` and ``hyperpyyaml`` are one."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main()
