"""What tests of the page share: recordings, and a browser for each module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import chromium, tone

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings, and of a file that is none."""
    folder = tmp_path_factory.mktemp("files")
    tone(folder / "seven.wav", 7)
    tone(folder / "forty.flac", 40)
    (folder / "notes.wav").write_text("Buy milk.")
    return folder


@pytest.fixture(scope="module")
def browser(files: Path) -> Iterator[Browser]:
    """Chromium; not longer than a module, for it keeps an event loop in this thread."""
    with chromium(files / "seven.wav") as browser:
        yield browser
