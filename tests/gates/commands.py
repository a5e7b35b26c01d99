"""Command lines of READMEs, docstrings and YAML files, checked without running them.

A reader follows them from folder to folder::

    cd asr-recipes                                                  # the project
    make demo                                                       # a target of the Makefile
    asr new digits && cd digits                                     # the template
    python train.py hparams/ctc.yaml --lr 0.001                     # a script, a YAML that is its own, and a key of it
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from disk import ROOT, is_made

from toolkit.cli.data import COMMANDS as DATA_COMMANDS
from toolkit.cli.main import COMMANDS, main
from toolkit.collection import PLACES, script_of
from toolkit.errors import ConfigError
from toolkit.hparams import HparamsDocument
from toolkit.run_options import RUN_OPTION_DEFAULTS

# python train.py ..., .venv/bin/python ..., OMP_NUM_THREADS=1 nice -n 19 torchrun ...
COMMAND = re.compile(r"(?:\w+=\S+ |nice (?:-n \d+ )?|time )*((?:\S*/)?(?:python3?|torchrun|asr|make|cd) .*)")


class Reader:
    """Follows the commands of one text: where they lead, and what they name that is not there."""

    def __init__(self, folder: Path) -> None:
        self.homes = (ROOT, folder)
        self.folder: Path | None = folder  # None: out of the project
        self.places = {"asr-recipes": ROOT}

    def problems(self, line: str) -> Iterator[str]:
        """What is wrong with a line."""
        code = re.split(r"(?:^|\s)#", line.strip().removeprefix("$ "))[0]
        for command in re.split(r"&&|;|\|", code):
            found = COMMAND.fullmatch(command.strip())
            if found and self.folder:
                program, *words = shlex.split(found[1])
                read = getattr(self, f"_{Path(program).name.removesuffix('3')}")
                yield from (f"`{line.strip()}`: {problem}" for problem in read(words))

    def _cd(self, words: list[str]) -> Iterator[str]:
        target = self.places.get(words[0], self.folder / words[0]).resolve()
        inside = any(target.is_relative_to(home) for home in self.homes)
        if inside and not target.is_dir():
            yield f"there is no folder {words[0]}"
        self.folder = target if inside else None

    def _make(self, words: list[str]) -> Iterator[str]:
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        yield from (f"the Makefile has no {word}" for word in words if "=" not in word and word not in targets)

    def _asr(self, words: list[str]) -> Iterator[str]:
        words = [word for word in words if not word.startswith("[")]
        if not words or words[0].isupper() or words[0] == "--version":
            return
        if words[0] not in COMMANDS:
            yield f"asr has no command {words[0]}"
            return
        if words[0] == "new":
            source = words[words.index("--from") + 1] if "--from" in words else "asr"
            place = next((ROOT / top / source for top in PLACES if (ROOT / top / source).is_dir()), None)
            if place is None:
                yield f"there is no recipe or template {source}"
            self.places["".join(words[1:2])] = place or ROOT
        command = words[: 2 if words[0] == "data" else 1]
        if command[0] == "data" and command[-1] not in ("data", *DATA_COMMANDS):
            yield f"asr data has no command {command[-1]}"
        else:
            yield from _unknown_options(words, _help(command))

    def _torchrun(self, words: list[str]) -> Iterator[str]:
        return self._python(words[next(place for place, word in enumerate(words) if word.endswith(".py")) :])

    def _python(self, words: list[str]) -> Iterator[str]:
        if words[:2] == ["-m", "toolkit"]:
            yield from self._asr(words[2:])
        elif words[0].endswith(".py"):
            named = [word for word in words if word.endswith((".py", ".yaml"))]
            missing = [word for word in named if not (self.folder / word).is_file()]
            yield from (f"there is no {word}" for word in missing if not is_made(Path(word).parts[0]))
            if not missing:
                yield from self._script(*words)

    def _script(self, script: str, *words: str) -> Iterator[str]:
        """Each option is one of the script, or a key of the YAML, which has to be for this script."""
        if words and words[0].endswith(".yaml"):
            try:
                document = HparamsDocument(self.folder / words[0])
            except ConfigError as error:
                yield str(error)
                return
            if script_of(document) != Path(script).name:
                yield f"{words[0]} is for {script_of(document)}"
            options = [f"--{name}" for name in (*document.data, *RUN_OPTION_DEFAULTS)]
            yield from _unknown_options(words, " ".join(options))
        else:
            yield from _unknown_options(words, (self.folder / script).read_text(encoding="utf-8"))


def _help(command: list[str]) -> str:
    """What ``asr COMMAND --help`` prints."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        main([*command, "--help"])
    return shown.getvalue()


def _unknown_options(words: list[str] | tuple[str, ...], known: str) -> Iterator[str]:
    named = [word.partition("=")[0] for word in words if word.startswith("--")]
    yield from (f"no option {name}" for name in named if name != "--help" and not re.search(rf"{name}\b", known))


def find_broken_commands(text: str, folder: Path) -> list[str]:
    """What is wrong with the commands of a docstring or a comment, read in that folder."""
    reader = Reader(folder)
    lines = re.findall(r"(?<!\w)((?:\.venv/bin/)?(?:python3?|torchrun) [^`\n]*\.py\b[^`\n]*)", text)
    return [problem for line in lines for problem in reader.problems(line)]
