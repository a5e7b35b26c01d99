"""What the page makes of an edited text, against Python's own answers: times of words, subtitles."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from served import served

from toolkit.inference.formats import text_of
from toolkit.inference.transcript import Transcript, Word

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Call = Callable[[str, str, list[list[Any]]], list[Any]]


@pytest.fixture(scope="module")
def call(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Call]:
    """What a function of one of the page's scripts answers for each list of arguments."""
    script = """async ([file, name, calls]) => {
        const found = name.split(".").reduce((part, key) => part[key], await import(`./static/${file}`));
        return calls.map((values) => found(...values));
    }"""
    with served(tmp_path_factory.mktemp("uploads")) as (host, port), browser.new_context() as context:
        page = context.new_page()
        page.goto(f"http://{host}:{port}/")
        yield lambda file, name, calls: page.evaluate(script, [file, name, calls])


def heard(text: str, seconds: float = 1.0) -> list[dict[str, Any]]:
    """Words of half a second each, one every so many seconds."""
    return [
        {"text": word, "start": place * seconds, "end": place * seconds + seconds / 2, "confidence": 0.9}
        for place, word in enumerate(text.split())
    ]


def test_times_of_an_edited_text(call: Call) -> None:
    words = heard("a b c d")
    spans = {
        "a b c d": [(0, 0.5), (1, 1.5), (2, 2.5), (3, 3.5)],
        "a x c d": [(0, 0.5), (1, 1.5), (2, 2.5), (3, 3.5)],  # one for one
        "a x yyy c d": [(0, 0.5), (1, 1.125), (1.125, 1.5), (2, 2.5), (3, 3.5)],  # shares its time by length
        "a d": [(0, 0.5), (3, 3.5)],
        "a b x c d": [(0, 0.5), (1, 1.5), (1.5, 1.9), (2, 2.5), (3, 3.5)],  # in the pause
        "a b c d x y": [(0, 0.5), (1, 1.5), (2, 2.5), (3, 3.5), (3.5, 3.75), (3.75, 4)],  # until the recording ends
        "xyz": [(0, 3.5)],
        "": [],
    }
    answers = call("words.js", "timedWords", [[text, words, 4.0] for text in spans])
    for (text, expected), answer in zip(spans.items(), answers, strict=True):
        assert [word["text"] for word in answer] == text.split()
        assert [text[word["at"] :].split()[0] for word in answer] == text.split()
        assert [(word["start"], word["end"]) for word in answer] == [pytest.approx(span) for span in expected], text


def test_as_many_words_as_possible_keep_their_times(call: Call) -> None:
    draw = random.Random(6)
    texts = [[" ".join(draw.choices("abc", k=draw.randrange(9))) for _ in range(2)] for _ in range(300)]
    answers = call("words.js", "timedWords", [[new, heard(old), 9.0] for old, new in texts])
    for (old, new), answer in zip(texts, answers, strict=True):
        if not old:  # without times there are none
            assert answer == []
            continue
        assert [word["text"] for word in answer] == new.split()
        assert sum(not word["edited"] for word in answer) == common(old.split(), new.split())
        times = [time for word in answer for time in (word["start"], word["end"])]
        assert times == sorted(times)
        assert all(0 <= time <= 9 for time in times)


def common(a: list[str], b: list[str]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for one in a:
        above, row = row, [0]
        for place, other in enumerate(b):
            row.append(above[place] + 1 if one == other else max(row[place], above[place + 1]))
    return row[-1]


def test_a_long_text_that_is_all_new_is_not_compared_for_ever(call: Call) -> None:
    words = heard(" ".join(f"w{place}" for place in range(2500)))
    (answer,) = call("words.js", "timedWords", [["w0 " + "x " * 2000 + "w2499", words, 2500.0]])
    assert [word["edited"] for word in answer] == [False, *[True] * 2000, False]
    assert answer[1000]["start"] == pytest.approx(1250, abs=2)


@pytest.mark.parametrize("suffix", ["srt", "vtt", "txt"])
def test_subtitles_are_those_of_the_command_line(call: Call, suffix: str) -> None:
    draw = random.Random(7)
    text = "a is the well-known re-opened state-of-the-art end. no? Yes! <b> & mañana 北京 1990-2000 x"
    vocabulary = [*text.split(), "Donaudampfschifffahrtselektrizitätenhauptbetriebswerk"]
    transcripts = [Transcript("nothing has times", duration=2.5), Transcript("", duration=1.0)]
    for _ in range(60):
        text = " ".join(draw.choices(vocabulary, k=draw.randrange(1, 40)))
        pace = draw.choice([0.2, 0.5, 0.9, 2.5])
        words = [Word(word["text"], word["start"], word["end"], 0.9) for word in heard(text, pace)]
        transcripts.append(Transcript(text, tuple(words), duration=len(words) * pace))
    calls = [
        [{"text": one.text, "words": [vars(w) for w in one.words], "duration": one.duration}] for one in transcripts
    ]
    made = call("formats.js", f"FORMATS.{suffix}.make", calls)
    for transcript, text in zip(transcripts, made, strict=True):
        assert text == text_of(transcript, suffix)
