from __future__ import annotations

import pytest

from toolkit.errors import DataError
from toolkit.metrics import report
from toolkit.metrics.error_rate import ErrorRateTracker
from toolkit.metrics.report import write_report


@pytest.fixture
def tracker():
    tracker = ErrorRateTracker()
    tracker.add("utt-a", "GO TO ROOM NINE", "GO TWO ROOM NINE NOW")
    tracker.add("utt-b", "ÉTÉ STOP", "STOP")
    tracker.add("utt-c", "YES", "")
    tracker.add("utt-d", "ALL RIGHT", "ALL RIGHT")
    tracker.add("utt-e", "", "")
    return tracker


@pytest.fixture
def lines(tracker, tmp_path):
    write_report(tracker, tmp_path / "run/wer_test.txt")
    return (tmp_path / "run/wer_test.txt").read_text(encoding="utf-8").splitlines()


def section(lines: list[str], title: str) -> list[str]:
    """The lines between a title and the next rule."""
    start = lines.index(title) + 1
    return lines[start : lines.index("=" * 80, start)]


def test_totals(lines):
    # 9 reference words: TWO is substituted, NOW inserted, ÉTÉ and YES deleted
    assert lines[0] == "%WER 44.44 [ 4 / 9, 1 ins, 2 del, 1 sub ]"
    assert lines[1] == "%SER 60.00 [ 3 / 5 ]"
    # 15 + 8 + 3 + 9 + 0 reference characters: W and " NOW" inserted, "ÉTÉ " and YES deleted
    assert lines[2] == "%CER 34.29 [ 12 / 35, 5 ins, 7 del, 0 sub ]"
    assert lines[3] == "Scored 5 utterances. They are too few for a confidence interval."


def test_worst_utterances_come_first(lines):
    assert section(lines, "UTTERANCES WITH HIGHEST WER") == [
        "utt-c %WER 100.00 [ 1 / 1, 0 ins, 1 del, 0 sub ]  (nothing recognised)",
        "utt-a %WER 50.00 [ 2 / 4, 1 ins, 0 del, 1 sub ]",
        "utt-b %WER 50.00 [ 1 / 2, 0 ins, 1 del, 0 sub ]",
    ]


def test_confusions(lines):
    assert section(lines, "MOST FREQUENT CONFUSIONS") == [
        "Substitutions: 1, of 1 kinds",
        "     1  TO -> TWO",
        "Insertions: 1, of 1 kinds",
        "     1  NOW",
        "Deletions: 2, of 2 kinds",
        "     1  YES",
        "     1  ÉTÉ",
    ]


def test_utterances_are_aligned(lines):
    start = lines.index("utt-a, %WER 50.00 [ 2 / 4, 1 ins, 0 del, 1 sub ]")
    assert lines[start + 1 : start + 8] == [
        "GO ;  TO ; ROOM ; NINE ; <eps>",
        "=  ;  S  ;  =   ;  =   ;   I  ",
        "GO ; TWO ; ROOM ; NINE ;  NOW ",
        "=" * 80,
        "utt-b, %WER 50.00 [ 1 / 2, 0 ins, 1 del, 0 sub ]",
        " ÉTÉ  ; STOP",
        "  D   ;  =  ",
    ]
    assert lines[-4:] == ["utt-e, %WER 0.00 [ 0 / 0, 0 ins, 0 del, 0 sub ]", "", "", ""]


def test_every_utterance_is_there_in_the_order_of_scoring(lines):
    assert [line.split(",")[0] for line in lines if line.startswith("utt-") and ", %WER" in line] == [
        *("utt-a", "utt-b", "utt-c", "utt-d", "utt-e")
    ]


def test_lists_are_cut_and_ordered_by_frequency(tmp_path):
    tracker = ErrorRateTracker()
    for word in range(30):
        for count in range(1 + word % 3):
            tracker.add(f"{word}-{count}", f"w{word:02d}", "x")
    write_report(tracker, tmp_path / "wer.txt")
    lines = (tmp_path / "wer.txt").read_text().splitlines()
    confusions = section(lines, "MOST FREQUENT CONFUSIONS")
    threes = [f"     3  w{word:02d} -> x" for word in range(2, 30, 3)]
    twos = [f"     2  w{word:02d} -> x" for word in range(1, 30, 3)]
    none = ["Insertions: 0, of 0 kinds", "Deletions: 0, of 0 kinds"]
    assert confusions == ["Substitutions: 60, of 30 kinds", *threes, *twos, *none]
    assert len(section(lines, "UTTERANCES WITH HIGHEST WER")) == 20


def test_empty_test_set_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"wer_test\.txt: no utterance was scored"):
        write_report(ErrorRateTracker(), tmp_path / "wer_test.txt")
    assert not list(tmp_path.iterdir())


def test_interrupted_writing_leaves_the_old_report(tracker, tmp_path, monkeypatch):
    file = tmp_path / "wer.txt"
    file.write_text("old")

    def interrupted(_):
        yield "%WER"
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "report_lines", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_report(tracker, file)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
