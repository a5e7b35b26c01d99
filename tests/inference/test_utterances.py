"""Where somebody speaks, found while it comes: the same utterances whatever the pieces, soon after their end."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from toolkit.inference.speech import LiveLevels
from toolkit.inference.utterances import Utterance, Utterances

RATE, FRAME = 16000, 640


def noise(seconds: float, decibels: float, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 10 ** (decibels / 20) * torch.randn(round(seconds * RATE), generator=generator)


def speech(seconds: float, decibels: float = -25.0) -> Tensor:
    """Noise that comes and goes four times a second, as syllables do; loud from its first moment on."""
    envelope = torch.cos(2 * torch.pi * 4 * torch.arange(round(seconds * RATE)) / RATE).clamp_min(0)
    return envelope * noise(seconds, decibels, seed=1)


def cutter(longest_s: float = 20.0) -> Utterances:
    return Utterances(LiveLevels(RATE, FRAME), longest_s=longest_s, pause_s=0.6)


def cut(wav: Tensor, size: int = 1600, longest_s: float = 20.0) -> list[Utterance]:
    utterances = cutter(longest_s)
    return [one for block in wav.split(size) for one in utterances.feed(block)] + utterances.finish()


def spans(found: list[Utterance]) -> list[tuple[float, float]]:
    return [(one.start / RATE, (one.start + len(one.wav)) / RATE) for one in found]


SPEECH = [(1.0, 3.0), (4.0, 4.5), (6.0, 9.0)]  # seconds


def recording(floor: float) -> Tensor:
    wav = noise(10, floor)
    for start, end in SPEECH:
        wav[round(start * RATE) : round(end * RATE)] += speech(end - start)
    return wav


@pytest.mark.parametrize("floor", [-200, -70, -50])
def test_utterances_are_where_somebody_speaks_and_a_little_around(floor: float) -> None:
    wav = recording(floor)
    found = cut(wav)
    assert [one.paused for one in found] == [True] * 3
    for one, (start, end), span in zip(found, SPEECH, spans(found), strict=True):
        assert start - 0.3 <= span[0] <= start
        assert end - 0.15 <= span[1] <= end + 0.3
        assert torch.equal(one.wav, wav[one.start : one.start + len(one.wav)])


def test_the_pieces_do_not_matter() -> None:
    wav, draw = recording(-50)[: 5 * RATE], random.Random(1)
    whole = cut(wav, len(wav))
    utterances, found, place = cutter(), [], 0
    while place < len(wav):
        size = draw.choice([1, 7, 639, 640, 3000, 20_000])
        found += utterances.feed(wav[place : place + size])
        place += size
    assert spans(found + utterances.finish()) == spans(whole) == spans(cut(wav, 17))


def test_an_end_is_known_soon_after_it() -> None:
    utterances, wav = cutter(), recording(-50)
    known = [place / 100 for place, block in enumerate(wav.split(160), start=1) if utterances.feed(block)]
    ends = np.array([end for _, end in SPEECH])
    assert np.all(np.array(known) - ends > 0.4)
    assert np.all(np.array(known) - ends < 0.9)


@pytest.mark.parametrize("decibels", [-200, -80, -60, -40, -20])
def test_what_is_the_same_all_the_time_is_no_speech(decibels: float) -> None:
    assert cut(noise(20, decibels)) == []


def test_a_microphone_that_is_opened_is_no_speech() -> None:
    assert cut(torch.cat([torch.zeros(RATE // 2), noise(10, -60)])) == []


def test_clicks_are_no_speech() -> None:
    wav = noise(12, -60)
    wav[:: 2 * RATE] = 0.9
    assert cut(wav) == []


def test_who_speaks_from_the_first_moment_on_is_heard() -> None:
    ((start, end),) = spans(cut(torch.cat([speech(3), noise(1, -60)])))
    assert start == 0
    assert end == pytest.approx(3, abs=0.3)


def test_who_speaks_after_long_silence_is_heard() -> None:
    assert spans(cut(torch.cat([noise(90, -60), speech(1), noise(2, -60)])))[0][0] == pytest.approx(90, abs=0.3)


def test_the_end_of_the_recording_ends_an_utterance() -> None:
    (one,) = cut(torch.cat([noise(1, -60), speech(2.03)]))
    assert (one.paused, one.start + len(one.wav)) == (False, round(3.03 * RATE))


def test_who_does_not_pause_is_cut_and_nothing_is_lost() -> None:
    wav = torch.cat([noise(1, -60), speech(13), noise(1, -60)])
    found = cut(wav, longest_s=4.0)
    assert [one.paused for one in found] == [False] * (len(found) - 1) + [True]
    assert all(2 <= len(one.wav) / RATE <= 4.2 for one in found[:-1])
    assert all(one.start + len(one.wav) == other.start for one, other in pairwise(found))
    assert spans(found)[-1][1] == pytest.approx(14, abs=0.3)


def test_an_utterance_can_be_seen_while_it_is_spoken() -> None:
    utterances, wav, ends = cutter(), torch.cat([noise(1, -60), speech(3), noise(0.5, -60)]), []
    for block in wav.split(800):
        utterances.feed(block)
        if current := utterances.current():
            assert torch.equal(current.wav, wav[current.start : current.start + len(current.wav)])
            ends.append((current.start + len(current.wav)) / RATE)
    assert ends == sorted(ends)
    assert ends[0] < 1.5
    assert ends[-1] == pytest.approx(4, abs=0.3)  # and no pause is in it
