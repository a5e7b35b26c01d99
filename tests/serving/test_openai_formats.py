"""What OpenAI's formats say of transcripts that are not as a model of words and times makes them."""

from __future__ import annotations

import json
import math
import re

import pytest

from toolkit.inference.formats import text_of
from toolkit.inference.transcript import Transcript, Word
from toolkit.serving.openai_formats import as_verbose, segments

NUMBERS = [Word(f"NUMBER{number}", number * 0.7, number * 0.7 + 0.4, 0.5) for number in range(50)]


def test_segments_are_the_cues_of_srt():
    transcript = Transcript(" ".join(word.text for word in NUMBERS), tuple(NUMBERS), duration=35.0)
    found = segments(transcript)
    cues = re.findall(r"^\d+\n00:00:(\S+) --> 00:00:(\S+)\n((?:.+\n)+)", text_of(transcript, "srt"), re.MULTILINE)
    seconds = [(float(start.replace(",", ".")), float(end.replace(",", "."))) for start, end, _ in cues]
    assert [(one.start, one.end) for one in found] == seconds
    assert [one.text.split() for one in found] == [text.split() for _, _, text in cues]
    assert len(found) > 3
    assert "".join(one.text for one in found) == f" {transcript.text}"


@pytest.mark.parametrize(("score", "expected"), [(-2.0, -0.5), (-math.inf, math.log(1e-4))])
def test_a_model_that_does_not_time_words_has_one_segment(score: float, expected: float):
    (one,) = segments(Transcript("HELLO", tokens=("HE", "L", "LO"), score=score, duration=2.0))
    assert (one.start, one.end, one.text) == (0.0, 2.0, " HELLO")
    assert one.avg_logprob == pytest.approx(expected, abs=1e-4)
    json.loads(one.model_dump_json(), parse_constant=pytest.fail)


def test_what_is_repeated_compresses_better():
    """Clients drop what loops: by Whisper's rule, above 2.4."""
    once, often = (as_verbose(Transcript(text, duration=1.0), {"segment"}) for text in ("ONE TWO", "ONE TWO " * 30))
    assert once.segments[0].compression_ratio < 1.0 < 2.4 < often.segments[0].compression_ratio


@pytest.mark.parametrize(("known", "asked", "said"), [("nl", "en", "nl"), (None, "en", "en"), (None, "", "und")])
def test_the_model_knows_best_which_language_it_hears(known: str | None, asked: str, said: str):
    assert as_verbose(Transcript("JA", language=known), {"word"}, asked).language == said
