"""The page and its service: recording, a queue of files, keys, and whatever goes wrong, said in words."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import fake_engine
import pytest
import soundfile
from browser import RATE, Desk
from fake_engine import WORDS, FakeEngine, FakeLive
from served import SAYS, served

from toolkit.inference.transcript import Transcript
from toolkit.serving.jobs import Job
from toolkit.serving.security import hash_of
from toolkit.serving.service_errors import BusyError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

KEY = "asr-a-key-of-the-test"


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context() as context:
        yield context


@contextlib.contextmanager
def desk_at(context: BrowserContext, folder: Path, engine: FakeEngine, **settings: object) -> Iterator[Desk]:
    """The page of a service of its own."""
    with served(folder, engine, **settings) as (host, port):
        desk = Desk(context.new_page())
        desk.page.goto(f"http://{host}:{port}/")
        yield desk


# ---- recording ----


def test_words_come_while_somebody_speaks(
    context: BrowserContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_engine, "PART_S", 2)  # a line of two seconds is quickly said
    engine = FakeEngine()
    with desk_at(context, tmp_path, engine) as desk:
        page = desk.page
        page.get_by_role("button", name="Record").click()
        desk.until(lambda: page.inner_text("#live .partial") == "THE")
        desk.until(lambda: page.inner_text("#live .final").startswith("THE QUICK"))
        desk.until(lambda: page.inner_text("#live .partial").strip() in WORDS)
        colors = [
            page.eval_on_selector(f"#live .{kind}", "(e) => getComputedStyle(e).color") for kind in ("final", "partial")
        ]
        assert colors[0] != colors[1]
        page.click("#stop")
        page.wait_for_selector('#work[data-state="done"]')
        assert desk.text.startswith("THE QUICK BROWN")
        assert engine.jobs == []  # nothing was sent twice
        page.mouse.click(*desk.center("QUICK"))
        assert desk.time == pytest.approx(1, abs=0.1)
        recording = desk.download("Audio")
        assert recording.suggested_filename.startswith("Recording ")
        samples, rate = soundfile.read(recording.path())
        assert rate == RATE
        assert 3 <= len(samples) / rate < 15
        assert 0.3 < abs(samples).max() < 0.7  # the microphone heard the tone
        assert desk.complaints == []


def test_a_recording_that_was_not_heard_is_sent_as_a_file(context: BrowserContext, tmp_path: Path) -> None:
    class Deaf(FakeEngine):
        async def open_live(self, model: str, sample_rate: int) -> FakeLive:  # noqa: ARG002
            raise BusyError("16 sessions are open")

    engine = Deaf()
    with desk_at(context, tmp_path, engine) as desk:
        desk.page.get_by_role("button", name="Record").click()
        desk.until(lambda: "comes when you stop" in desk.page.inner_text("#live"))
        desk.until(lambda: "0:02" in desk.page.inner_text("#facts"))
        desk.page.click("#stop")
        desk.page.wait_for_selector('#work[data-state="done"]')
        assert desk.text.startswith("THE QUICK")
        assert len(engine.jobs) == 1


def test_without_a_microphone_the_page_says_so(context: BrowserContext, tmp_path: Path) -> None:
    with desk_at(context, tmp_path, FakeEngine()) as desk:
        desk.page.evaluate(
            """() => {
                MediaDevices.prototype.getUserMedia = async () => {
                    throw new DOMException("", "NotAllowedError");
                };
            }"""
        )
        desk.page.get_by_role("button", name="Record").click()
        desk.until(lambda: "does not let this page hear the microphone" in desk.page.inner_text("#trouble"))
        assert desk.states == []


# ---- many files ----


class HeldEngine(FakeEngine):
    """Answers when it is let go."""

    def __init__(self) -> None:
        super().__init__(part_seconds=0.01)
        self.free = threading.Event()

    async def transcribe(self, job: Job) -> AsyncIterator[Transcript]:
        async for part in super().transcribe(job):
            while not self.free.is_set():
                await asyncio.sleep(0.01)
            yield part


def test_files_wait_their_turn_and_can_be_taken_back(context: BrowserContext, tmp_path: Path, files: Path) -> None:
    engine = HeldEngine()
    with desk_at(context, tmp_path, engine) as desk:
        desk.add(*[files / "seven.wav"] * 4)
        desk.until(lambda: desk.states == ["transcribing", "transcribing", "waiting", "waiting"])
        cancel = desk.page.get_by_role("button", name="Cancel seven.wav")
        cancel.nth(3).click()
        cancel.nth(0).click()
        desk.until(lambda: len(engine.cancelled) == 1)  # the service hears no longer what nobody waits for
        desk.until(lambda: desk.states == ["cancelled", "transcribing", "transcribing", "cancelled"])
        engine.free.set()
        desk.until(lambda: desk.states == ["cancelled", "done", "done", "cancelled"])
        desk.page.get_by_role("button", name="Retry seven.wav").nth(1).click()
        desk.until(lambda: desk.states == ["cancelled", "done", "done", "done"])
        desk.page.get_by_role("button", name="Remove seven.wav").nth(0).click()
        assert desk.states == ["done", "done", "done"]


def test_an_upload_shows_how_far_it_is(context: BrowserContext, tmp_path: Path, files: Path) -> None:
    with desk_at(context, tmp_path, FakeEngine()) as desk:
        network = context.new_cdp_session(desk.page)
        slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 500_000}
        network.send("Network.emulateNetworkConditions", slow)
        desk.add(files / "seven.wav")
        seen = set()
        while desk.states != ["done"]:
            seen.add(desk.page.inner_text("#takes .state"))
            desk.page.wait_for_timeout(10)
        shares = {int(text.split()[1]) for text in seen if text.startswith("Uploading")}
        assert {share for share in shares if 0 < share < 100}
        assert desk.text == SAYS


def test_the_model_can_be_chosen(context: BrowserContext, tmp_path: Path, files: Path) -> None:
    engine = FakeEngine()
    with desk_at(context, tmp_path, engine) as desk:
        desk.page.get_by_label("Model").select_option("other")
        desk.transcribed(files / "seven.wav")
        assert desk.page.inner_text("#facts").endswith("other")
        desk.page.get_by_label("Model").select_option("tiny")
        desk.page.get_by_role("button", name="Transcribe with tiny").click()
        desk.until(lambda: desk.page.inner_text("#facts").endswith("tiny"))
        assert [job.model for job in engine.jobs] == ["other", "tiny"]


# ---- what goes wrong ----


def test_a_file_that_is_not_audio(context: BrowserContext, tmp_path: Path, files: Path) -> None:
    with desk_at(context, tmp_path, FakeEngine()) as desk:
        desk.add(files / "notes.wav", files / "seven.wav")
        desk.until(lambda: desk.states == ["failed", "done"])
        assert desk.page.inner_text("#notice p") == "This is not audio that can be read."
        assert desk.page.inner_text("#notice small") == "notes.wav: is not audio"
        assert "This is not audio" in desk.page.inner_text("#takes li:first-child")


def test_a_file_that_is_too_large(context: BrowserContext, tmp_path: Path, files: Path) -> None:
    with desk_at(context, tmp_path, FakeEngine(), upload_bytes=100_000) as desk:
        desk.add(files / "seven.wav")
        desk.page.wait_for_selector('#work[data-state="failed"]')
        assert desk.page.inner_text("#notice").startswith("This is more than the service takes at once.")


def test_a_busy_service_is_asked_again(context: BrowserContext, tmp_path: Path, files: Path) -> None:
    engine = FakeEngine()
    engine.full = True
    with desk_at(context, tmp_path, engine) as desk:
        desk.add(files / "seven.wav")
        desk.until(lambda: desk.page.inner_text("#takes .state") == "Busy: tries again in 2 s")
        assert "The service is busy. It is asked again in 2 s." in desk.page.inner_text("#notice")
        engine.full = False
        desk.page.wait_for_selector('#work[data-state="done"]')
        assert desk.text == SAYS


def test_a_service_that_has_stopped_and_comes_back(context: BrowserContext, tmp_path: Path, files: Path) -> None:
    with desk_at(context, tmp_path, FakeEngine()) as desk:
        port = int(desk.page.url.split(":")[2].strip("/"))
    desk.add(files / "seven.wav")
    desk.page.wait_for_selector('#work[data-state="failed"]')
    assert desk.page.inner_text("#notice").startswith("The service cannot be reached.")
    with served(tmp_path, FakeEngine(), port=port):
        desk.page.locator("#retry").click()
        desk.page.wait_for_selector('#work[data-state="done"]')
    assert desk.text == SAYS


def test_a_browser_that_is_offline(context: BrowserContext, tmp_path: Path, files: Path) -> None:
    with desk_at(context, tmp_path, FakeEngine()) as desk:
        context.set_offline(True)
        desk.add(files / "seven.wav")
        desk.page.wait_for_selector('#work[data-state="failed"]')
        assert desk.page.inner_text("#notice").startswith("You are offline.")
        context.set_offline(False)
        desk.page.get_by_role("button", name="Retry", exact=True).click()
        desk.page.wait_for_selector('#work[data-state="done"]')


def test_a_key_is_asked_for_where_there_must_be_one(context: BrowserContext, tmp_path: Path, files: Path) -> None:
    with desk_at(context, tmp_path, FakeEngine(), api_key_hashes=(hash_of(KEY),)) as desk:
        key, use = (
            desk.page.get_by_label("This service wants an API key"),
            desk.page.get_by_role("button", name="Use key"),
        )
        key.fill("asr-another-key")
        use.click()
        desk.until(lambda: desk.page.is_visible("#key-form"))
        desk.add(files / "seven.wav")
        desk.page.wait_for_selector('#work[data-state="failed"]')
        assert desk.page.inner_text("#notice").startswith("This service wants an API key.")
        key.fill(KEY)
        use.click()
        desk.page.wait_for_selector('#work[data-state="done"]')  # what had failed for it was sent again
        assert desk.text == SAYS
        assert not desk.page.is_visible("#key-form")
        assert desk.page.evaluate("[Object.values(sessionStorage), Object.values(localStorage)]") == [[KEY], []]
        desk.page.get_by_role("button", name="Record").click()
        desk.until(lambda: desk.page.inner_text("#live .partial") == "THE")
