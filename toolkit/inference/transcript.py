"""What was said in a recording: text, words with their times, alternatives, and how sure all that is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """One word of a transcript.

    Attributes
    ----------
    start, end
        Seconds from the beginning of the recording. A token is where the model is surest of it, so that a word of a
        letter is as short as a frame, and words end early: on digits at known places, starts are 33 to 70 ms off in the
        mean, and ends 45 to 91 ms, in the median 22 to 56 ms early. To end where the next word begins is worse.
    confidence
        How likely the word is right, between 0 and 1.
    """

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Alternative:
    """Another text that the search found for the same recording, and its score."""

    text: str
    score: float


@dataclass(frozen=True)
class Transcript:
    """What was said in one recording.

    Attributes
    ----------
    text
        The words, one space apart; empty when nothing was recognised.
    words
        Each word with its times; empty where the model cannot say them, or was not asked.
    tokens
        The pieces of the tokenizer that spell the text.
    score
        What the search says of the text: a sum of natural logs, higher is better.
    nbest
        The best texts, this one first, as different ones as the search returns; of audio over 40 s, which is searched
        in parts, only this one.
    duration
        Seconds of audio.
    language
        Where the model knows it.
    file
        The path as it was given; empty for a waveform.
    """

    text: str
    words: tuple[Word, ...] = ()
    tokens: tuple[str, ...] = ()
    score: float = 0.0
    nbest: tuple[Alternative, ...] = ()
    duration: float = 0.0
    language: str | None = None
    file: str = ""


@dataclass(frozen=True)
class Heard:
    """What live recognition tells: a line as it is understood so far, or, ``final``, as it stays.

    Attributes
    ----------
    transcript
        Of the line; words have times from the beginning of the session, and only final lines have words.
    stable
        Characters of the text, from the first, that will not change; none where a line is heard anew each time.
    duration
        Seconds of the session's audio that were understood.
    speech_ended
        A pause ended the line, and neither its length nor the end of the session.
    """

    transcript: Transcript
    final: bool
    stable: int = 0
    duration: float = 0.0
    speech_ended: bool = False
