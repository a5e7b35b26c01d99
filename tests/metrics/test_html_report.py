"""The HTML report, as a parser reads it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from toolkit.errors import DataError
from toolkit.metrics import html_report
from toolkit.metrics.alignment import align
from toolkit.metrics.error_rate import ErrorRateTracker
from toolkit.metrics.html_report import Extras, aligned, write_html


class Table(HTMLParser):
    """The texts of the cells of each row, and the attributes of all tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.feed(page[page.index("<table id=utterances>") :])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.split("\nconst table")[0].rstrip("\n")


@pytest.fixture
def tracker() -> ErrorRateTracker:
    tracker = ErrorRateTracker()
    tracker.add("good", "ALL RIGHT", "ALL RIGHT")
    tracker.add("bad", "YES", "")
    tracker.add("<b>odd</b>", "A & B GO", "A & <i> GO NOW")
    return tracker


def test_utterances_stand_worst_first_with_what_is_known_of_them(tracker: ErrorRateTracker, tmp_path: Path) -> None:
    extras = Extras(
        {"bad": "a%20b.wav#t=1.00,2.00", "good": "data:audio/flac;base64,AA=="}, {"speaker": {"bad": "ann"}}
    )
    write_html(tracker, tmp_path / "report.html", "R & D", extras)
    page = (tmp_path / "report.html").read_text()
    table = Table(page)
    assert table.rows[0] == ["Utterance", "speaker", "WER", "Errors", "Words", *table.rows[0][5:]]
    assert [row[:5] for row in table.rows[1:]] == [
        ["bad", "ann", "100", "1", "1"],
        ["<b>odd</b>", "", "50", "2", "4"],
        ["good", "", "0", "0", "2"],
    ]
    sources = [value for tag, name, value in table.attributes if (tag, name) == ("audio", "src")]
    assert sources == ["a%20b.wav#t=1.00,2.00", "data:audio/flac;base64,AA=="]
    assert "%WER 42.86 [ 3 / 7, 1 ins, 1 del, 1 sub ]" in page
    assert "<title>R &amp; D</title>" in page


def test_page_needs_nothing_else(tracker: ErrorRateTracker, tmp_path: Path) -> None:
    write_html(tracker, tmp_path / "report.html", "title")
    page = (tmp_path / "report.html").read_text()
    assert not re.search(r"https?://|<link|@import|src=|url\(", page)
    assert "prefers-color-scheme: dark" in page


def test_errors_are_marked_and_texts_cannot_become_tags() -> None:
    marked = aligned(align(["A", "<b>", "C", "D"], ["A", "&", "C", "E", "F"]))
    assert marked == "A <del>&lt;b&gt;</del> <ins>&amp;</ins> C <span class=more>E</span> <del>D</del> <ins>F</ins>"
    assert aligned(align(["A", "B"], ["B"])) == "<span class=lost>A</span> B"


def test_confusions_are_the_most_frequent_first(tmp_path: Path) -> None:
    tracker = ErrorRateTracker()
    for number, (reference, hypothesis) in enumerate([("M", "N"), ("A", "B"), ("M", "N"), ("X Y", "X"), ("X", "X Z")]):
        tracker.add(str(number), reference, hypothesis)
    write_html(tracker, tmp_path / "report.html", "title")
    page = (tmp_path / "report.html").read_text()
    assert re.findall(r"<tr><td class=number>(\d+)<td>(.*)", page) == [
        ("2", "M &rarr; N"),
        ("1", "A &rarr; B"),
        ("1", "Z"),
        ("1", "Y"),
    ]


def test_of_too_many_utterances_the_worst_are_shown(
    tracker: ErrorRateTracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html_report, "MOST_ROWS", 1)
    write_html(tracker, tmp_path / "report.html", "title")
    page = (tmp_path / "report.html").read_text()
    assert [row[0] for row in Table(page).rows[1:]] == ["bad"]
    assert "the worst 1 of 3" in page


def test_nothing_scored_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no utterance was scored"):
        write_html(ErrorRateTracker(), tmp_path / "report.html", "title")
    assert not list(tmp_path.iterdir())
