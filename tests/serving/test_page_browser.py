"""The page in a real browser: files, playing, editing, downloads, keys, colours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import Desk, DoubtingEngine
from served import SAYS, served

from toolkit.inference.formats import text_of
from toolkit.inference.transcript import Transcript, Word

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("uploads"), DoubtingEngine()) as (host, port):
        yield f"http://{host}:{port}/"


@pytest.fixture
def desk(browser: Browser, service: str) -> Iterator[Desk]:
    """The page, which asks nobody but the service and has nothing to complain of."""
    with browser.new_context() as context:
        desk = Desk(context.new_page())
        desk.page.goto(service)
        yield desk
        assert desk.hosts <= {service.split("/")[2], ""}  # what the user chose has no host
        assert desk.complaints == []


def test_a_file_is_transcribed(desk: Desk, files: Path) -> None:
    desk.transcribed(files / "seven.wav")
    assert desk.text == SAYS
    assert desk.page.inner_text("#takes .state") == "0:07 · 7 words"
    assert desk.page.inner_text("#said") == "seven.wav: 7 words"
    assert desk.page.inner_text("#player output") == "0:00 / 0:07"


def test_files_can_be_dropped(desk: Desk) -> None:
    dropped = desk.page.evaluate_handle(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(["no sound"], "a.wav"));
            return data;
        }"""
    )
    desk.page.dispatch_event("body", "dragover", {"dataTransfer": dropped})
    assert desk.page.get_attribute("body", "data-dropping") == ""
    desk.page.dispatch_event("body", "drop", {"dataTransfer": dropped})
    desk.page.wait_for_selector('#takes [data-state="failed"]')
    assert desk.page.get_attribute("body", "data-dropping") is None
    desk.complaints.clear()  # it was no audio


def test_words_are_lit_up_while_they_play(desk: Desk, files: Path) -> None:
    desk.transcribed(files / "seven.wav")
    desk.page.get_by_role("button", name="Play", exact=True).click()
    for second, word in enumerate(SAYS.split()[:3]):
        desk.until(lambda word=word: desk.marked("spoken") == [word])
        assert second <= desk.time <= second + 1.5
    left, width = desk.page.eval_on_selector("#waveform .word", "(e) => [e.offsetLeft, e.offsetWidth]")
    whole = desk.page.eval_on_selector("#waveform", "(e) => e.offsetWidth")
    assert (left / whole, width / whole) == pytest.approx((2.25 / 7, 0.5 / 7), abs=0.01)
    desk.page.get_by_role("button", name="Pause").click()
    stopped = desk.time
    desk.page.wait_for_timeout(200)
    assert desk.time == stopped


def test_clicks_seek(desk: Desk, files: Path) -> None:
    desk.transcribed(files / "seven.wav")
    desk.page.mouse.click(*desk.center("FOX"))
    assert desk.time == pytest.approx(3.2, abs=0.1)
    assert desk.marked("spoken") == ["FOX"]
    box = desk.page.locator("#waveform").bounding_box()
    desk.page.mouse.click(box["x"] + box["width"] * 5.5 / 7, box["y"] + 5)
    assert desk.time == pytest.approx(5.5, abs=0.1)
    assert desk.marked("spoken") == ["OVER"]


def test_the_waveform_shows_how_loud_it_is(desk: Desk, files: Path) -> None:
    desk.transcribed(files / "seven.wav")
    heights = """() => {
        const canvas = document.querySelector("#waveform canvas");
        const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const filled = (x) => Array.from({ length: height }, (_, y) => data[(y * width + x) * 4 + 3] > 0);
        return Array.from({ length: width }, (_, x) => filled(x).filter(Boolean).length);
    }"""
    drawn = desk.until(lambda: max(found := desk.page.evaluate(heights)) > 20 and found)
    second = len(drawn) / 7
    for k in range(6):  # loud in the middle of each second, quiet between two
        assert max(drawn[int((k + 0.45) * second) : int((k + 0.55) * second)]) > 60
        assert max(drawn[int((k + 0.98) * second) : int((k + 1.02) * second)]) < 30


def test_doubtful_words_are_marked_and_can_be_gone_through(desk: Desk, files: Path) -> None:
    desk.transcribed(files / "seven.wav")
    assert desk.marked("unsure") == ["JUMPS"]
    assert desk.marked("doubtful") == ["BROWN"]
    assert desk.page.inner_text("#legend").split("\n") == ["unsure under 80 %", "doubtful under 50 %"]
    desk.page.mouse.move(*desk.center("BROWN"))
    assert desk.page.get_attribute("#transcript", "title") == "BROWN: 42 % sure, at 0:02.3"
    for word, start in (("BROWN", 2.25), ("JUMPS", 4.25), ("BROWN", 2.25)):
        desk.page.get_by_role("button", name="Next unsure (2)").click()
        assert desk.page.evaluate("String(getSelection())") == word
        assert desk.time == pytest.approx(start, abs=0.06)


def test_edits_keep_times_and_can_be_undone(desk: Desk, files: Path) -> None:
    desk.transcribed(files / "seven.wav")
    desk.page.mouse.dblclick(*desk.center("BROWN"))
    desk.page.keyboard.type("red")
    assert desk.text == SAYS.replace("BROWN", "red")
    desk.until(lambda: desk.marked("doubtful") == [])  # who writes is sure
    desk.page.keyboard.press("End")
    desk.page.keyboard.type(" DOG")
    assert desk.text == SAYS.replace("BROWN", "red") + " DOG"
    desk.page.keyboard.press("Control+z")
    assert desk.text == SAYS.replace("BROWN", "red")
    desk.page.keyboard.type("!")  # the caret is where it was
    assert desk.text == SAYS.replace("BROWN", "red") + "!"
    desk.page.keyboard.press("Control+z")
    desk.page.get_by_role("button", name="Undo").click()
    assert desk.text == SAYS
    assert desk.marked("doubtful") == ["BROWN"]
    desk.page.get_by_role("button", name="Redo").click()
    desk.page.get_by_role("button", name="Done").click()
    words = json.loads(desk.downloaded("JSON"))["words"]
    assert [word["text"] for word in words] == SAYS.replace("BROWN", "red").split()
    assert [word["start"] for word in words] == [second + 0.25 for second in range(7)]
    assert [word["confidence"] for word in words] == [0.97, 0.9, 1, 0.99, 0.7, 0.97, 0.9]


def test_edits_stay_with_their_file(desk: Desk, files: Path) -> None:
    desk.transcribed(files / "seven.wav", files / "forty.flac")
    desk.page.get_by_role("button", name="Edit", exact=True).click()
    desk.page.keyboard.press("End")
    desk.page.keyboard.type("!")
    desk.page.click("#takes li:nth-child(2) .open")
    desk.page.wait_for_selector('#work[data-state="done"]')
    assert len(desk.text.split()) == 40
    assert desk.page.get_by_role("button", name="Undo").is_disabled()
    desk.page.click("#takes li:nth-child(1) .open")
    assert desk.text == f"{SAYS}!"
    desk.page.get_by_role("button", name="Undo").click()
    assert desk.text == SAYS


def test_downloads_have_the_edited_text(desk: Desk, files: Path) -> None:
    desk.transcribed(files / "forty.flac")
    said = desk.text
    desk.page.get_by_role("button", name="Edit", exact=True).click()
    desk.page.keyboard.press("Control+Home")
    desk.page.keyboard.type("Well-known & <true>. ")
    edited = f"Well-known & <true>. {said}"
    answer = json.loads(desk.downloaded("JSON"))
    assert {name: answer[name] for name in ("text", "duration", "model", "file")} == {
        "text": edited,
        "duration": 40,
        "model": "tiny",
        "file": "forty.flac",
    }
    assert " ".join(word["text"] for word in answer["words"]) == edited
    assert [word["start"] for word in answer["words"][3:]] == [second + 0.25 for second in range(40)]
    transcript = Transcript(edited, tuple(Word(**word) for word in answer["words"]), duration=40.0)
    for button, suffix in (("Text", "txt"), ("SRT", "srt"), ("VTT", "vtt")):
        assert desk.downloaded(button) == text_of(transcript, suffix)
        assert desk.download(button).suggested_filename == f"forty.{suffix}"


def test_the_keyboard_is_enough(desk: Desk, files: Path) -> None:
    page, press, asked = desk.page, desk.page.keyboard.press, []
    page.on("filechooser", lambda chooser: asked.append(chooser))
    page.wait_for_selector("#models:not([hidden])")
    names = []
    for _ in range(4):
        press("Tab")
        names.append(page.evaluate("document.activeElement.textContent.trim() || document.activeElement.id"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"  # it shows
    assert [name.split("\n")[0] for name in names] == ["To the transcript", "tinyother", "theme", "Choose files"]
    press("Enter")
    desk.until(lambda: asked)[0].set_files(files / "seven.wav")
    page.wait_for_selector('#work[data-state="done"]')
    page.locator("#waveform").focus()
    press("ArrowRight")
    press("ArrowRight")
    press("ArrowLeft")
    assert desk.time == pytest.approx(2, abs=0.06)
    press("Space")
    desk.until(lambda: desk.time > 2.2)
    press("Space")
    press("End")
    assert desk.time == pytest.approx(7, abs=0.06)
    press("Home")
    page.locator("#transcript").focus()
    press("ArrowRight")  # from word to word
    press("ArrowRight")
    assert desk.marked("spoken") == ["QUICK"]
    press("Enter")
    page.keyboard.type("So ")
    press("Escape")
    press("Space")  # plays: nothing is written any more
    desk.until(lambda: page.get_attribute("#player", "data-playing") == "true")
    assert desk.text == f"So {SAYS}"


def test_dark_and_light(desk: Desk) -> None:
    page = desk.page

    def brightness(element: str) -> float:
        script = "(e) => getComputedStyle(e).backgroundColor.match(/[\\d.]+/g).slice(0, 3).map(Number)"
        return sum(page.eval_on_selector(element, script)) / 3

    for scheme, dark in (("dark", True), ("light", False)):
        page.emulate_media(color_scheme=scheme)
        desk.until(lambda dark=dark: (brightness("html") < 50, brightness("html") > 200) == (dark, not dark))
    switch = page.get_by_role("switch", name="Dark")
    switch.click()
    assert brightness("html") < 50
    page.reload()
    assert brightness("html") < 50
    assert switch.get_attribute("aria-checked") == "true"
    switch.click()
    assert brightness("html") > 200


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_screen(desk: Desk, files: Path, width: int) -> None:
    desk.page.set_viewport_size({"width": width, "height": 800})
    fits = "() => document.documentElement.scrollWidth <= innerWidth"
    assert desk.page.evaluate(fits)
    desk.transcribed(files / "seven.wav")
    assert desk.page.evaluate(fits)


def test_it_works_behind_a_proxy(browser: Browser, files: Path, tmp_path: Path) -> None:
    with served(tmp_path, DoubtingEngine(), root_path="/speech") as (host, port), browser.new_context() as context:
        desk = Desk(context.new_page())
        desk.page.goto(f"http://{host}:{port}/speech/")
        desk.transcribed(files / "seven.wav")
        assert desk.text == SAYS
