"""A browser that shows the page, and what is asked of the page there."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
from fake_engine import FakeEngine

from toolkit.inference.transcript import Transcript
from toolkit.serving.jobs import Job

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Download, Page

RATE = 16000
CONFIDENCES = (0.97, 0.9, 0.42, 0.99, 0.7)  # of the words, over and over
PATIENCE_S = 10.0


class DoubtingEngine(FakeEngine):
    """Is not sure of BROWN and JUMPS."""

    async def transcribe(self, job: Job) -> AsyncIterator[Transcript]:
        async for part in super().transcribe(job):
            words = [
                dataclasses.replace(word, confidence=CONFIDENCES[place % len(CONFIDENCES)])
                for place, word in enumerate(part.words)
            ]
            yield dataclasses.replace(part, words=tuple(words))


def tone(file: Path, seconds: float) -> Path:
    """A file of a tone that swells once a second."""
    time_s = np.arange(round(seconds * RATE)) / RATE
    soundfile.write(file, 0.5 * np.sin(2 * np.pi * 220 * time_s) * np.abs(np.sin(np.pi * time_s)), RATE)
    return file


@contextlib.contextmanager
def chromium(microphone: Path) -> Iterator[Browser]:
    """The browser, whose microphone hears a file over and over."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("there is no chromium on the PATH")
    playwright_api = pytest.importorskip("playwright.sync_api")
    flags = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=[*flags, f"--use-file-for-fake-audio-capture={microphone}"]
        )
        yield browser
        browser.close()


class Desk:
    """The page, as somebody uses it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.hosts: set[str] = set()
        self.complaints: list[str] = []
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        page.on("websocket", lambda socket: self.hosts.add(urlsplit(socket.url).netloc))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.set_default_timeout(PATIENCE_S * 1000)

    def add(self, *files: Path) -> None:
        """Choose files."""
        self.page.set_input_files("#files", list(files))

    def transcribed(self, *files: Path) -> None:
        """Choose files, and wait until the first is transcribed."""
        self.add(*files)
        self.page.wait_for_selector('#work[data-state="done"]')

    @property
    def text(self) -> str:
        """What the transcript says."""
        return self.page.inner_text("#transcript")

    @property
    def time(self) -> float:
        """Where the player is."""
        return float(self.page.get_attribute("#waveform", "aria-valuenow") or 0)

    @property
    def states(self) -> list[str]:
        """Of all takes."""
        return [row.get_attribute("data-state") or "" for row in self.page.query_selector_all("#takes li")]

    def marked(self, name: str) -> list[str]:
        """The words that are marked so."""
        return self.page.evaluate("(name) => [...(CSS.highlights.get(name) ?? [])].map(String)", name)

    def center(self, word: str) -> tuple[float, float]:
        """The place of a word on the screen."""
        script = """(word) => {
            const node = document.getElementById("transcript").firstChild;
            const range = new Range();
            range.setStart(node, node.data.indexOf(word));
            range.setEnd(node, node.data.indexOf(word) + word.length);
            const { left, top, width, height } = range.getBoundingClientRect();
            return [left + width / 2, top + height / 2];
        }"""
        return tuple(self.page.evaluate(script, word))

    def download(self, name: str) -> Download:
        """What the button of this name gives."""
        with self.page.expect_download() as download:
            self.page.get_by_role("group", name="Download").get_by_role("button", name=name, exact=True).click()
        return download.value

    def downloaded(self, name: str) -> str:
        """The text that the button of this name gives."""
        return self.download(name).path().read_text(encoding="utf-8")

    def until(self, condition: Callable[[], Any]) -> Any:
        """What the condition says, once that is true; the page's policy lets nobody wait inside of it."""
        end = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            assert time.monotonic() < end, f"in vain; {self.page.inner_text('body')}"
            self.page.wait_for_timeout(20)
        return found
