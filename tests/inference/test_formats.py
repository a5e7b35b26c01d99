"""Transcripts as text: exactly what each format's readers expect."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import pytest

from toolkit.errors import ConfigError
from toolkit.inference.formats import FORMATS, STREAMS, subtitles, text_of
from toolkit.inference.transcript import Alternative, Transcript, Word

WORDS = (Word("SAY", 0.2, 0.52, 0.75), Word('"A<B"', 0.6, 1.0, 0.5), Word("NOW", 3661.25, 3661.5, 1.0))
TRANSCRIPT = Transcript(
    'SAY "A<B" NOW', WORDS, ("▁SAY",), -1.25, (Alternative('SAY "A<B" NOW', -1.25),), 3662.0, None, "in the/my talk.wav"
)
EXPECTED = {
    "txt": 'in the/my talk.wav\tSAY "A<B" NOW\n',
    "srt": '1\n00:00:00,200 --> 00:00:01,000\nSAY "A<B"\n\n2\n01:01:01,250 --> 01:01:02,050\nNOW\n',
    "vtt": (
        "WEBVTT\n\n00:00:00.200 --> 00:00:01.000\nSAY &quot;A&lt;B&quot;\n\n01:01:01.250 --> 01:01:02.050\nNOW\n"
    ).replace("&quot;", '"'),
    "ctm": ('my_talk 1 0.200 0.320 SAY 0.750\nmy_talk 1 0.600 0.400 "A<B" 0.500\nmy_talk 1 3661.250 0.250 NOW 1.000\n'),
    "tsv": (
        "start\tend\tconfidence\tword\n"
        '0.200\t0.520\t0.750\tSAY\n0.600\t1.000\t0.500\t"A<B"\n3661.250\t3661.500\t1.000\tNOW\n'
    ),
}


@pytest.mark.parametrize("form", EXPECTED)
def test_texts(form: str):
    assert text_of(TRANSCRIPT, form) == EXPECTED[form]


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_json_holds_every_field(form: str):
    text = text_of(TRANSCRIPT, form)
    assert json.loads(text) == {
        "text": 'SAY "A<B" NOW',
        "words": [vars(word) for word in WORDS],
        "tokens": ["▁SAY"],
        "score": -1.25,
        "nbest": [{"text": 'SAY "A<B" NOW', "score": -1.25}],
        "duration": 3662.0,
        "language": None,
        "file": "in the/my talk.wav",
    }
    assert "▁SAY" in text
    assert (form == "json") == ("\n" in text[:-1])


def test_json_has_no_infinity():
    text = text_of(Transcript("", score=-math.inf), "jsonl")
    assert json.loads(text, parse_constant=pytest.fail)["score"] is None


def test_textgrid_has_no_gaps_and_doubles_quotes():
    words = (Word("SAY", 0.2, 0.52, 1.0), Word('"A"', 0.52, 1.0, 1.0))
    assert text_of(Transcript('SAY "A"', words, duration=1.5), "TextGrid") == (
        'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0 \nxmax = 1.500 \ntiers? <exists> \nsize = 1 \n'
        'item []: \n    item [1]:\n        class = "IntervalTier" \n        name = "words" \n        xmin = 0 \n'
        "        xmax = 1.500 \n        intervals: size = 4 \n"
        '        intervals [1]:\n            xmin = 0.000 \n            xmax = 0.200 \n            text = "" \n'
        '        intervals [2]:\n            xmin = 0.200 \n            xmax = 0.520 \n            text = "SAY" \n'
        '        intervals [3]:\n            xmin = 0.520 \n            xmax = 1.000 \n            text = """A""" \n'
        '        intervals [4]:\n            xmin = 1.000 \n            xmax = 1.500 \n            text = "" \n'
    )


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_was_said(form: str):
    text = text_of(Transcript("", duration=0.0, file="a.wav"), form)
    expected = {"txt": "a.wav\t\n", "srt": "", "vtt": "WEBVTT\n", "ctm": "", "tsv": "start\tend\tconfidence\tword\n"}
    assert text == expected.get(form, text)
    assert "xmax = 0.000" not in text  # Praat refuses it


def test_a_waveform_has_no_name():
    nameless = replace(TRANSCRIPT, file="")
    assert text_of(nameless, "txt") == 'SAY "A<B" NOW\n'
    assert text_of(nameless, "ctm").startswith("audio 1 0.200")


def test_subtitles_are_short_and_cover_every_word_once():
    words = [Word(f"WORD{number}", number * 0.4, number * 0.4 + 0.3, 1.0) for number in range(300)]
    cues = subtitles(Transcript(" ".join(word.text for word in words), tuple(words), duration=120.0))
    assert " ".join(cue.text for cue in cues).split() == [word.text for word in words]
    assert all(cue.end - cue.start <= 7 and len(cue.text) <= 85 for cue in cues)
    assert all(cue.end <= following.start for cue, following in itertools.pairwise(cues))
    lines = [line for line in text_of(Transcript("", tuple(words)), "srt").splitlines() if line.startswith("WORD")]
    assert max(map(len, lines)) <= 42
    assert len(cues) < len(lines) <= 2 * len(cues)


def test_a_sentence_or_a_pause_ends_a_subtitle():
    words = (Word("YES.", 0.0, 0.3, 1.0), Word("NO", 0.5, 0.75, 1.0), Word("WELL", 1.75, 2.0, 1.0))
    cues = [(cue.text, cue.start, cue.end) for cue in subtitles(Transcript("YES. NO WELL", words))]
    assert cues == [("YES.", 0.0, 0.5), ("NO", 0.5, 1.3), ("WELL", 1.75, 2.55)]


def test_a_subtitle_is_as_sure_as_its_words_are_in_the_geometric_mean():
    words = (Word("YES", 0.0, 0.3, 0.9), Word("NO", 0.5, 0.75, 0.4), Word("WELL", 5.0, 6.0, 0.0))
    assert [cue.confidence for cue in subtitles(Transcript("YES NO WELL", words))] == pytest.approx([0.6, 1e-4])


def test_without_times_of_words_all_is_one_subtitle():
    text = "NOBODY SAID WHEN ANY OF THIS WAS SPOKEN BUT ALL OF IT IS SHOWN"
    shown = text_of(Transcript(text, duration=9.0), "srt").splitlines()
    assert shown[1] == "00:00:00,000 --> 00:00:09,000"
    assert " ".join(shown[2:]) == text


@pytest.mark.parametrize("form", STREAMS)
def test_texts_that_stream_name_their_file_in_every_line(form: str):
    lines = text_of(TRANSCRIPT, form).splitlines()
    assert all("talk" in line for line in lines)


def test_an_unknown_format_is_named():
    with pytest.raises(ConfigError, match=r"format 'textgrid': expected one of txt, .*did you mean 'TextGrid'"):
        text_of(TRANSCRIPT, "textgrid")
