"""READMEs: what they tell the reader to type works, what they link to and draw is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from itertools import takewhile
from pathlib import Path

import pytest
from commands import Reader
from disk import ROOT, files, is_made, setup_argument

from toolkit import __version__

FENCE = re.compile(r"^ *```\w*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
# Not in fences: `python demo.py`, and toolkit/errors.py of `toolkit/errors.py`.
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
EXTRAS = re.compile(r"(?:asr-recipes|['\"\s]\.)\[([\w,]+)\]|extra \[(\w+)\]")
# What somebody meant to fill in: such a word alone on its line, or a mark of unfinished work.
PLACEHOLDER = re.compile(r"^[A-Z0-9]+(?:_[A-Z0-9]+)+$|\b(?:TODO|FIXME|XXX)\b", re.MULTILINE)
# Lines of a tree: "├── hparams/   the experiments", "  text.py  tokenizer.py  normalisation; ...", "LICENSE (Apache)"
BRANCH = re.compile(r"^([\s│├└─|`-]*)(\S.*)$")
ENTRY = re.compile(r"[\w./*-]*(?:\.\w+|\*|/)|\.\.\.|LICENSE|Makefile|\.ci/run")


def find_bad_readmes(folder: Path) -> list[str]:
    """What is wrong with the Markdown files of a folder and those below it."""
    found = [f"{path.relative_to(folder)}: {problem}" for path in files(folder, "*.md") for problem in _problems(path)]
    recipes = {path.parent.parent for path in files(folder, "*.yaml") if path.parent.name == "hparams"}
    return found + [f"{recipe}: no README.md" for recipe in sorted(recipes) if not (recipe / "README.md").is_file()]


def _problems(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    prose = FENCE.sub("", text)
    yield from _command_problems(text, path.parent)
    for block in filter(is_tree, FENCE.findall(text)):
        yield from _tree_problems(block, path.parent)
    yield from (f"no {link}" for link in LINK.findall(prose) if not _resolves(link, path))
    yield from (f"no `{name}`" for name in INLINE.findall(prose) if not _is_there(name, path.parent))
    yield from (f"{word} is to be filled in" for word in PLACEHOLDER.findall(INLINE.sub("", prose)))
    yield from (f"no extra [{extra}]" for extra in _extras(text) - set(setup_argument("extras_require")))
    experiments = path.parent.glob("hparams/*.yaml") if path.name == "README.md" else ()
    yield from (f"says nothing of hparams/{one.name}" for one in experiments if one.name not in text)


def _command_problems(text: str, folder: Path) -> Iterator[str]:
    """A block of commands begins in the README's folder; a command in the text, there or where the last block ended."""
    last = Reader(folder)
    for number, part in enumerate(FENCE.split(text)):
        if number % 2:
            last = Reader(folder)
            yield from (problem for line in part.splitlines() for problem in last.problems(line))
        for command in INLINE.findall(part) if number % 2 == 0 else ():
            typed = [list(Reader(place).problems(command)) for place in (folder, last.folder or folder)]
            yield from min(typed, key=len)


def _resolves(link: str, path: Path) -> bool:
    """Whether a link leads to the web, to a file or to a heading that is there."""
    name, _, anchor = link.partition("#")
    if link.startswith(("https://", "http://", "mailto:")):
        return True
    target = path.parent / name if name else path
    return target.exists() and (not anchor or anchor in _anchors(target.read_text(encoding="utf-8")))


def _anchors(text: str) -> set[str]:
    """Headings as links name them: "## What a change needs" is #what-a-change-needs."""
    headings = re.findall(r"^#+ +(.+?) *$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _is_there(name: str, folder: Path) -> bool:
    """Whether a path in running text, such as `toolkit/errors.py`, is there; other words are."""
    if not re.fullmatch(r"[\w.*-]+(/[\w.*-]+)*/[\w.*-]+\.(py|ya?ml|md|toml)", name) or name.startswith("../"):
        return True
    return any(map(is_made, Path(name).parts)) or any(any(place.glob(name)) for place in (folder, ROOT))


def _extras(text: str) -> set[str]:
    return {extra for names in EXTRAS.findall(text) for name in names for extra in name.split(",") if extra}


def is_tree(block: str) -> bool:
    """Whether a block draws folders: a line names nothing but a folder, or there are branches."""
    return "├──" in block or bool(re.search(r"^ *[\w.-]+/(  |$)", block, re.MULTILINE))


def _tree_problems(block: str, folder: Path) -> Iterator[str]:
    """What a tree shows that is not on disk; and what it lacks of a folder it opens: of one with files, files too."""
    drawn = read_tree(block, folder)
    for place, names in drawn.items():
        written = [name for name in names if not is_made(name.rstrip("/"))]
        if written and place.is_dir():
            yield from (f"tree: no {place / name}" for name in written if not any(place.glob(name.rstrip("/"))))
            only_folders = all(name.endswith("/") for name in written)
            there = {path.name for path in place.iterdir() if path.is_dir() or not only_folders} - {"__init__.py"}
            lacking = (name for name in there if not any(fnmatch(name, one.rstrip("/")) for one in names))
            yield from (f"tree: lacks {place / name}" for name in sorted(lacking) if not is_made(name))


def read_tree(block: str, folder: Path) -> dict[Path, list[str]]:
    """The names that a tree shows in each folder that it opens; one that stands for the README's own folder is that."""
    drawn: dict[Path, list[str]] = {}
    above: list[tuple[int, Path]] = []
    for line in filter(str.strip, block.splitlines()):
        column, content = (len(part) if place == 0 else part for place, part in enumerate(BRANCH.match(line).groups()))
        above = [(left, place) for left, place in above if left < column]
        parent = above[-1][1] if above else folder
        names = _entries(content)
        if not names:
            continue  # more words on the line above
        if not drawn and names[0].rstrip("/") in (folder.name, "asr-recipes", "."):
            above.append((column, folder))
            continue
        for name in names:
            *outer, _ = steps = re.findall(r"[^/]+/?", name)  # recipes/ and AN4/ of recipes/AN4/
            for depth in range(len(steps)):
                drawn.setdefault(parent.joinpath(*outer[:depth]), []).append(steps[depth])
        above += [(column, parent / name) for name in names if name.endswith("/")]
    return drawn


def _entries(content: str) -> list[str]:
    """The names that begin a line: one, or several with nothing between them but space and (remarks)."""
    words = re.sub(r"\([^)]*\)", "", content).split()
    return ["*" if word == "..." else word for word in takewhile(ENTRY.fullmatch, words)]


def test_readmes():
    assert find_bad_readmes(ROOT) == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_the_project_has(name: str):
    assert ROOT / name in files(ROOT, "*.md")


def test_changelog_begins_with_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", changelog, re.MULTILINE)[0] == __version__


def test_messages_name_extras_that_exist():
    named = {extra for path in files(ROOT / "toolkit", "*.py") for extra in _extras(path.read_text(encoding="utf-8"))}
    assert named
    assert named <= set(setup_argument("extras_require"))


def test_placeholders_are_found(tmp_path: Path):
    (tmp_path / "README.md").write_text("LM_MORE\n\n| a | TODO |\n\n`TODO` is no `SNR_DB`, nor is MAX_SIZE one.\n")
    assert find_bad_readmes(tmp_path) == ["README.md: LM_MORE is to be filled in", "README.md: TODO is to be filled in"]


TREE = """\
├── a/               logic
│   ├── b/           y and others
│   │   └── y.py  *.yaml  both
│   └── x.py
├── c.md  LICENSE (free)
"""


def test_trees_are_read(tmp_path: Path):
    for name in ("a/x.py", "a/b/y.py", "a/b/z.yaml", "c.md", "LICENSE"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    right = f"{tmp_path.name}/\n{TREE}"
    assert is_tree(right)
    assert list(_tree_problems(right, tmp_path)) == []
    assert list(_tree_problems(right.replace("y.py  ", ""), tmp_path)) == [f"tree: lacks {tmp_path / 'a/b/y.py'}"]
    assert list(_tree_problems(right.replace("c.md", "d.md c.md"), tmp_path)) == [f"tree: no {tmp_path / 'd.md'}"]
