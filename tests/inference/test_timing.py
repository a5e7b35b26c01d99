"""When words were spoken: the model's frames in seconds, words that are the text, and none where nobody can say."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from toolkit.decoders.hypothesis import Hypothesis
from toolkit.errors import ModelError
from toolkit.inference.timing import ctc_output, samples_per_frame, timed_words
from toolkit.inference.transcript import Word
from toolkit.models.speech_language import SpeechLM

CPU = torch.device("cpu")


def encoder(frames_of: Callable[[Tensor], Tensor]) -> SimpleNamespace:
    return SimpleNamespace(encode=lambda wavs, samples: (wavs, frames_of(samples)))


@pytest.mark.parametrize(
    ("frames_of", "expected"),
    [
        (lambda samples: (samples + 639) // 640, 640),  # a frame for every step that begins
        (lambda samples: (samples - 400) // 320 + 1, 320),  # wav2vec 2: whole windows
        (lambda samples: (((samples - 400) // 160 + 1) - 7) // 4 + 1, 640),  # convolutions without padding
        (lambda samples: (samples + 1) // 2, 2),
        (lambda samples: samples // 12345, 12345),
        *(
            (lambda samples, hop=hop: (samples + 7 * hop // 9) // hop, hop)
            for hop in (1, 2, 3, 79, 333, 641, 1279, 40000)
        ),
    ],
)
def test_a_model_is_asked_how_long_its_frames_are(frames_of: Callable[[Tensor], Tensor], expected: int) -> None:
    for sample_rate in (8000, 16000):
        assert samples_per_frame(encoder(frames_of), sample_rate, CPU) == expected


@pytest.mark.parametrize("begins", [0, 1, 80])
def test_where_frames_begin_at_round_numbers_few_answers_are_enough(begins: int) -> None:
    asked: list[int] = []

    def frames_of(samples: Tensor) -> Tensor:
        asked.extend(samples.tolist())
        return (samples - begins) // 640 + 1

    assert samples_per_frame(encoder(frames_of), 16000, CPU) == 640
    assert len(asked) <= 10


def test_a_model_whose_frames_are_not_of_the_audio_is_named() -> None:
    with pytest.raises(ModelError, match=r"SimpleNamespace: 10 s of audio have no more frames than 0\.2 s"):
        samples_per_frame(encoder(lambda samples: samples * 0 + 7), 16000, CPU)


PIECES = ["<unk>", "▁", "▁A", "B", "C"]


def test_words_have_the_frames_of_their_tokens_and_their_mean_confidence() -> None:
    hypothesis = Hypothesis([2, 3, 1, 4], 0.0, [(1, 2), (3, 5), (6, 7), (8, 9)], [0.9, 0.5, 0.1, 0.8])
    words = timed_words(hypothesis, PIECES, "AB C", 0.25)
    assert words == (Word("AB", 0.25, 1.25, pytest.approx(0.45**0.5)), Word("C", 2.0, 2.25, 0.8))


def test_words_are_spelled_as_in_the_text() -> None:
    hypothesis = Hypothesis([1, 3, 2], 0.0, [(0, 1), (1, 2), (2, 3)], [1.0, 1.0, 1.0])
    assert [word.text for word in timed_words(hypothesis, PIECES, "é A", 1.0)] == ["é", "A"]  # pieces of its bytes
    assert timed_words(hypothesis, PIECES, "one two three", 1.0) == ()


def test_who_cannot_say_when_says_nothing() -> None:
    assert timed_words(Hypothesis([2], 0.0), PIECES, "A", 1.0) == ()
    assert ctc_output(SimpleNamespace(), torch.zeros(1, 2, 3)) is None
    assert ctc_output(SpeechLM.__new__(SpeechLM), torch.zeros(1, 2, 3)) is None
