"""A Dockerfile, and its steps carried out without Docker: in a folder that stands for the image's ``/``.

As much of Docker as the Dockerfiles beside this file use. The base image's part is played by this machine: its Linux,
and a Python of it that is called ``python``.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import NamedTuple

IGNORE_FILE = ".dockerignore"


class Step(NamedTuple):
    """``COPY toolkit toolkit``: its word, and the rest of the line."""

    word: str
    rest: str


def read_steps(file: Path) -> list[Step]:
    """The steps of a Dockerfile, each of one line."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Step(*line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def expanded(text: str, values: Mapping[str, str]) -> str:
    """The text with ``$NAME`` and ``${NAME}`` as Docker replaces them."""
    return Template(text).safe_substitute(values)


def pairs_of(text: str, values: Mapping[str, str]) -> dict[str, str]:
    """``PATH=/venv/bin:$PATH HOME=/tmp`` as a mapping."""
    return {name: expanded(value, values) for name, _, value in (one.partition("=") for one in shlex.split(text))}


def split_copy(text: str) -> tuple[str | None, list[str], str]:
    """``--link --from=build /venv /venv``: the stage, the sources and the destination."""
    words = text.split()
    stage = next((word.partition("=")[2] for word in words if word.startswith("--from=")), None)
    *sources, to = (word for word in words if not word.startswith("--"))
    return stage, sources, to


def is_ignored(path: str, patterns: list[str]) -> bool:
    """Whether the last pattern that fits a path of the context, or a folder that it is in, leaves it out."""
    parts, ignored = path.split("/"), False
    above = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    for pattern in patterns:
        fits = re.escape(pattern.removeprefix("!")).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        if any(re.fullmatch(fits, one) for one in above):
            ignored = not pattern.startswith("!")
    return ignored


def ignore_patterns(context: Path) -> list[str]:
    """The lines of .dockerignore that are no comments."""
    lines = (context / IGNORE_FILE).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@dataclass
class Stage:
    """What steps made so far, and what the next ones find."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    said: dict[str, str] = field(default_factory=dict)  # USER, CMD ...


class Image:
    """What the steps of a Dockerfile make.

    Parameters
    ----------
    context
        The folder that ``COPY`` takes files of.
    place
        An empty folder to work in.
    arguments
        The values of ``--build-arg``; the image of one may be the name of a folder.
    python
        What ``python`` is in the place of the base image's.
    """

    def __init__(self, context: Path, place: Path, arguments: Mapping[str, str], python: str) -> None:
        self.context, self.place, self.given = context, place, dict(arguments)
        self.root = place / "image"
        self.arguments: dict[str, str] = {}
        self.stages: dict[str, Stage] = {}
        self.stage = Stage(self.root)
        self.folders = {"tmp"}  # at the top of the image
        base = place / "base"
        base.mkdir()
        (base / "python").symlink_to(python)
        (base / "pip").write_text(f'#!/bin/sh\nexec {sys.executable} -m pip "$@"\n')
        (base / "pip").chmod(0o755)
        self.path = f"{base}:/usr/local/bin:/usr/bin:/bin"

    def build(self, file: Path) -> None:
        """Carry out all steps of a Dockerfile."""
        steps = read_steps(file)
        paths = [word for step in steps if step.word in ("COPY", "WORKDIR") for word in step.rest.split()]
        self.folders |= {path.split("/")[1] for path in paths if re.match("/.", path)}
        for step in steps:
            print(f"{step.word} {step.rest}", flush=True)
            getattr(self, f"_{step.word.lower()}", self._say)(step.rest)
            self.stage.said[step.word] = step.rest
        (self.root / "tmp").mkdir(mode=0o1777, exist_ok=True)
        (self.root / "tmp").chmod(0o1777)

    def inside(self, text: str) -> str:
        """A text in which absolute paths lead into the folder of the image."""
        names = "|".join(map(re.escape, sorted(self.folders)))
        return re.sub(rf"(?<![\w./-])/(?=({names})\b)", f"{self.root}/", text)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that a container has."""
        return self.stage.environment

    def command(self) -> list[str]:
        """What a container runs."""
        return [self.inside(word) for key in ("ENTRYPOINT", "CMD") for word in json.loads(self.stage.said[key])]

    def health_check(self) -> list[str]:
        """What tells whether it is healthy."""
        return [self.inside(word) for word in json.loads(self.stage.said["HEALTHCHECK"].partition("CMD ")[2])]

    def user(self) -> dict[str, int]:
        """Whose a container's processes are."""
        user, _, group = self.stage.said["USER"].partition(":")
        return {"user": int(user), "group": int(group), "extra_groups": ()}

    def _say(self, rest: str) -> None:
        """Keep it for the container."""

    def _arg(self, rest: str) -> None:
        name, _, default = rest.partition("=")
        self.arguments[name] = self.given.get(name, default)

    def _from(self, rest: str) -> None:
        base, _, name = expanded(rest, self.arguments).partition(" AS ")
        if self.root.exists():
            self.stage.folder = self.place / f"stage{len(self.stages)}"
            self.root.rename(self.stage.folder)
        before = self.stages.get(base) or Stage(Path(base))
        self.root.mkdir()
        for path, inner in files_of(before.folder) if before.folder.is_dir() else ():
            place_file(path, self.root / inner, link=base in self.stages)
        self.stage = Stage(self.root, {"PATH": self.path} | before.environment, before.workdir)
        self.stages[name or "final"] = self.stage

    def _env(self, rest: str) -> None:
        self.stage.environment |= pairs_of(self.inside(rest), self.stage.environment | self.arguments)

    def _workdir(self, rest: str) -> None:
        self.stage.workdir = rest
        Path(self.inside(rest)).mkdir(parents=True, exist_ok=True)

    def _copy(self, rest: str) -> None:
        stage, sources, to = split_copy(rest)
        target = self.root / str(Path(self.stage.workdir, to)).lstrip("/")
        home = self.stages[stage].folder if stage else self.context
        ignored = [] if stage else ignore_patterns(home)
        for source in sources:
            for path, inner in files_of(home / source.lstrip("/")):
                into = target / (inner or Path(source).name) if inner or to.endswith("/") else target
                if not is_ignored(path.relative_to(home).as_posix(), ignored):
                    place_file(path, into, link=bool(stage))

    def _run(self, rest: str) -> None:
        # pip may take what this machine has downloaded before
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        said = {name: value for name, value in self.environment.items() if name != "PIP_NO_CACHE_DIR"}
        folder = self.inside(self.stage.workdir) if self.stage.workdir != "/" else self.root
        subprocess.run(["sh", "-ec", self.inside(rest)], cwd=folder, env=kept | self.arguments | said, check=True)


def files_of(path: Path) -> Iterator[tuple[Path, str]]:
    """A file with ""; of a folder its files and links, with their names in it."""
    if not path.is_dir():
        yield path, ""
        return
    for folder, folders, names in os.walk(path):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in (*names, *links):
            yield Path(folder, name), os.path.relpath(Path(folder, name), path)


def place_file(path: Path, to: Path, *, link: bool) -> None:
    """Put a file into a stage, in the place of what is there; a link to it where both are of stages."""
    to.parent.mkdir(parents=True, exist_ok=True)
    to.unlink(missing_ok=True)
    if path.is_symlink():
        to.symlink_to(path.readlink())
    elif link:
        os.link(path, to)
    else:
        shutil.copy2(path, to)
