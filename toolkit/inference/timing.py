"""When each word of a transcript was spoken: CTC alignment, in seconds."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor, nn

from toolkit.decoders.ctc_alignment import aligned
from toolkit.decoders.hypothesis import Hypothesis
from toolkit.decoders.spelling import Alphabet
from toolkit.decoders.words import words_of
from toolkit.errors import DataError, ModelError
from toolkit.inference.transcript import Word

# Audio of this length has a frame in every model: some encoders' convolutions need seven frames of 10 ms.
SHORT_S = 0.2
LONG_S = 10.0  # and this has two more in every model
# Frames of nearly all models begin at a multiple of so many samples or one off: hops of 10 ms, 320 k + 80.
ROUND = 80


@torch.inference_mode()
def samples_per_frame(model: nn.Module, sample_rate: int, device: torch.device) -> int:
    """How many samples a model's frame is after the one before; found by asking it how many frames audio has.

    It is exact whatever the model, and where frames begin at round numbers, nine answers are enough: each is a whole
    encoder's work.
    """

    @cache
    def frames_of(samples: int) -> int:
        wavs = torch.zeros(1, samples, device=device)
        return int(model.encode(wavs, torch.tensor([samples], device=device))[1])

    short, longest = round(SHORT_S * sample_rate), round(LONG_S * sample_rate)
    long = 6 * short
    while (more := frames_of(long) - frames_of(short)) < 2:
        if long == longest:
            raise ModelError(f"{type(model).__name__}: {LONG_S:g} s of audio have no more frames than {SHORT_S} s")
        long = min(2 * long, longest)
    # one step less than frames that begin in between is shorter than what is between, and one step more is longer
    above, most = (long - short) // (more + 1), (long - short - 1) // (more - 1)
    begins = fewest(lambda samples: frames_of(samples) > frames_of(short), short, short + most)
    return fewest(lambda step: frames_of(begins + step) > frames_of(begins), above, most)


def fewest(enough: Callable[[int], bool], above: int, most: int) -> int:
    """The smallest number above the first that is enough, as the second is; a round one is found soonest."""
    near = (ROUND * times + off for times in range(above // ROUND, most // ROUND + 2) for off in (-1, 0, 1))
    marks = [mark for mark in near if above < mark < most]
    place = bisect_left(marks, True, key=enough)
    between = range(marks[place - 1] if place else above, marks[place] if place < len(marks) else most)
    return between[0] + 1 + bisect_left(between[1:], True, key=enough)


def ctc_output(model: nn.Module, encoded: Tensor) -> Tensor | None:
    """The model's CTC output (B, T, V) of encoded (B, T, D); None where it has none."""
    try:
        return model.ctc_log_probs(encoded) if hasattr(model, "ctc_log_probs") else None
    except ModelError:  # a speech language model: what it encodes is a prompt
        return None


def with_frames(hypothesis: Hypothesis, log_probs: Tensor) -> Hypothesis:
    """The hypothesis with the frames of its tokens, where CTC output (T, V) has a path that spells them."""
    if hypothesis.frames is not None:
        return hypothesis
    return aligned(hypothesis, log_probs.double().cpu().numpy())


def timed_words(hypothesis: Hypothesis, pieces: Sequence[str], text: str, frame_s: float) -> tuple[Word, ...]:
    """The words of ``text``, spelled by an aligned hypothesis of ``pieces``, with frames of ``frame_s`` seconds.

    None where the hypothesis has no frames, or the pieces do not say where words begin.
    """
    found = words_of(hypothesis, pieces) if hypothesis.frames is not None else []
    texts = text.split()
    if len(found) != len(texts):
        return ()
    return tuple(
        Word(text, word.start * frame_s, word.end * frame_s, word.confidence)
        for text, word in zip(texts, found, strict=True)
    )


def spelled(words: Sequence[str], pieces: Sequence[str]) -> str:
    """The words as these pieces spell them: in their case, and without the characters that they do not have.

    Raises
    ------
    DataError
        Nothing is left of a word, or there is none.
    """
    alphabet = Alphabet(pieces)
    found = []
    for word in map(alphabet.normalise, words):
        missing = alphabet.missing(word)
        found.append("".join(character for character in word if character not in missing))
        if not found[-1]:
            raise DataError(f"{word!r}: the model's tokenizer has none of its characters; write it as it is spoken")
    if not found:
        raise DataError("the text to align has no words")
    return " ".join(found)
