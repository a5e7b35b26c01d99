"""When each word of a transcript was spoken: CTC alignment, in seconds."""

from __future__ import annotations

from collections.abc import Sequence

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


@torch.inference_mode()
def samples_per_frame(model: nn.Module, sample_rate: int, device: torch.device) -> int:
    """How many samples a model's frame is after the one before; found by asking it how long audio of more frames is."""

    def frames_of(samples: list[int]) -> list[int]:
        wavs = torch.zeros(len(samples), max(samples), device=device)
        return model.encode(wavs, torch.tensor(samples, device=device))[1].tolist()

    shortest = round(SHORT_S * sample_rate)
    (fewest,), longest = frames_of([shortest]), shortest
    while frames_of([longest])[0] < fewest + 2:
        longest += shortest
    # the most samples known to be too few for one frame more, and for two; and the fewest known to be enough
    few, enough = [shortest, shortest], [longest, longest]
    while any(high - low > 1 for low, high in zip(few, enough, strict=True)):
        middle = [(low + high) // 2 for low, high in zip(few, enough, strict=True)]
        for more, frames in enumerate(frames_of(middle)):
            (enough if frames > fewest + more else few)[more] = middle[more]
    return enough[1] - enough[0]


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
